"""restframe without what only Linux, or only Unix, offers.

The names below do not exist in Python's standard library on macOS (core affinity) or on Windows (all of them).
"""

import mmap
import os
import signal
import subprocess
import sys

import mrcfile
import numpy as np
import pytest
import tifffile

import restframe
from restframe.cli.main import main
from restframe.cores import available_cores
from restframe.movie import open_movie, read_frames

ABSENT = {
    os: ["sched_getaffinity", "pread", "preadv", "getuid", "fchmod"],
    signal: ["SIGHUP", "SIGUSR1"],
    mmap: ["MAP_PRIVATE", "MAP_ANONYMOUS", "MAP_ANON", "MADV_DONTNEED", "MADV_HUGEPAGE"],
}
REMOVE = "\n".join(
    f"import {module.__name__}\nfor name in {names}: {module.__name__}.__dict__.pop(name, None)"
    for module, names in ABSENT.items()
)


def remove_absent(monkeypatch):
    for module, names in ABSENT.items():
        for name in names:
            monkeypatch.delattr(module, name, raising=False)


def counts() -> np.ndarray:
    return np.random.default_rng(3).poisson(2.0, (4, 160, 176)).astype(np.uint8)


@pytest.fixture
def movies(tmp_path):
    """The same counts as TIFF and as MRC."""
    frames = counts()
    tifffile.imwrite(tmp_path / "m.tif", frames[:, ::-1], compression="lzw", photometric="minisblack")
    with mrcfile.new(tmp_path / "m.mrc", data=frames.astype(np.int16)) as file:
        file.set_image_stack()
    return {".tif": tmp_path / "m.tif", ".mrc": tmp_path / "m.mrc"}


def test_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 5, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize("suffix", [".tif", ".mrc"])
def test_a_movie_is_read(monkeypatch, movies, suffix):
    remove_absent(monkeypatch)
    np.testing.assert_array_equal(read_frames(open_movie(movies[suffix])), counts())


@pytest.mark.parametrize("suffix", [".tif", ".mrc"])
def test_a_movie_is_corrected_to_the_same_sum(monkeypatch, movies, suffix):
    choices = {"pixel_size": 1.0, "frame_dose": 1.0, "patches": (1, 1)}
    expected = restframe.correct(movies[suffix], **choices)
    remove_absent(monkeypatch)
    result = restframe.correct(movies[suffix], **choices)
    np.testing.assert_array_equal(result.sum, expected.sum)
    np.testing.assert_array_equal(result.dose_weighted, expected.dose_weighted)


def test_the_command_corrects_a_movie(monkeypatch, movies, tmp_path, capfd):
    remove_absent(monkeypatch)
    output = tmp_path / "sum.mrc"
    assert main(["-InTiff", str(movies[".tif"]), "-OutMrc", str(output)]) == 0, capfd.readouterr()
    assert capfd.readouterr().err == ""
    assert output.is_file()


def test_everything_can_be_imported_and_a_batch_runs(movies, tmp_path):
    """The names are removed before the first import."""
    (tmp_path / "out").mkdir()
    program = f"""{REMOVE}
import importlib, pkgutil, sys
import restframe
for module in pkgutil.walk_packages(restframe.__path__, "restframe."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from restframe.cli.main import main
sys.exit(main(["-InTiff", {str(tmp_path) + "/"!r}, "-OutMrc", {str(tmp_path / "out") + "/"!r}, "-Serial", "1"]))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert (tmp_path / "out" / "m.mrc").is_file()
