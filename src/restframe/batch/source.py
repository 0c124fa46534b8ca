"""Which movies are corrected: tasks, one after the other.

A source is any iterable of tasks: a list with a single movie, the movies of a folder, or an object that waits for new
movies and may never end. One that waits has a method ``stop``, after which it yields no more tasks; it is called when a
run ends early. One that yields a movie again when it has changed has a method ``finished``, which is called with each
task when nothing more is done for it. `TaskQueue` hands out the tasks to several threads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import length_hint
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Protocol

from restframe.messages import Lines
from restframe.output.sink import Corrected
from restframe.pipeline import TakeStack
from restframe.progress import Report

UNKNOWN_LENGTH = 1_000_000  # tasks that a source which does not know its length is taken to have


class Sink(Protocol):
    """Where the results of one movie go. It can be pickled: another process may correct the movie."""

    @property
    def stack(self) -> TakeStack | None:
        """Takes the corrected frames while they are made; None: they are not wanted."""
        ...

    def save(self, corrected: Corrected, report: Report) -> None:
        """Put the results in place and say where."""
        ...

    def fail(self, movie: Path, reason: str, lasting: bool) -> None:
        """Note that the movie could not be corrected. ``lasting``: trying again would fail again."""
        ...

    def discard(self) -> None:
        """Remove what was written and not put in place, if anything."""
        ...


@dataclass(frozen=True)
class Earlier:
    """What an earlier run did with a movie, so that nothing is left to do."""

    lines: tuple[str, ...]  # that it printed
    failure: str = ""  # why the movie could not be corrected; empty: it is done
    heading: str = ""  # printed before the lines; empty: that they are of an earlier run


@dataclass(frozen=True)
class Task:
    """One movie to be corrected. It can be pickled."""

    movie: Path
    kind: str  # format that the user says: mrc, tiff, eer
    sink: Sink
    known_motion: Path | None = None  # file of motion to be applied instead of measured
    earlier: Earlier | None = None  # nothing is left to do but to print the text again
    title: str = ""  # printed before all other lines of this movie; empty: it is the only movie

    @property
    def alone(self) -> bool:
        """Whether it is the only movie of a run: its text has no title, and its error ends the run."""
        return not self.title


def with_titles(tasks: Sequence[Task]) -> list[Task]:
    """The tasks of a batch, each with its place in the batch as title."""
    return [
        replace(task, title=Lines(["", f"Movie {number} of {len(tasks)}: {task.movie}"]))
        for number, task in enumerate(tasks, 1)
    ]


class TaskQueue:
    """Hands out the tasks of a source, numbered from 0, to any thread. As a context it stops the source at the end."""

    def __init__(self, source: Iterable[Task]) -> None:
        self._source = source
        self._iterator = iter(source)
        self._lock = Lock()
        self._next_number = 0
        self._ended = False

    def take(self) -> tuple[int, Task] | None:
        """The next task and its number; None after the last one. Waits as long as the source waits."""
        with self._lock:
            task = None if self._ended else next(self._iterator, None)
            if task is None:
                self._ended = True
                return None
            number = self._next_number
            self._next_number += 1
            return number, task

    def finished(self, task: Task) -> None:
        """Nothing more is done for a task; a source that hands movies out again is told."""
        tell_source = getattr(self._source, "finished", None)
        if tell_source:
            tell_source(task)

    def stop(self) -> None:
        """Hand out no more tasks; a source that waits for movies is told to end."""
        self._ended = True
        stop_source = getattr(self._source, "stop", None)
        if stop_source:
            stop_source()

    def __enter__(self) -> TaskQueue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def remaining(self) -> int:
        """How many tasks are expected, as far as the source knows its length."""
        return 0 if self._ended else length_hint(self._iterator, UNKNOWN_LENGTH)
