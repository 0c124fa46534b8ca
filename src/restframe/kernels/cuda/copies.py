"""Large arrays between host and GPU: in pieces, through page-locked buffers, which the GPU reads and writes by itself.

CuPy alone allocates such a buffer for the whole array, which takes 40 ms for 100 MB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import Any

import numpy as np

from restframe.arrays import AnyArray, Array

PIECE_BYTES = 2 << 20
COPY_THREADS = 8


def through_buffers(buffer_bytes: int, threads: int, work: Callable[..., None], *items: Sequence[Any]) -> None:
    """``work(buffer, stream, *item)`` for every item, in parallel threads.

    Each thread has a buffer (uint8) and its own stream. ``work`` returns when everything that it started is finished.
    Raises what ``work`` raises for the first item that fails, in order.
    """
    import cupy

    if not len(items[0]):
        return
    device, of_thread = cupy.cuda.Device(), local()
    # kernels that were launched before may still use this memory, or still write what is copied
    cupy.cuda.get_current_stream().synchronize()

    def process(*item: Any) -> None:
        with device:
            if not hasattr(of_thread, "buffer"):
                memory = cupy.cuda.alloc_pinned_memory(buffer_bytes)
                of_thread.buffer = np.frombuffer(memory, np.uint8, buffer_bytes)
                of_thread.stream = cupy.cuda.Stream(non_blocking=True)
            work(of_thread.buffer, of_thread.stream, *item)

    with ThreadPoolExecutor(max(1, min(threads, len(items[0])))) as pool:
        for _ in pool.map(process, *items):
            pass


def send(
    targets: Sequence[Array], fill: Callable[..., object], sources: Sequence[Any], threads: int = COPY_THREADS
) -> None:
    """``fill(buffer, source)`` fills a buffer with the bytes of each target, a contiguous array on the GPU."""

    def copy(buffer: AnyArray, stream: Any, target: Array, source: Any) -> None:
        buffer = buffer[: target.nbytes]
        fill(buffer, source)
        target.data.copy_from_host_async(buffer.ctypes.data, target.nbytes, stream)
        stream.synchronize()

    through_buffers(max((target.nbytes for target in targets), default=0), threads, copy, targets, sources)


def to_device(array: AnyArray) -> Array:
    """A copy of a host array on the GPU."""
    import cupy

    device_array = cupy.empty(array.shape, array.dtype)
    send(pieces(device_array), np.copyto, pieces(np.ascontiguousarray(array)))
    return device_array


def to_host(array: Array) -> AnyArray:
    """A copy of a GPU array on the host."""
    import cupy

    host_array = np.empty(array.shape, array.dtype)

    def copy(buffer: AnyArray, stream: Any, source: Array, target: AnyArray) -> None:
        source.data.copy_to_host_async(buffer.ctypes.data, source.nbytes, stream)
        stream.synchronize()
        np.copyto(target, buffer[: target.nbytes])

    through_buffers(PIECE_BYTES, COPY_THREADS, copy, pieces(cupy.ascontiguousarray(array)), pieces(host_array))
    return host_array


def pieces(array: Array) -> list[Array]:
    """The bytes of a contiguous array as views of at most `PIECE_BYTES`."""
    all_bytes = array.reshape(-1).view(np.uint8)
    return [all_bytes[first : first + PIECE_BYTES] for first in range(0, all_bytes.size, PIECE_BYTES)]
