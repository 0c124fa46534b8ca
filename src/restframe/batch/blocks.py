"""Text of several movies that are worked on at once, printed movie by movie."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial


class Blocks:
    """Each movie says its lines by its number; those of a later one wait until all earlier ones are closed.

    Programs that read the text find the lines of a movie together, and the table of shifts unbroken.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._current = 0
        self._waiting: dict[int, list[str]] = {}
        self._closed: set[int] = set()

    def writer_for(self, number: int) -> Callable[[str], None]:
        """What movie ``number``, from 0, says its lines with. From any thread."""
        return partial(self._line, number)

    def _line(self, number: int, line: str) -> None:
        with self._lock:
            if number == self._current:
                self._say(line)
            else:
                self._waiting.setdefault(number, []).append(line)

    def close(self, number: int) -> None:
        """Movie ``number`` has said all; the next one's lines are printed."""
        with self._lock:
            self._closed.add(number)
            while self._current in self._closed:
                self._closed.remove(self._current)
                self._current += 1
                for line in self._waiting.pop(self._current, ()):
                    self._say(line)
