"""Which movies are done: the records of a batch are its ledger.

A movie is done when it has a record with its present `fingerprint`, and all outputs of the record exist with the sizes
in it. Otherwise it is corrected. The text of a movie that is done is printed again from its record.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from restframe.batch.fingerprint import movie_fingerprint, settings_digest
from restframe.batch.source import Earlier, Task
from restframe.output.record import FORMAT
from restframe.output.sink import FileSink
from restframe.settings import Settings


@dataclass(frozen=True)
class Ledger:
    """What is known about earlier runs, and which of their movies are corrected again."""

    settings_text: str  # digest of the settings
    redo: bool = False  # all
    retry_failed: bool = False  # those that failed

    @classmethod
    def of(cls, settings: Settings, redo: bool = False, retry_failed: bool = False) -> Ledger:
        """The ledger of a run with these settings. References are read to know their contents."""
        return cls(settings_digest(settings), redo, retry_failed)

    def with_fingerprint(self, task: Task) -> Task:
        """The task with the fingerprint of its movie as the file is now."""
        if not isinstance(task.sink, FileSink):
            return task
        fingerprint = movie_fingerprint(self.settings_text, task.movie, task.sink.outputs, task.known_motion)
        return replace(task, sink=replace(task.sink, fingerprint=fingerprint))

    def checked(self, task: Task) -> Task:
        """The task with its fingerprint, and with what an earlier run did if nothing is left to do."""
        task = self.with_fingerprint(task)
        if self.redo or not isinstance(task.sink, FileSink) or task.sink.outputs.record is None:
            return task
        record = read_record(task.sink.outputs.record)
        if record is None or record.get("fingerprint") != task.sink.fingerprint:
            return task
        lines = tuple(line for line in record.get("text") or () if isinstance(line, str))
        if record.get("status") == "done" and has_outputs(record, task.sink.outputs.record.parent):
            return replace(task, earlier=Earlier(lines))
        if record.get("status") == "failed" and record.get("lasting") and not self.retry_failed:
            return replace(task, earlier=Earlier(lines, str(record.get("reason"))))
        return task


def read_record(path: Path) -> dict[str, Any] | None:
    """The record; None where there is none, or another file."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("format") == FORMAT else None


def has_outputs(record: dict[str, Any], folder: Path) -> bool:
    """Whether all outputs of a record, which lies in ``folder``, exist with the sizes in it."""
    try:
        return bool(record["outputs"]) and all(
            os.stat(os.path.join(folder, output["path"])).st_size == output["size"] for output in record["outputs"]
        )
    except (OSError, KeyError, TypeError, ValueError):
        return False


class LedgerSource:
    """The tasks of a batch. Those that are done are yielded too, in their place; they are not counted as remaining."""

    def __init__(self, tasks: Sequence[Task], ledger: Ledger) -> None:
        self._ledger = ledger
        self._tasks = [ledger.checked(task) for task in tasks]
        self._next_index = 0
        self.remaining = sum(task.earlier is None for task in self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return self

    def __next__(self) -> Task:
        if self._next_index >= len(self._tasks):
            raise StopIteration
        task = self._tasks[self._next_index]
        self._next_index += 1
        if task.earlier is not None:
            return task
        self.remaining -= 1
        return self._ledger.with_fingerprint(task)  # the file may have changed since

    def __length_hint__(self) -> int:
        return self.remaining
