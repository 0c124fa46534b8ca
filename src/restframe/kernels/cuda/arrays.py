"""Arrays on the GPU: made there, brought there and back; and how many blocks of threads go through them."""

from __future__ import annotations

import numpy as np

from restframe.kernels.cuda import copies

BLOCK = 256  # threads
LARGE = 8 << 20  # bytes from which on arrays are copied in pieces


def to_device(array):
    import cupy

    in_pieces = isinstance(array, np.ndarray) and array.nbytes >= LARGE and array.dtype.isnative
    return copies.to_device(array) if in_pieces else cupy.asarray(array)


def to_host(array) -> np.ndarray:
    if isinstance(array, np.ndarray):
        return array
    return copies.to_host(array) if array.nbytes >= LARGE else array.get()


def zeros(shape, dtype, like=None):
    import cupy

    return cupy.zeros(shape, dtype)


def empty(shape, dtype):
    import cupy

    return cupy.empty(shape, dtype)


def blocks_of(n: int, block: int = BLOCK) -> int:
    """Blocks of so many threads for ``n``."""
    return -(-n // block)
