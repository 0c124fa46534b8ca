"""A folder that is watched: movies are tasks as soon as they are complete.

Network disks tell nobody of new files, so the folder is looked at again and again. A movie is complete when its size
and time have not changed for some seconds. One that changes after it was handed out is handed out again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from restframe.batch.source import Task
from restframe.batch.status import Waiting

LOOKS_PER_SETTLING = 5
MAX_LOOK_SECONDS, MIN_LOOK_SECONDS = 1.0, 0.05  # between two looks at the folder
MAX_RECHECK_SECONDS = 30.0  # between two looks at a movie that was handed out
RECHECK_SHARE = 0.05  # of the time since it was handed out, after which it is looked at again

Version = tuple[int, int]  # size in bytes, time of the last change in ns


@dataclass(frozen=True)
class WatchRules:
    """When movies are complete, in what order they come, and when the watching ends."""

    idle_seconds: float  # without a change, after which it ends; infinity: never
    settle_seconds: float = 5.0  # without a change, after which a movie is complete
    newest_first: bool = False  # otherwise in the order of their last change


@dataclass
class Sighting:
    """What is known about a file."""

    version: Version
    stable_since: float  # by the clock of `time.monotonic`, as the other times here
    begun: Version | None = None  # when it was handed out; None: it was not
    begun_at: float = 0.0
    next_look: float = 0.0
    is_in_hand: bool = False

    @property
    def is_new(self) -> bool:
        return self.version != self.begun


class FolderWatch:
    """A source of tasks that waits for movies. `stop` ends it, from any thread.

    ``find`` lists the files that may be movies; it may raise OSError or `RestframeError` where a disk does not answer,
    and is called again. ``make_task`` is called for each complete file; None: it is no movie.
    """

    def __init__(
        self, find: Callable[[], Sequence[Path]], make_task: Callable[[Path], Task | None], rules: WatchRules
    ) -> None:
        self._find = find
        self._make_task = make_task
        self._rules = rules
        self._sightings: dict[Path, Sighting] = {}
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._last_change = time.monotonic()
        look_seconds = rules.settle_seconds / LOOKS_PER_SETTLING
        self._look_seconds = min(max(look_seconds, MIN_LOOK_SECONDS), MAX_LOOK_SECONDS)

    def stop(self) -> None:
        """Yield no more tasks."""
        self._stopped.set()

    def finished(self, task: Task) -> None:
        """Nothing more is done for this task, so its movie may be handed out again."""
        with self._lock:
            if sighting := self._sightings.get(task.movie):
                sighting.is_in_hand = False

    def waiting(self) -> Waiting:
        """Movies that were seen and are not handed out yet."""
        with self._lock:
            times = [one.version[1] / 1e9 for one in self._sightings.values() if one.is_new]
        return Waiting(len(times), min(times, default=None))

    def __iter__(self) -> Iterator[Task]:
        return self

    def __next__(self) -> Task:
        while not self._stopped.is_set():
            self._look()
            movie = self._next_movie()
            task = self._make_task(movie) if movie else None
            if task is not None:
                return task
            if movie is not None:
                self._forget(movie)
                continue
            if self._is_idle():
                break
            self._stopped.wait(self._look_seconds)
        raise StopIteration

    def _forget(self, path: Path) -> None:
        """Nothing is done for a file."""
        with self._lock:
            self._sightings[path].is_in_hand = False

    def _look(self) -> None:
        """Note new files and changes."""
        try:
            paths = self._find()
        except Exception:  # the disk may answer the next time; the first look was made before the watch began
            return
        now = time.monotonic()
        with self._lock:
            for path in paths:
                sighting = self._sightings.get(path)
                if sighting is not None and now < sighting.next_look:
                    continue
                version = version_of(path)
                if version is None:
                    continue
                if sighting is None:
                    sighting = self._sightings[path] = Sighting(version, now)
                    self._last_change = now
                elif version != sighting.version:
                    sighting.version, sighting.stable_since = version, now
                    self._last_change = now
                if not sighting.is_new:
                    sighting.next_look = now + min(RECHECK_SHARE * (now - sighting.begun_at), MAX_RECHECK_SECONDS)
            gone = [path for path, one in self._sightings.items() if one.begun is None]
            for path in set(gone).difference(paths):
                del self._sightings[path]

    def _next_movie(self) -> Path | None:
        """The movie whose turn it is, noted as handed out; None where none is complete."""
        now = time.monotonic()
        with self._lock:
            complete = [
                (sighting.version[1], path)
                for path, sighting in self._sightings.items()
                if sighting.is_new
                and not sighting.is_in_hand
                and now - sighting.stable_since >= self._rules.settle_seconds
            ]
            if not complete:
                return None
            path = max(complete)[1] if self._rules.newest_first else min(complete)[1]
            sighting = self._sightings[path]
            sighting.begun, sighting.begun_at, sighting.next_look = sighting.version, now, 0.0
            sighting.is_in_hand = True
            self._last_change = now
            return path

    def _is_idle(self) -> bool:
        with self._lock:
            is_waiting = any(one.is_new or one.is_in_hand for one in self._sightings.values())
            return not is_waiting and time.monotonic() - self._last_change >= self._rules.idle_seconds


def version_of(path: Path) -> Version | None:
    """Size and time of a file; None where it is gone."""
    with suppress(OSError):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    return None
