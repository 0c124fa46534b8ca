"""What is reported about one movie while it is corrected."""

from __future__ import annotations

import time
from collections.abc import Callable

Report = Callable[[str], None]

WARNING = "Warning: "


class Progress:
    """What is reported about one movie: lines of text, each said once, and the seconds since the work began."""

    def __init__(self, report: Report | None = None) -> None:
        self._report = report
        self._said: set[str] = set()
        self._begin = time.perf_counter()
        self.warnings: list[str] = []

    def say(self, line: str) -> None:
        """Report a line that was not reported before: work that is repeated says the same again."""
        if line in self._said:
            return
        self._said.add(line)
        if line.startswith(WARNING):
            self.warnings.append(line.removeprefix(WARNING))
        if self._report:
            self._report(line)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begin
