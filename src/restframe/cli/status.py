"""restframe status DIR: how far a batch is, from the records in the folder of its results."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from restframe.batch.ledger import read_record
from restframe.batch.lock import STATE_FOLDER
from restframe.cli.arguments import Parser
from restframe.cli.streams import say
from restframe.errors import InputError
from restframe.messages import Lines
from restframe.output.names import RECORD_FOLDER

RATE_SECONDS = 3600.0  # over which movies are counted for the rate
LOST_SECONDS = 60.0  # without a sign of life, from which on a run is taken for dead


@dataclass(frozen=True)
class RunState:
    """One run, as it says itself."""

    host: str
    pid: int
    since: str
    silent_seconds: float  # since its last sign of life
    is_running: bool
    waiting: int
    running: list[dict[str, Any]]  # movie, since, host


@dataclass(frozen=True)
class Status:
    """How far the batches of one folder are."""

    folder: str
    done: int
    failed: int
    running: int
    waiting: int
    movies_per_hour: float  # over the last hour, or since the first movie if that is shorter
    minutes_behind: float | None  # since the oldest waiting movie was finished; None: not known
    failures: list[dict[str, str]]  # movie, reason, finished
    runs: list[RunState]


def make_parser() -> Parser:
    """The arguments of restframe status."""
    parser = Parser(
        prog="restframe status", description="Print how far a batch is, from the records in the folder of its results."
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the corrected sums")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Print the status. Returns the exit code."""
    values = make_parser().parse_args(arguments)
    status = read_status(Path(values.folder))
    say(Lines.verbatim(json.dumps(asdict(status), indent=1)) if values.json else Lines(status_lines(status)))
    return 0


def read_status(folder: Path, now: datetime | None = None) -> Status:
    """From the records in ``folder``, or in its folder restframe. Raises `InputError` where there are none."""
    now = now or datetime.now(UTC)
    records = folder / RECORD_FOLDER if (folder / RECORD_FOLDER).is_dir() else folder
    if not records.is_dir() or not (records.name == RECORD_FOLDER or any(records.glob("*.json"))):
        raise InputError(f"{folder} has no records of a batch. Give the folder of the corrected sums.")
    entries = [
        record for path in sorted(records.glob("*.json")) if (record := read_record(path)) and _is_complete(record)
    ]
    finished = sorted(datetime.fromisoformat(record["finished"]) for record in entries)
    states = list(_run_states(records / STATE_FOLDER, now))
    runs = [run for run, _ in states if run.is_running]
    oldest = [seconds for run, seconds in states if run.is_running and seconds is not None]
    failures = [
        {"movie": str(record["input"]["path"]), "reason": str(record.get("reason")), "finished": record["finished"]}
        for record in entries
        if record["status"] == "failed"
    ]
    return Status(
        str(folder),
        sum(record["status"] == "done" for record in entries),
        len(failures),
        sum(len(run.running) for run in runs),
        sum(run.waiting for run in runs),
        movies_per_hour(finished, now),
        max(0.0, *oldest) / 60 if oldest else None,
        failures,
        runs,
    )


def _is_complete(record: dict[str, Any]) -> bool:
    """Whether a record has what the status says of it; somebody may have changed the file."""
    try:
        return datetime.fromisoformat(record["finished"]).tzinfo is not None and bool(
            record["status"] == "done" or record["input"]["path"]
        )
    except (KeyError, TypeError, ValueError):
        return False


def movies_per_hour(finished: Sequence[datetime], now: datetime) -> float:
    """The rate over the last hour. ``finished``: when each movie was, sorted."""
    recent = [time for time in finished if (now - time).total_seconds() <= RATE_SECONDS]
    if len(recent) < 2:
        return float(len(recent))
    seconds = max((now - recent[0]).total_seconds(), 1.0) if len(recent) == len(finished) else RATE_SECONDS
    return len(recent) * 3600.0 / seconds


def _run_states(folder: Path, now: datetime) -> Iterator[tuple[RunState, float | None]]:
    """Each run, and how long ago the oldest movie that waits was finished, in seconds."""
    for path in sorted(folder.glob("running*.json")):
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            heartbeat = datetime.fromisoformat(state["heartbeat"])  # by the clock of that computer
            written = datetime.fromtimestamp(path.stat().st_mtime, UTC)  # by the clock of the disk
            silent = (now - max(heartbeat, written)).total_seconds()
            oldest = state["oldest_waiting"]
            run = RunState(
                state["host"],
                state["pid"],
                state["since"],
                max(silent, 0.0),
                bool(state["is_running"]) and silent < LOST_SECONDS,
                state["waiting"],
                state["running"],
            )
            yield run, None if oldest is None else (now - datetime.fromisoformat(oldest)).total_seconds()
        except (OSError, ValueError, KeyError, TypeError):  # it is just being removed, or of another program
            continue


def status_lines(status: Status) -> list[str]:
    """The status as text."""
    lines = [
        f"Folder:   {os.path.abspath(status.folder)}",
        f"Done:     {status.done}",
        f"Failed:   {status.failed}",
        f"Running:  {status.running}",
        f"Waiting:  {status.waiting}",
        f"Rate:     {status.movies_per_hour:.0f} movies per hour",
    ]
    if status.minutes_behind is not None:
        lines.append(f"Behind:   {status.minutes_behind:.1f} minutes")
    for run in status.runs:
        lines.append(f"Run:      host {run.host}, process {run.pid}, since {run.since}")
        lines += [f"   {one['movie']} on {one['host']} since {one['since']}" for one in run.running]
    if not status.runs:
        lines.append("No run is active.")
    if status.failures:
        lines += ["Movies that failed:", *(f"   {one['movie']}: {one['reason']}" for one in status.failures)]
    return lines
