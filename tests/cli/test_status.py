"""restframe status: what it makes of records and of runs on computers with other clocks."""

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from restframe.cli.status import read_status
from restframe.output.record import FORMAT

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "restframe/state").mkdir(parents=True)
    return tmp_path


def write_record(folder, name, **changes):
    record = {
        "format": FORMAT,
        "status": "done",
        "finished": (NOW - timedelta(minutes=5)).isoformat(),
        "input": {"path": f"/movies/{name}.mrc"},
    }
    (folder / f"restframe/{name}.json").write_text(json.dumps(record | changes))


def write_run(folder, heartbeat, written, oldest=None):
    """The state of a run that says it lives at ``heartbeat``; ``written``: when, by the clock of the disk."""
    state = {"is_running": True, "host": "a", "pid": 1, "since": NOW.isoformat(), "waiting": 2, "running": []}
    state |= {"heartbeat": heartbeat.isoformat(), "oldest_waiting": oldest and oldest.isoformat()}
    path = folder / "restframe/state/running.json"
    path.write_text(json.dumps(state))
    os.utime(path, (written.timestamp(), written.timestamp()))


def test_records_that_somebody_has_changed_are_left_out(folder):
    write_record(folder, "a")
    write_record(folder, "b", status="failed", reason="cut short")
    write_record(folder, "c", finished="yesterday")
    write_record(folder, "d", finished="2026-05-01T10:00:00")
    write_record(folder, "e", status="failed", input=None)
    (folder / "restframe/f.json").write_text("{")
    status = read_status(folder, NOW)
    assert (status.done, status.failed) == (1, 1) and status.failures[0]["reason"] == "cut short"


@pytest.mark.parametrize(
    ("by_host", "by_disk", "is_alive"), [(1, 1, True), (600, 1, True), (-600, 1, True), (600, 600, False)]
)
def test_a_run_on_a_computer_with_another_clock(folder, by_host, by_disk, is_alive):
    """Its sign of life counts by its own clock or by that of the disk. Numbers: seconds ago."""
    write_run(folder, NOW - timedelta(seconds=by_host), NOW - timedelta(seconds=by_disk))
    assert len(read_status(folder, NOW).runs) == is_alive


def test_movies_of_the_future_do_not_make_the_run_early(folder):
    write_run(folder, NOW, NOW, oldest=NOW + timedelta(hours=3))
    assert read_status(folder, NOW).minutes_behind == 0
