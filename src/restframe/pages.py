"""Large arrays whose memory can be given back piece by piece, as each piece has been used for the last time."""

from __future__ import annotations

import ctypes
import mmap
import sys

import numpy as np

NEEDED = ("MAP_PRIVATE", "MAP_ANONYMOUS", "MADV_DONTNEED")  # Windows has none of these


class _Pages(mmap.mmap):
    """Memory of an array of `zeros`, and of nothing else."""


def zeros(shape: tuple[int, ...], dtype, in_order: bool = True) -> np.ndarray:
    """As `numpy.zeros`, on pages of its own, which take no memory before they are written to.

    ``in_order``: it is written to from beginning to end. If not, small pages keep that true for small pieces.
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    if not (size and all(hasattr(mmap, name) for name in NEEDED)):
        return np.zeros(shape, dtype)
    memory = _Pages(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if in_order and hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)  # as NumPy does
    return np.frombuffer(memory, dtype).reshape(shape)


def give_back(part: np.ndarray) -> None:
    """Give the pages that lie wholly in ``part`` of an array of `zeros` back. What it holds afterwards means nothing.

    Any other array stays as it is.
    """
    memory: object = part
    while isinstance(memory, np.ndarray):
        memory = memory.base
    if isinstance(memory, memoryview):
        memory = memory.obj
    if not (isinstance(memory, _Pages) and part.flags.c_contiguous and part.size):
        return
    start = part.ctypes.data - np.frombuffer(memory, np.uint8).ctypes.data
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    stop = (start + part.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < stop:
        memory.madvise(mmap.MADV_DONTNEED, first, stop - first)


def trim() -> None:
    """Give free memory in between what is used back: the C library keeps that of arrays of up to 32 MB."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)
