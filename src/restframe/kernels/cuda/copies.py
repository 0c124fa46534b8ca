"""Large arrays between host and GPU: in pieces, through buffers that the GPU reaches by itself.

CuPy alone takes such a buffer of the whole array's size, and to get 100 MB of that memory takes 40 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import local

import numpy as np

PIECE = 2 << 20  # bytes
THREADS = 8


def through_buffers(size: int, threads: int, work: Callable, *items: Sequence) -> None:
    """``work(buffer, stream, *item)`` for every item, each thread with a buffer of ``size`` bytes and a stream of its
    own; what ``work`` starts there must be done when it returns. The first item in order that fails raises here.
    """
    import cupy

    if not len(items[0]):
        return
    device, mine = cupy.cuda.Device(), local()
    cupy.cuda.get_current_stream().synchronize()  # what was in this memory before has been used, or is there now

    def one(*item) -> None:
        with device:
            if not hasattr(mine, "buffer"):
                memory = cupy.cuda.alloc_pinned_memory(size)
                mine.buffer, mine.stream = np.frombuffer(memory, np.uint8, size), cupy.cuda.Stream(non_blocking=True)
            work(mine.buffer, mine.stream, *item)

    with ThreadPoolExecutor(max(1, min(threads, len(items[0])))) as pool:
        for _ in pool.map(one, *items):
            pass


def send(places: Sequence, write: Callable[..., object], sources: Sequence, threads: int = THREADS) -> None:
    """``write(buffer, source)`` fills a buffer of a place's bytes, which then go to that place on the GPU, a contiguous
    array.
    """

    def work(buffer: np.ndarray, stream, place, source) -> None:
        buffer = buffer[: place.nbytes]
        write(buffer, source)
        place.data.copy_from_host_async(buffer.ctypes.data, place.nbytes, stream)
        stream.synchronize()

    through_buffers(max((place.nbytes for place in places), default=0), threads, work, places, sources)


def to_device(array: np.ndarray):
    """The array on the GPU."""
    import cupy

    out = cupy.empty(array.shape, array.dtype)
    send(pieces(out), np.copyto, pieces(np.ascontiguousarray(array)))
    return out


def to_host(array) -> np.ndarray:
    """The array in memory of the host."""
    import cupy

    out = np.empty(array.shape, array.dtype)

    def work(buffer: np.ndarray, stream, piece, place: np.ndarray) -> None:
        piece.data.copy_to_host_async(buffer.ctypes.data, piece.nbytes, stream)
        stream.synchronize()
        np.copyto(place, buffer[: place.nbytes])

    through_buffers(PIECE, THREADS, work, pieces(cupy.ascontiguousarray(array)), pieces(out))
    return out


def pieces(array) -> list:
    """The bytes of a contiguous array, `PIECE` at a time."""
    flat = array.reshape(-1).view(np.uint8)
    return [flat[i : i + PIECE] for i in range(0, flat.size, PIECE)]
