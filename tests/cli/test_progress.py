"""The progress of a batch on a terminal."""

import importlib.util
import os
import pty
import subprocess
import sys
from pathlib import Path

from restframe.batch.source import Task
from restframe.batch.status import RunCounts
from restframe.cli.progress import progress_text

ROOT = Path(__file__).parents[2]


def test_the_text():
    counts = RunCounts()
    tasks = [Task(Path(f"{number}.tif"), "tiff", None) for number in range(4)]
    assert progress_text(counts, 10, 5) == "0 done, 0 failed, 0 in work, 10 waiting"
    for number, task in enumerate(tasks[:3]):
        counts.begin(number, task)
    counts.end(0, tasks[0], failed=False)
    counts.end(1, tasks[1], failed=True)
    counts.skip(tasks[3], failed=False)
    expected = "2 done (1 before), 1 failed, 1 in work, 10 waiting; 60 movies per hour, 11 min left"
    assert progress_text(counts, 10, 60) == expected
    assert progress_text(counts, 0, 60).endswith("60 s left")


def test_a_terminal_shows_it_and_a_pipe_does_not(tmp_path):
    spec = importlib.util.spec_from_file_location("batch_kills", ROOT / "benchmarks" / "batch_kills.py")
    kills = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kills)
    kills.make_movies(tmp_path, 6)
    (tmp_path / "out").mkdir()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "restframe", *kills.WORDS.split()]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=theirs, env=os.environ | {"TERM": "xterm"})
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not block:
            break
        shown += block
    os.close(ours)
    assert process.wait() == 0
    assert b" in work, " in shown and b"movies per hour, " in shown
    text, _ = kills.start(tmp_path, f"{kills.WORDS} --redo").communicate(timeout=100)
    assert " in work, " not in text and "\x1b" not in text
