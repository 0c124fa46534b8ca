"""Decoding on the GPU: every strip is a stream of its own, and a movie has thousands."""

from __future__ import annotations

import numpy as np

from restframe.kernels.cuda.source import launch

GOOD, DAMAGED, TOO_LONG = range(3)  # as in decode.cu
PAD = 16  # bytes that may be read beyond the end of the compressed data


def decode(codec: str, data, start: np.ndarray, count: np.ndarray, size: np.ndarray):
    """Streams ("lzw" or "deflate") of compressed ``data`` (uint8 on the device, `PAD` bytes longer than needed).

    ``start``, ``count``: first byte and number of bytes of each, (n,); ``size``: bytes that each gives. Returns the
    bytes, one stream after the other, on the device, and which streams could not be decoded, (n,) bool on the host.
    """
    import cupy

    ends = np.cumsum(size)
    out = cupy.empty(int(ends[-1]), cupy.uint8)
    status = cupy.zeros(len(start), cupy.int32)
    tables = (
        cupy.asarray(np.ascontiguousarray(v, kind))
        for v, kind in ((start, np.int64), (count, np.int64), (ends - size, np.int64), (size, np.int32))
    )
    begin, length, place, room = tables
    arguments = data, begin, length, out, place, room, status
    kernel = {"lzw": "lzw_short", "deflate": "deflate"}[codec]
    launch("decode", kernel, (len(start),), 32, (*arguments, None))
    found = status.get()
    again = np.flatnonzero(found == TOO_LONG)
    if len(again):
        which = cupy.asarray(again.astype(np.int32))
        launch("decode", "lzw_long", (len(again),), 32, (*arguments, which))
        found = status.get()
    return out, found != GOOD


def add_events(data, start: np.ndarray, count: np.ndarray, coding, level: int, targets: np.ndarray, out) -> np.ndarray:
    """Raw EER frames, at ``start`` (n,) with ``count`` bytes of ``data``, added to frames ``targets`` of ``out`` (t, h,
    w), uint8 or uint16. Returns the bits that each took, -1 where it is damaged, (n,) on the host.
    """
    import cupy

    used = cupy.empty(len(start), cupy.int64)
    begin, length = (cupy.asarray(np.ascontiguousarray(v, np.int64)) for v in (start, count))
    h, w = (n >> level for n in out.shape[1:])
    own = (coding.run_bits, coding.x_bits, coding.y_bits, int(coding.position_always_stored), level)
    arguments = data, begin, length, cupy.asarray(targets), out, out.itemsize, h, w, *own, used
    launch("decode", "eer", (len(start),), 32, arguments)
    return used.get()


def turn_rows(decoded, out) -> None:
    """Rows of ``decoded`` (bytes of frames from the top row on) into ``out`` (t, h, w), the last row first."""
    t, h, _ = out.shape
    row = out[0, 0].nbytes
    launch("decode", "turn_rows", (-(-row // (16 * 128)), h, t), 128, (decoded, out, h, row))
