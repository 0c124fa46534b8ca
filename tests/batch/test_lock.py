"""One run at a time in a folder of results."""

import json
import os
import subprocess
import sys
import time

import pytest

from restframe.batch import lock
from restframe.batch.lock import FolderLock
from restframe.errors import LockedError

HOLD = """
import sys, time
from pathlib import Path
from restframe.batch.lock import FolderLock
with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
RACE = """
import sys, time
from pathlib import Path
from restframe.batch.lock import FolderLock
from restframe.errors import LockedError
sys.stdin.read(1)
try:
    with FolderLock(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(1)
except LockedError:
    print("locked", flush=True)
"""


def start(script, path):
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", script, path], stdin=pipe, stdout=pipe, text=True)


def test_a_second_run_says_who_holds_it(tmp_path):
    path = tmp_path / "out/restframe/state/lock.json"
    process = start(HOLD, path)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(LockedError, match=rf"host .*, process {process.pid}, since 20\d\d-") as error, FolderLock(path):
        pass
    assert str(error.value).startswith(f"{tmp_path / 'out/restframe'} is in use by another run")
    process.kill()
    process.communicate()
    with FolderLock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not path.exists()
    assert {entry.name for entry in path.parent.iterdir()} <= {".guard"}


def test_one_of_many_takes_over_a_dead_lock(tmp_path):
    path = tmp_path / "lock.json"
    process = start(HOLD, path)
    process.stdout.readline()
    process.kill()
    process.communicate()
    racers = [start(RACE, path) for _ in range(4)]
    time.sleep(1)
    for racer in racers:
        racer.stdin.write("x")
        racer.stdin.close()
    answers = [racer.stdout.read().strip() for racer in racers]
    for racer in racers:
        racer.stdout.close()
        assert racer.wait() == 0
    assert answers.count("held") >= 1 and set(answers) <= {"held", "locked"}


def test_another_host_is_dead_after_a_minute_without_a_sign_of_life(tmp_path):
    path = tmp_path / "lock.json"
    entry = {"host": "elsewhere", "machine": "another", "pid": 1, "since": "2026-01-01T00:00:00+00:00"}
    path.write_text(json.dumps(entry))
    with pytest.raises(LockedError, match="host elsewhere"), FolderLock(path):
        pass
    os.utime(path, (time.time() - 100, time.time() - 100))
    with FolderLock(path):
        pass


def test_a_holder_notices_that_another_one_took_over(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.05)
    path, lost = tmp_path / "lock.json", []
    with FolderLock(path, on_lost=lambda: lost.append(True)):
        path.write_text(json.dumps({"token": "another"}))
        deadline = time.monotonic() + 10
        while not lost and time.monotonic() < deadline:
            time.sleep(0.01)
    assert lost and path.exists()


def test_a_disk_without_links(tmp_path, monkeypatch):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(lock.os, "link", refuse)
    path = tmp_path / "lock.json"
    with FolderLock(path), pytest.raises(LockedError), FolderLock(path):
        pass
    with FolderLock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_what_a_killed_run_left_is_removed(tmp_path):
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from restframe.output.drafts import *; draft_of(Path({str(tmp_path / 'x')!r})).touch()",
        ]
    )
    assert process.wait() == 0 and len(list(tmp_path.glob(".*.part"))) == 1
    with FolderLock(tmp_path / "lock.json"):
        assert not list(tmp_path.glob(".*.part"))
