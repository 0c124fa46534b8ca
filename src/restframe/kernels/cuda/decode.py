"""Decoding on the GPU: each strip of a TIFF file and each EER frame is one stream; a movie has thousands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import Array, BoolArray, IntArray
from restframe.kernels.cuda.arrays import block_count, contiguous_on_device, empty, to_device, zeros
from restframe.kernels.cuda.modules import launch

if TYPE_CHECKING:  # it imports Numba, which only EER movies need
    from restframe.movie.events import Coding

GOOD, DAMAGED, TOO_LONG = range(3)  # status of a stream, as in decode.cu
PADDING_BYTES = 16  # that may be read beyond the end of the compressed data
THREADS_PER_STREAM = 32
ROW_THREADS, ROW_BYTES_PER_THREAD = 128, 16  # of `flip_rows` in decode.cu
KERNELS = {"lzw": "lzw_short", "deflate": "deflate"}


def decode(
    codec: str, data: Array, starts: IntArray, byte_counts: IntArray, sizes: IntArray
) -> tuple[Array, BoolArray]:
    """Decoded bytes of streams, one after the other, on the device; and which streams failed, (n,) on the host.

    ``codec``: "lzw" or "deflate". ``data``: the compressed bytes, uint8 on the device, `PADDING_BYTES` longer than
    needed. ``starts``, ``byte_counts`` (n,): first byte and number of bytes of each stream; ``sizes`` (n,): number of
    its decoded bytes.
    """
    ends = np.cumsum(sizes)
    decoded = empty((int(ends[-1]),), np.uint8)
    status = zeros((len(starts),), np.int32)
    streams = contiguous_on_device(starts, np.int64), contiguous_on_device(byte_counts, np.int64)
    places = contiguous_on_device(ends - sizes, np.int64), contiguous_on_device(sizes, np.int32)
    arguments = data, *streams, decoded, *places, status
    launch("decode", KERNELS[codec], (len(starts),), THREADS_PER_STREAM, (*arguments, None))
    stream_status = status.get()
    too_long = np.flatnonzero(stream_status == TOO_LONG)
    if len(too_long):
        selection = contiguous_on_device(too_long, np.int32)
        launch("decode", "lzw_long", (len(too_long),), THREADS_PER_STREAM, (*arguments, selection))
        stream_status = status.get()
    return decoded, stream_status != GOOD


def add_events(
    data: Array,
    starts: IntArray,
    byte_counts: IntArray,
    coding: Coding,
    level: int,
    target_frames: IntArray,
    frames: Array,
) -> IntArray:
    """Adds the electrons of raw EER frames to ``frames`` (t, h, w), uint8 or uint16.

    ``starts``, ``byte_counts`` (n,): where each raw frame lies in ``data``, as in `decode`; ``target_frames`` (n,): the
    frame that it is added to. ``level``: pixels of the camera are split 2^level times along either axis. Returns the
    number of bits that each raw frame took, -1 if it is damaged: (n,) on the host.
    """
    used_bits = empty((len(starts),), np.int64)
    streams = contiguous_on_device(starts, np.int64), contiguous_on_device(byte_counts, np.int64)
    height, width = (size >> level for size in frames.shape[1:])
    code_lengths = coding.run_bits, coding.x_bits, coding.y_bits, int(coding.position_always_stored)
    targets = to_device(target_frames), frames, frames.itemsize, height, width
    arguments = data, *streams, *targets, *code_lengths, level, used_bits
    launch("decode", "eer", (len(starts),), THREADS_PER_STREAM, arguments)
    bit_counts: IntArray = used_bits.get()
    return bit_counts


def flip_rows(decoded: Array, frames: Array) -> None:
    """Decoded bytes of frames, from their top row on, into ``frames`` (t, h, w), from the bottom row on."""
    frame_count, height, _ = frames.shape
    row_bytes = frames[0, 0].nbytes
    grid = block_count(row_bytes, ROW_BYTES_PER_THREAD * ROW_THREADS), height, frame_count
    launch("decode", "flip_rows", grid, ROW_THREADS, (decoded, frames, height, row_bytes))
