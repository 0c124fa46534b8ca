"""Raw counts to corrected counts, a row at a time, so that rows stay in the cache.

Loops over counts are compiled once for all types of pixels (`raw_arrays`).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from restframe.arrays import AnyArray, Array
from restframe.detector.calibration import Calibration
from restframe.loops import inner_loop

PIXEL_TYPES = ("u1", "i1", "u2", "i2", "f4")
"""The types of pixels that `restframe.movie` delivers."""

RawArrays: TypeAlias = tuple[AnyArray, ...]
"""Raw frames as the loops take them: an array for each of `PIXEL_TYPES`, all but one of them without frames. So one
compiled loop serves all types."""


RAW_TYPE = "Tuple((uint8[:,:,::1], int8[:,:,::1], uint16[:,:,::1], int16[:,:,::1], float32[:,:,::1]))"
CALIBRATION_TYPE = (
    "Tuple((float32[:,::1], float32[:,::1], float32[::1], float32[::1], "
    "int64[::1], int64[::1], float32[::1], float32[:,::1], float32[:,::1]))"
)
"""For Numba."""


def raw_arrays(frames: Array) -> RawArrays:
    """Frames (t, h, w) for the loops."""
    number = PIXEL_TYPES.index(frames.dtype.str[1:])
    arrays = [np.empty((0, 0, 0), pixel_type) for pixel_type in PIXEL_TYPES]
    arrays[number] = np.ascontiguousarray(frames)
    return tuple(arrays)


def calibration_arrays(calibration: Calibration) -> tuple[AnyArray, ...]:
    """The fields as the loops take them; arrays that lie in memory otherwise are copied."""
    return tuple(map(np.ascontiguousarray, calibration))


@inner_loop()
def _convert(row: Array, counts: Array) -> None:
    for x in range(len(counts)):
        counts[x] = row[x]


@inner_loop()
def read_counts(raw: RawArrays, frame: int, y: int, first: int, counts: Array) -> None:
    """The counts of row ``y`` of a frame, from column ``first`` on, to ``counts`` float32."""
    short, signed_short, long, signed_long, real = raw
    if len(short):
        _convert(short[frame, y, first:], counts)
    elif len(signed_short):
        _convert(signed_short[frame, y, first:], counts)
    elif len(long):
        _convert(long[frame, y, first:], counts)
    elif len(signed_long):
        _convert(signed_long[frame, y, first:], counts)
    else:
        _convert(real[frame, y, first:], counts)


@inner_loop(error_model="numpy")
def corrected_span(
    raw: RawArrays,
    frame: int,
    y: int,
    calibration: tuple[Array, ...],
    left: int,
    corrected: Array,
) -> None:
    """Columns ``left`` ... left + len(corrected) of row ``y`` of a corrected frame; both may lie off the frame.

    ``raw``, ``calibration``: as from `raw_arrays` and `calibration_arrays`.
    """
    gain, dark, mean_counts, limits, row_start, bad_columns, bad_values, edge_rows, edge_columns = calibration
    height, width = gain.shape
    mean_count = mean_counts[frame]
    length = len(corrected)
    if y < 0 or y >= height:
        edge = edge_rows[0 if y < 0 else 1]
        for x in range(length):
            column = left + x
            column = 0 if column < 0 else column
            corrected[x] = mean_count * edge[column if column < width else width - 1]
        return
    first = 0 if left > 0 else -left  # of the columns on the frame
    first = first if first < length else length
    last = length if length < width - left else width - left
    last = last if last > first else first
    inside = corrected[first:last]
    read_counts(raw, frame, y, left + first, inside)
    gain_row = gain[y, left + first : left + last]
    limit = limits[frame] - mean_count
    if dark.size > 1:
        dark_row = dark[y, left + first : left + last]
        for x in range(last - first):
            count = (inside[x] - dark_row[x]) * gain_row[x] - mean_count
            inside[x] = count if count < limit else np.float32(0)
    else:
        for x in range(last - first):
            count = inside[x] * gain_row[x] - mean_count
            inside[x] = count if count < limit else np.float32(0)
    for bad in range(row_start[y], row_start[y + 1]):
        x = bad_columns[bad] - left
        if 0 <= x < length:
            corrected[x] = mean_count * bad_values[bad]
    for x in range(first):
        corrected[x] = mean_count * edge_columns[0, y]
    for x in range(last, length):
        corrected[x] = mean_count * edge_columns[1, y]
