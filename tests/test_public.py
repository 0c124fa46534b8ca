"""The public surface stays small, and the command starts fast."""

import subprocess
import sys

import pytest

import restframe
from restframe.settings import Settings, with_choices

PUBLIC = ["MotionField", "Result", "Settings", "__version__", "correct", "errors", "open_movie"]


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
