"""restframe doctor: what it prints, and that it finds what is wrong."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from restframe.cli import doctor
from restframe.cli.main import main


def test_everything_that_helps_is_printed(capfd):
    assert main(["doctor"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    for name in ("restframe", "Python", "numpy", "numba", "CuPy", "system", "processor", "memory", "compiled code"):
        assert re.search(rf"^{name} +\S", out, re.MULTILINE), name
    assert sys.executable in out and np.__version__ in out
    match = re.search(r"^test on CPU +passed: track error (\S+) px, (\S+) s$", out, re.MULTILINE)
    assert match and float(match[1]) < 0.1
    assert out.splitlines()[-1].startswith("Advice: ")


def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path, capfd):
    (tmp_path / "file").touch()
    assert not doctor.can_be_written(tmp_path / "file" / "x") and not doctor.can_be_written(Path("/proc/x"))
    assert doctor.can_be_written(tmp_path / "made" / "here")
    assert list((tmp_path / "made" / "here").iterdir()) == []
    monkeypatch.setattr(doctor, "cache_folder", lambda: None)
    assert main(["doctor"]) == 0
    out = capfd.readouterr().out
    assert "CANNOT be written" in out and "Advice: Compiled code cannot be kept" in out and "NUMBA_CACHE_DIR" in out


def test_the_cache_folder_is_that_of_the_loops():
    folder = doctor.cache_folder()
    assert folder is not None and (folder / "lock").exists()


def test_a_wrong_result_is_found(monkeypatch, capfd):
    monkeypatch.setattr(doctor, "track_error_px", lambda gpus: 0.5)
    assert main(["doctor"]) == 6
    out = capfd.readouterr().out
    assert "FAILED, expected below 0.1 px: track error 0.500 px" in out and "Results on CPU are wrong" in out


def test_a_test_that_ends_with_an_error(monkeypatch, capfd):
    def fail(gpus):
        raise OSError("no room")

    monkeypatch.setattr(doctor, "track_error_px", fail)
    assert main(["doctor"]) == 6
    assert "FAILED: OSError: no room" in capfd.readouterr().out


@pytest.mark.parametrize(("text", "expected"), [("50000 100000\n", 0.5), ("max 100000\n", None)])
def test_limits_of_a_container(monkeypatch, text, expected):
    def read(path, encoding=None):
        if str(path) == "/sys/fs/cgroup/cpu.max":
            return text
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", read)
    assert doctor.cpu_quota() == expected
