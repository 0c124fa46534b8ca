"""The number of processor cores that this process may use."""

from __future__ import annotations

import os


def available_cores() -> int:
    """Cores that this process may run on, at least 1.

    Linux can restrict a process to some of the cores (batch systems and containers do so). Other systems report the
    cores of the whole computer.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
