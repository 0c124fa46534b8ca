"""Numba's cache when its files are damaged: loops are compiled again, one line says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import logging
logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)
import loop
print(loop.double(21))
"""
MODULE = """
from restframe.loops import njit

@njit(cache=True)
def double(number):
    return 2 * number
"""


def run(folder):
    source = str(Path(__file__).parents[1] / "src")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": f"{folder}{os.pathsep}{source}"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert ended.stderr == ""
    return ended.stdout.splitlines()


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    return bytes([*content[:60], content[60] ^ 4, *content[61:]])


def flipped_checksum(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loops")
    (folder / "loop.py").write_text(MODULE)
    assert run(folder) == ["42"]
    return folder


@pytest.mark.parametrize(
    "damage", [lambda content: b"", cut, flipped, flipped_checksum, lambda content: b"\x80\x04." * 9]
)
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_damaged_files_are_written_again(folder, suffix, damage):
    assert run(folder) == ["42"]
    (path,) = (folder / "cache").rglob(f"*.{suffix}")
    intact = path.read_bytes()
    path.write_bytes(damage(intact))
    lines = run(folder)
    assert lines[-1] == "42" and len(lines) == 2 and "compiled again" in lines[0]
    assert run(folder) == ["42"], "nothing is said in the next run"
    assert all(path.stat().st_size for path in (folder / "cache").rglob("*.nb?"))


def test_caches_of_others_are_left_alone(tmp_path):
    (tmp_path / "loop.py").write_text(MODULE.replace("from restframe.loops", "import restframe.loops\nfrom numba"))
    assert run(tmp_path) == ["42"] == run(tmp_path)
    (path,) = (tmp_path / "cache").rglob("*.nbi")
    assert b"restframe-sha256" not in path.read_bytes()
