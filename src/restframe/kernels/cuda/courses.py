"""The evidence for a prior's scales on the GPU, all courses in time at once."""

from __future__ import annotations

import numpy as np

from restframe.kernels.cuda.arrays import empty, to_device, to_host
from restframe.kernels.cuda.source import launch

IN_SHARED = 72  # coefficients of a course whose matrix lies in the shared memory that every GPU has
THREADS = {True: 256, False: 1024}  # of a block, by whether it does


def trajectories_to_device(data: np.ndarray, linear: np.ndarray) -> tuple:
    """The log likelihood (`log_evidence`) to where it is worked on."""
    return to_device(data), to_device(linear)


def log_evidence(data, linear, a: np.ndarray, negligible: float) -> tuple[np.ndarray, ...]:
    """As in reference.py, of what `trajectories_to_device` gave."""
    m, n = data.shape[:2]
    out, fits = empty((m, 9), np.float64), n <= IN_SHARED
    room = None if fits else empty((m, n, n), np.float64)
    arguments = data, linear, to_device(a), n, float(negligible), room, out
    shared, threads = 8 * n * (3 + n * fits), THREADS[fits]
    launch("courses", "of_courses", (m,), threads, arguments, shared, (f"THREADS={threads}",))
    found = to_host(out)
    if not np.isfinite(found[:, 0]).all():
        raise np.linalg.LinAlgError("a matrix of the posterior is not positive definite")
    both = found[:, [[[3, 4], [4, 5]], [[6, 7], [7, 8]]]]  # (m, 2, 2, 2)
    return found[:, 0], found[:, 1:3], both[:, 0], both[:, 1]
