"""The evidence for a prior's scales on the GPU, all courses in time at once."""

from __future__ import annotations

import numpy as np

from restframe.kernels.cuda.arrays import BLOCK, empty, to_device, to_host
from restframe.kernels.cuda.source import launch

ROOM = 12 * 1024  # numbers of a matrix that lies in shared memory


def of_courses(data, linear, a: np.ndarray, negligible: float) -> tuple[np.ndarray, ...]:
    """As in reference.py; courses have as many coefficients together as each needs."""
    m, n = data.shape[:2]
    room = n * n if n * n <= ROOM else 0
    scratch = None if room else empty((m, n, n), np.float64)
    out = empty((m, 9), np.float64)
    arguments = data, linear, to_device(a), n, float(negligible), room, scratch, out
    launch("courses", "of_courses", (m,), BLOCK if room else 2 * BLOCK, arguments, 8 * (3 * n + room))
    found = to_host(out)
    if not np.isfinite(found[:, 0]).all():
        raise np.linalg.LinAlgError("a matrix of the posterior is not positive definite")
    both = found[:, [[[3, 4], [4, 5]], [[6, 7], [7, 8]]]]  # (m, 2, 2, 2)
    return found[:, 0], found[:, 1:3], both[:, 0], both[:, 1]
