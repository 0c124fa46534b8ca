"""The public surface stays small and typed, and the command starts fast."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import restframe
from restframe.settings import Settings, with_choices

PUBLIC = [
    "Ctf",
    "MotionField",
    "Result",
    "Session",
    "Settings",
    "__version__",
    "correct",
    "errors",
    "estimate_ctf",
    "measure_motion",
    "open_movie",
    "read_motion",
]


def test_public_names():
    assert sorted(restframe.__all__) == PUBLIC == dir(restframe)
    for name in PUBLIC:
        assert getattr(restframe, name) is not None
    with pytest.raises(AttributeError):
        _ = restframe.utils


def test_choices_find_their_class():
    s = with_choices(Settings(), {"gain": "g.mrc", "patches": (5, 5), "frame_dose": 1.2, "bin": 2.0, "threads": 1})
    assert (s.detector.gain, s.motion.patches, s.exposure.frame_dose, s.sums.bin) == ("g.mrc", (5, 5), 1.2, 2.0)
    assert s.machine.threads == 1
    with pytest.raises(TypeError, match="pixelsize"):
        with_choices(Settings(), {"pixelsize": 1.0})


def test_importing_restframe_imports_nothing_heavy():
    code = "import restframe, sys; print({'numpy', 'numba', 'scipy', 'cupy', 'tifffile'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


GOOD = """
import numpy as np
import restframe

result: restframe.Result = restframe.correct("m.tif", gain="g.mrc", patches=(5, 5), weights="bfactor", rot_gain=1)
field: restframe.MotionField = restframe.measure_motion(np.zeros((3, 8, 8)), pixel_size=0.85).field
with restframe.Session(restframe.Settings(), gpus=(0,)) as session:
    again: restframe.Result = session.correct(restframe.open_movie("m.tif"), field=field, report=print)
ctf: restframe.Ctf = restframe.estimate_ctf(again, voltage=200.0, phase_shift=(0, 180))
defocus: float = float(ctf.defocus_at(10, 20)) + ctf.errors.defocus + ctf.quality.score
weighted = again.dose_weighted
assert weighted is not None
mean: float = float(weighted.mean()) + sum(again.numbers.values())
try:
    pass
except restframe.errors.InputError as error:
    code: int = error.exit_code
version: str = restframe.__version__
"""
BAD = {
    'restframe.correct("m.tif", patchs=(5, 5))': 'Unexpected keyword argument "patchs"',
    'restframe.correct("m.tif", patches=5)': 'Argument "patches"',
    'restframe.measure_motion("m.tif", weights="bfacter")': 'Argument "weights"',
    "restframe.Session(pixelsize=1.0)": 'Unexpected keyword argument "pixelsize"',
    "restframe.Session(gpus=0)": 'Argument "gpus"',
    "restframe.Session().correct(5)": "Argument 1",
    "restframe.correct(3)": "Argument 1",
    'restframe.correct("m.tif").sums': 'has no attribute "sums"',
    "restframe.estimate_ctf([[1.0]], pixel_size=1.0)": "Argument 1",
    "restframe.nothing": 'has no attribute "nothing"',
}


def test_a_type_checker_knows_the_public_names(tmp_path):
    """A snippet without an error, and lines with one each."""
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text("import restframe\n" + "\n".join(BAD) + "\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    command += ["--config-file", os.devnull, "--cache-dir", str(tmp_path / "cache"), "good.py", "bad.py"]
    source = Path(restframe.__file__).parents[1]
    process = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "MYPYPATH": str(source)}
    )
    lines = [line for line in process.stdout.splitlines() if ": error: " in line]
    assert not [line for line in lines if line.startswith("good.py")], process.stdout
    by_number = {int(line.split(":")[1]): line for line in lines if line.startswith("bad.py")}
    for number, (code, message) in enumerate(BAD.items(), 2):
        assert message in by_number.get(number, ""), f"{code}: {by_number.get(number)}\n{process.stdout}"
