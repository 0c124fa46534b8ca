"""Raw counts to corrected counts, a row at a time, so that rows stay in the cache."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.detector.calibration import Calibration
from restframe.loops import nb, njit


@njit(cache=True, nogil=True, error_model="numpy")
def corrected_span(
    frame: Array, y: int, calibration: tuple[Array, ...], frame_index: int, left: int, corrected: Array
) -> None:
    """Columns ``left`` ... left + len(corrected) of row ``y`` of a corrected frame; both may lie off the frame.

    ``calibration``: the fields of `Calibration`, in their order, as a plain tuple.
    """
    gain, dark, mean_counts, limits, row_start, bad_columns, bad_values, edge_rows, edge_columns = calibration
    height, width = frame.shape
    mean_count = mean_counts[frame_index]
    length = len(corrected)
    first = min(max(0, -left), length)  # of the columns on the frame
    last = max(min(length, width - left), first)
    if y < 0 or y >= height:
        edge = edge_rows[0 if y < 0 else 1]
        for x in range(length):
            corrected[x] = mean_count * edge[min(max(left + x, 0), width - 1)]
        return
    raw_row = frame[y, left + first : left + last]
    gain_row = gain[y, left + first : left + last]
    inside = corrected[first:last]
    limit = limits[frame_index] - mean_count
    if dark.size > 1:
        dark_row = dark[y, left + first : left + last]
        for x in range(last - first):
            count = (np.float32(raw_row[x]) - dark_row[x]) * gain_row[x] - mean_count
            inside[x] = count if count < limit else np.float32(0)
    else:
        for x in range(last - first):
            count = np.float32(raw_row[x]) * gain_row[x] - mean_count
            inside[x] = count if count < limit else np.float32(0)
    for bad in range(row_start[y], row_start[y + 1]):
        x = bad_columns[bad] - left
        if 0 <= x < length:
            corrected[x] = mean_count * bad_values[bad]
    for x in range(first):
        corrected[x] = mean_count * edge_columns[0, y]
    for x in range(last, length):
        corrected[x] = mean_count * edge_columns[1, y]


@njit(cache=True, parallel=True)
def _correct_frame(frame: Array, calibration: tuple[Array, ...], frame_index: int, corrected: Array) -> None:
    for y in nb.prange(corrected.shape[0]):
        corrected_span(frame, y, calibration, frame_index, 0, corrected[y])


def corrected_frame(frames: Array, calibration: Calibration, index: int) -> FloatArray:
    corrected = np.empty(frames.shape[1:], np.float32)
    _correct_frame(frames[index], tuple(calibration), index, corrected)
    return corrected
