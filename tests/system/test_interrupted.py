"""Runs that are killed or ended by a signal: what they leave, how long they take to end, and what the next one does."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kills():
    spec = importlib.util.spec_from_file_location("kills", ROOT / "benchmarks" / "kills.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_killed_runs_leave_no_partial_file_and_the_next_one_cleans_up(kills, tmp_path):
    counts = kills.run_kills(tmp_path, 10)
    assert sum(counts[name] for name in ("PARTIAL FILE", "STALE FILE", "WRONG RESULT")) == 0


def ended(process, number, folder):
    """The process ends in time with the right code, says so in one line, and leaves nothing."""
    begin = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    seconds = time.monotonic() - begin
    assert process.returncode in (128 + number, -number)  # -number: before the first line of ours was executed
    assert seconds < 2 + (os.getloadavg()[0] > os.cpu_count())
    if process.returncode > 0:
        assert err == f"Error: ended by {signal.Signals(number).name}.\n"
    assert [path.name for path in (folder / "out").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("seconds", "loops"), [(0.7, 0), (1.5, 0), (0, 1), (0, 6)])
def test_a_signal_while_loops_are_compiled(kills, tmp_path, seconds, loops):
    """After so many seconds, or when so many of the two dozen loops are compiled."""
    kills.make_inputs(tmp_path)
    (tmp_path / "out").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "restframe", *kills.WORDS.split()],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")},
    )
    time.sleep(seconds)
    while loops and len(list((tmp_path / "cache").rglob("*.bin"))) < loops:
        assert process.poll() is None
        time.sleep(0.02)
    assert process.poll() is None, "it was not compiling any more"
    ended(process, signal.SIGTERM, tmp_path)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 0.95])
def test_a_signal_at_any_time(kills, tmp_path, part):
    kills.make_inputs(tmp_path)
    begin = time.monotonic()
    assert kills.start(tmp_path).wait() == 0
    usual_seconds = time.monotonic() - begin
    for path in [path for path in (tmp_path / "out").rglob("*") if path.is_file()]:
        path.unlink()
    process = subprocess.Popen(
        [sys.executable, "-m", "restframe", *kills.WORDS.split()],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(part * usual_seconds)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    names = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [name for name in names if name.startswith(".")]
    if process.returncode != 0:
        assert process.returncode in (143, -15) and err in ("", "Error: ended by SIGTERM.\n")
