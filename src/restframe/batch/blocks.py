"""Text of several movies that are corrected at the same time, printed movie by movie."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial


class Blocks:
    """Each movie says its lines by its number; those of a later one wait until all earlier ones are closed.

    Programs that read the text find the lines of a movie together, and the table of shifts unbroken.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._say = report
        self._lock = threading.Lock()
        self._current_number = 0
        self._waiting_lines: dict[int, list[str]] = {}
        self._closed_numbers: set[int] = set()

    def writer_for(self, number: int) -> Callable[[str], None]:
        """The function that takes the lines of movie ``number``, from 0. Any thread may call it."""
        return partial(self._add_line, number)

    def _add_line(self, number: int, line: str) -> None:
        with self._lock:
            if number == self._current_number:
                self._say(line)
            else:
                self._waiting_lines.setdefault(number, []).append(line)

    def close(self, number: int) -> None:
        """Movie ``number`` has no more lines; those of the next one are printed."""
        with self._lock:
            self._closed_numbers.add(number)
            while self._current_number in self._closed_numbers:
                self._closed_numbers.remove(self._current_number)
                self._current_number += 1
                for line in self._waiting_lines.pop(self._current_number, ()):
                    self._say(line)
