"""How far a batch is, in the last line of a terminal. Elsewhere the text of the movies says it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restframe.batch.status import RunCounts, Waiting

UPDATE_SECONDS = 0.5


@contextmanager
def showing_progress(counts: RunCounts, waiting: Callable[[], Waiting]) -> Iterator[None]:
    """Keep a line with the progress on a terminal, and only there."""
    if not sys.stdout.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    start, ended = time.monotonic(), threading.Event()
    with Console().status("starting") as status:

        def update() -> None:
            status.update(escape(progress_text(counts, waiting().count, time.monotonic() - start)))

        def update_until_end() -> None:
            while not ended.wait(UPDATE_SECONDS):
                update()

        thread = threading.Thread(target=update_until_end, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            update()


def progress_text(counts: RunCounts, waiting_count: int, seconds: float) -> str:
    """For example "12 done, 1 failed, 2 in work, 85 waiting; 310 movies per hour, 17 min left"."""
    done, failed, running = counts.count("done"), counts.count("failed"), len(counts.running)
    skipped = counts.count("skipped")
    before = f" ({skipped} before)" if skipped else ""
    text = f"{done + skipped} done{before}, {failed} failed, {running} in work, {waiting_count} waiting"
    if not done or seconds <= 0:
        return text
    per_hour = 3600 * done / seconds
    minutes_left = 60 * (waiting_count + running) / per_hour
    left = f"{minutes_left:.0f} min" if minutes_left >= 2 else f"{60 * minutes_left:.0f} s"
    return f"{text}; {per_hour:.0f} movies per hour, {left} left"
