"""Compiled loops whose work is divided among threads.

Numba can divide loops itself (``parallel=True``), but then each loop takes three times as long to compile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

PARTS_PER_THREAD = 4  # a thread that has to wait for its core leaves parts to the others


class _Workers(threading.local):
    """The threads that work for the calling thread: itself alone unless `Threads.active` says more."""

    count = 1
    pool: ThreadPoolExecutor | None = None


_workers = _Workers()


def active_threads() -> int:
    """Number of threads that `divide` uses for the calling thread."""
    return _workers.count


class Threads:
    """``count`` threads, of which the calling thread is one. The others are started when they are first needed."""

    def __init__(self, count: int) -> None:
        self.count = max(1, count)
        self._pool = ThreadPoolExecutor(self.count - 1, "loops") if self.count > 1 else None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside this context `divide` uses these threads for the calling thread."""
        before = _workers.count, _workers.pool
        _workers.count, _workers.pool = self.count, self._pool
        try:
            yield
        finally:
            _workers.count, _workers.pool = before


def divide(loop: Callable[..., None], length: int, *arguments: Any) -> None:
    """``loop(first, end, *arguments)`` for consecutive ranges that together are range(length).

    ``loop`` is compiled and does not need Python's lock; no two ranges may write to the same place.
    """
    threads = min(_workers.count, length)
    if threads <= 1 or _workers.pool is None:
        loop(0, length, *arguments)
        return
    parts = min(length, threads * PARTS_PER_THREAD)
    ends = [length * part // parts for part in range(parts + 1)]
    ranges = iter([(ends[part], ends[part + 1]) for part in range(parts)])  # Python's lock makes next() of it atomic

    def work() -> None:
        for first, end in ranges:
            loop(first, end, *arguments)

    others = [_workers.pool.submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for other in others:
            other.result()
