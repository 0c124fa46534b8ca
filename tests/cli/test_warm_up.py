"""restframe warm-up, with a list of one loop, so that little is compiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from restframe.cli.main import main

LOOP = """
from restframe.loops import compiled_loop

@compiled_loop("(int64,)", "(float64,)")
def double(number):
    return 2 * number
"""
WITH_ONE_LOOP = """
import sys
import restframe.compile_ahead as ahead
ahead.MODULES = ("loop",)
ahead.HELPER = "import sys; sys.path[:] = sys.argv[4:]; import restframe.compile_ahead as a; a.MODULES = ('loop',)\\n"
ahead.HELPER += "a.help_to_compile(*map(int, sys.argv[1:4]))"
from restframe.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
TWICE = (
    "import loop, os; print(loop.double(21), os.environ.get('NUMBA_CPU_NAME'), os.environ.get('NUMBA_CPU_FEATURES'))"
)


def run(folder, code, *arguments, **variables):
    source = str(Path(__file__).parents[2] / "src")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": f"{folder}{os.pathsep}{source}"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "loop.py").write_text(LOOP)
    return tmp_path


def test_loops_are_compiled_once(folder):
    first = run(folder, WITH_ONE_LOOP, "warm-up", "--processes", "2")
    assert (first.returncode, first.stderr) == (0, "")
    assert "2 loops for this processor, 2 of them to be compiled" in first.stdout
    assert str(folder / "cache" / "restframe") in first.stdout and "loop.double" in first.stdout
    files = sorted((folder / "cache" / "restframe").glob("loop.double-*"))
    assert len(files) == 2
    again = run(folder, WITH_ONE_LOOP, "warm-up")
    assert "0 of them to be compiled" in again.stdout
    assert sorted((folder / "cache" / "restframe").glob("loop.double-*")) == files


def test_portable_loops_are_used_afterwards(folder):
    from restframe.processor import contains, portable_processor

    if not contains(portable_processor()):
        pytest.skip("not such a processor")
    assert "portable" in run(folder, WITH_ONE_LOOP, "warm-up", "--portable").stdout
    files = sorted((folder / "cache" / "restframe").glob("loop.double-*"))
    assert run(folder, TWICE).stdout.split() == ["42", portable_processor()]
    assert sorted((folder / "cache" / "restframe").glob("loop.double-*")) == files
    run(folder, WITH_ONE_LOOP, "warm-up")
    assert run(folder, TWICE).stdout.split() == ["42", "None", "None"]


def test_where_nothing_can_be_written(folder):
    nowhere = (
        "import restframe.loop_files as f; f.LoopFiles.__init__.__defaults__ = (lambda: [f.Place(f.Path('/proc/x'))],)"
    )
    ended = run(folder, f"{nowhere}\n{WITH_ONE_LOOP}", "warm-up")
    assert ended.returncode == 4 and "NUMBA_CACHE_DIR" in ended.stderr


def test_wrong_arguments(capfd):
    assert main(["warm-up", "--wrong"]) == 6
    assert "restframe warm-up --help" in capfd.readouterr().err
