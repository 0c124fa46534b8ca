"""Large arrays whose memory can be returned to the system in pieces, each as soon as it is no longer needed."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np
from numpy.typing import DTypeLike

from restframe.arrays import AnyArray

NEEDED_BY_ZEROS = ("MAP_PRIVATE", "MAP_ANONYMOUS", "MADV_DONTNEED")
"""Names of `mmap` without which `zeros` returns a common array; Windows has none of them."""


class _AnonymousMemory(mmap.mmap):
    """The memory of an array made by `zeros`, and of nothing else."""


def zeros(shape: tuple[int, ...], dtype: DTypeLike, in_order: bool = True) -> AnyArray:
    """As `numpy.zeros`, but with pages of its own, which take no memory before something is written to them.

    ``in_order``: the array is written from beginning to end. If it is not, small pages are used, so that small pieces
    take little memory.
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    if not (size and all(hasattr(mmap, name) for name in NEEDED_BY_ZEROS)):
        return np.zeros(shape, dtype)
    memory = _AnonymousMemory(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if in_order and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)  # as NumPy does
    return np.frombuffer(memory, dtype).reshape(shape)


def release_pages(piece: AnyArray) -> None:
    """Return the pages that lie entirely in ``piece``, part of an array made by `zeros`, to the system.

    The values of ``piece`` are undefined afterwards. Pieces of other arrays are not changed.
    """
    memory: object = piece
    while isinstance(memory, np.ndarray):
        memory = memory.base
    if isinstance(memory, memoryview):
        memory = memory.obj
    if not (isinstance(memory, _AnonymousMemory) and piece.flags.c_contiguous and piece.size):
        return
    start = piece.ctypes.data - np.frombuffer(memory, np.uint8).ctypes.data
    first_page = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    end_of_pages = (start + piece.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if first_page < end_of_pages:
        memory.madvise(mmap.MADV_DONTNEED, first_page, end_of_pages - first_page)


def trim_heap() -> None:
    """Return free memory of the C library to the system: it keeps that of deleted arrays of up to 32 MB.

    Does nothing where the C library has no `malloc_trim`.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if malloc_trim:
        malloc_trim(0)
