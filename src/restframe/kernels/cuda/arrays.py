"""Arrays on the GPU: allocated, copied there and back; and how many blocks of threads go through them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from restframe.arrays import AnyArray, Array
from restframe.kernels.cuda import copies
from restframe.kernels.cuda.modules import launch

THREADS_PER_BLOCK = 256
MIN_BYTES_IN_PIECES = 8 << 20  # smaller arrays are copied in one piece


def to_device(array: Array) -> Array:
    import cupy

    in_pieces = isinstance(array, np.ndarray) and array.nbytes >= MIN_BYTES_IN_PIECES and array.dtype.isnative
    return copies.to_device(array) if in_pieces else cupy.asarray(array)


def to_host(array: Array) -> AnyArray:
    if isinstance(array, np.ndarray):
        return array
    host_array: AnyArray = copies.to_host(array) if array.nbytes >= MIN_BYTES_IN_PIECES else array.get()
    return host_array


def contiguous_on_device(array: Any, dtype: DTypeLike) -> Array:
    """A host array in C order with numbers of ``dtype``, on the GPU."""
    return to_device(np.ascontiguousarray(array, dtype))


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    import cupy

    return cupy.zeros(shape, dtype)


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    import cupy

    return cupy.empty(shape, dtype)


def block_count(items: int, items_per_block: int = THREADS_PER_BLOCK) -> int:
    """Number of blocks that so many items need."""
    return -(-items // items_per_block)


def sum_last_axis(partial_sums: Array) -> Array:
    """Sums of float64 over the last axis, in one fixed order."""
    length = partial_sums.shape[-1]
    sums = empty(partial_sums.shape[:-1], np.float64)
    arguments = partial_sums, np.int64(length), sums
    launch("images", "sum_rows", (partial_sums.size // length,), THREADS_PER_BLOCK, arguments)
    return sums
