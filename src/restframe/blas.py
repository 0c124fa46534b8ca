"""BLAS on one thread, so that matrix products add up in one order whatever the number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any


class _SingleThread:
    """The number of BLAS threads belongs to the process, so all users of the limit share one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._limit: Any = None

    def acquire(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                from threadpoolctl import threadpool_limits

                self._limit = threadpool_limits(1, "blas")

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._limit.restore_original_limits()


_single_thread = _SingleThread()


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Inside this context matrix products use one thread: equal runs give equal bytes. Contexts may overlap."""
    _single_thread.acquire()
    try:
        yield
    finally:
        _single_thread.release()
