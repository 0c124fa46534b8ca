"""Files that are being written, and what is left of a process that was killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from restframe.output.drafts import discard, draft_of, is_abandoned, machine, remove_abandoned, start_of

MAKER = """
import sys, time
from pathlib import Path
from restframe.output.drafts import draft_of
for name in ("a.mrc", "b.star"):
    draft = draft_of(Path(sys.argv[1]) / name)
    draft.write_bytes(b"half")
print("made", flush=True)
time.sleep(60)
"""


@pytest.fixture
def maker(tmp_path):
    """A process that is writing two files."""
    process = subprocess.Popen([sys.executable, "-c", MAKER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"made\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_drafts_of_a_killed_process_are_removed_and_no_others(maker, tmp_path):
    mine = draft_of(tmp_path / "c.mrc")
    mine.write_bytes(b"half")
    others = ["result.mrc", ".hidden.part", ".restframe-x.part", ".restframe-notes"]
    for name in others:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    assert remove_abandoned([tmp_path, tmp_path]) == []
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    assert len(remove_abandoned([tmp_path, tmp_path / "missing"])) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, *others])
    discard(mine)
    discard(mine)
    assert not mine.exists()


def test_a_number_that_was_given_to_another_process(tmp_path):
    process = os.getpid()
    assert start_of(process).isdigit() and start_of(2**22 + 1) == ""
    (tmp_path / f".restframe-{machine()}-{process}-{int(start_of(process)) + 1}-ab12.part").touch()
    assert len(remove_abandoned([tmp_path])) == 1


@pytest.mark.parametrize("name", [".restframe-0123456789ab-1-5-ab12.part", ".0123456789abcdef.part"])
def test_drafts_of_other_machines_and_versions_are_left_for_a_day(tmp_path, name):
    draft = tmp_path / name
    draft.touch()
    assert not is_abandoned(draft)
    a_day_ago = time.time() - 25 * 3600
    os.utime(draft, (a_day_ago, a_day_ago))
    assert remove_abandoned([tmp_path]) == [draft]
