"""The evidence for a prior's scales on the GPU, all trajectories in one launch."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.kernels.cuda.arrays import empty, to_device, to_host
from restframe.kernels.cuda.modules import launch

MAX_SHARED_COEFFICIENTS = 72  # of a trajectory whose matrix fits into the shared memory that every GPU has
THREADS = {True: 256, False: 1024}  # per block, by whether the matrix is in shared memory
RESULTS = 9  # numbers per trajectory, as in trajectories.cu: value; slopes; curvature and its expectation as 00, 01, 11


def trajectories_to_device(information: FloatArray, linear: FloatArray) -> tuple[Array, Array]:
    return to_device(information), to_device(linear)


def log_evidence(
    information: Array, linear: Array, prior_precision: FloatArray, negligible: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    count, size = information.shape[:2]
    in_shared = size <= MAX_SHARED_COEFFICIENTS
    device_results = empty((count, RESULTS), np.float64)
    matrices = None if in_shared else empty((count, size, size), np.float64)
    arguments = information, linear, to_device(prior_precision), size, float(negligible), matrices, device_results
    shared_bytes, threads = 8 * size * (3 + size * in_shared), THREADS[in_shared]
    definitions = (f"THREADS={threads}",)
    launch("trajectories", "log_evidence", (count,), threads, arguments, shared_bytes, definitions)
    results = to_host(device_results)
    if not np.isfinite(results[:, 0]).all():
        raise np.linalg.LinAlgError("a matrix of the posterior is not positive definite")
    matrices_2x2 = results[:, [[[3, 4], [4, 5]], [[6, 7], [7, 8]]]]  # (m, 2, 2, 2)
    return results[:, 0], results[:, 1:3], matrices_2x2[:, 0], matrices_2x2[:, 1]
