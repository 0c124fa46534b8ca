"""What a run is doing, for its own text and, in a file that it rewrites, for `restframe status`."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from restframe.batch.source import Task
from restframe.output.drafts import discard, draft_of

WRITE_SECONDS = 2.0


@dataclass(frozen=True)
class Waiting:
    """Movies that have been found and not begun."""

    count: int = 0
    oldest: float | None = None  # when the first of them was last changed, seconds since 1970


@dataclass
class RunCounts:
    """Movies of a run. Threads share it."""

    outcomes: dict[str, str] = field(default_factory=dict)  # movie: done, failed, or skipped (done by an earlier run)
    running: dict[int, tuple[str, float]] = field(default_factory=dict)  # number: movie, when it was begun
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, number: int, task: Task) -> None:
        with self.lock:
            self.running[number] = str(task.movie), time.time()

    def end(self, number: int, task: Task, failed: bool) -> None:
        with self.lock:
            self.running.pop(number, None)
            self.outcomes[str(task.movie)] = "failed" if failed else "done"

    def skip(self, task: Task, failed: bool) -> None:
        """A movie was done, or failed, in an earlier run, or in this run before."""
        with self.lock:
            self.outcomes[str(task.movie)] = "failed" if failed else "skipped"

    def count(self, outcome: str = "") -> int:
        """Movies with this outcome; of all, if it is empty."""
        with self.lock:
            return sum(outcome in ("", one) for one in self.outcomes.values())

    def as_record(self) -> dict[str, Any]:
        with self.lock:
            running = [
                {"movie": movie, "since": _time_text(since), "host": socket.gethostname()}
                for movie, since in self.running.values()
            ]
        outcomes = {outcome: self.count(outcome) for outcome in ("done", "failed", "skipped")}
        return {**outcomes, "running": running}


class StatusFile:
    """A file that is rewritten every two seconds as long as the context lasts, and once more at its end."""

    def __init__(self, path: Path, counts: RunCounts, waiting: Callable[[], Waiting]) -> None:
        self._path = path
        self._counts = counts
        self._waiting = waiting
        self._since = _time_text(time.time())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def __enter__(self) -> StatusFile:
        self._write(is_running=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._write(is_running=False)

    def _run(self) -> None:
        while not self._ended.wait(WRITE_SECONDS):
            self._write(is_running=True)

    def _write(self, is_running: bool) -> None:
        waiting = self._waiting()
        state = {
            "format": "restframe run",
            "format_version": 1,
            "is_running": is_running,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": self._since,
            "heartbeat": _time_text(time.time()),
            "waiting": waiting.count,
            "oldest_waiting": None if waiting.oldest is None else _time_text(waiting.oldest),
            **self._counts.as_record(),
        }
        draft = draft_of(self._path)
        with suppress(OSError):  # a full disk ends no run here
            draft.write_text(json.dumps(state, indent=1) + "\n", encoding="ascii")
            os.replace(draft, self._path)
        with suppress(OSError):
            discard(draft)


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
