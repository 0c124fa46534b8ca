"""Binned frames: corrected and decimated in strips that stay in the cache."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.detector.calibration import Calibration
from restframe.kernels.cpu.corrected import corrected_span
from restframe.kernels.cpu.scalars import Real
from restframe.loops import nb, njit

BINNED_ROWS_PER_STRIP = 32
FRAMES_PER_BLOCK = 4


@njit(cache=True, nogil=True, fastmath=True)
def _add_four(
    total: Array,
    first: Array,
    second: Array,
    third: Array,
    fourth: Array,
    first_tap: Real,
    second_tap: Real,
    third_tap: Real,
    fourth_tap: Real,
) -> None:
    for x in range(len(total)):
        total[x] += first_tap * first[x] + second_tap * second[x] + third_tap * third[x] + fourth_tap * fourth[x]


@njit(cache=True, nogil=True)
def _decimated_strip(
    frame: Array,
    calibration: tuple[Array, ...],
    frame_index: int,
    filter_taps: Array,
    first_tap: int,
    factor: int,
    top: int,
    binned: Array,
    row_buffer: Array,
    phases: Array,
    moments: Array,
) -> None:
    """Binned rows ``top`` ... top + len(binned) of a frame, their sums and sums of squares to ``moments``.

    ``filter_taps``: a multiple of four; ``first_tap``: row of the first one for binned row 0. ``row_buffer``: corrected
    rows, the last of which is zero. ``phases`` (factor, ...): columns that are ``factor`` apart, zero at both ends.
    """
    height, width = frame.shape
    tap_count = len(filter_taps)
    padding = _phase_padding(tap_count, factor)
    buffer_rows = np.empty(tap_count, np.int64)
    filtered_row = np.empty(width, np.float32)
    rows_done = top * factor + first_tap
    for binned_row in range(len(binned)):
        first_row = (top + binned_row) * factor + first_tap
        for y in range(rows_done, first_row + tap_count):
            if 0 <= y < height:
                corrected_span(frame, y, calibration, frame_index, 0, row_buffer[y % tap_count])
        rows_done = first_row + tap_count
        for tap in range(tap_count):
            y = first_row + tap
            buffer_rows[tap] = y % tap_count if 0 <= y < height else tap_count
        filtered_row[:] = 0
        for tap in range(0, tap_count, 4):
            _add_four(
                filtered_row,
                row_buffer[buffer_rows[tap]],
                row_buffer[buffer_rows[tap + 1]],
                row_buffer[buffer_rows[tap + 2]],
                row_buffer[buffer_rows[tap + 3]],
                filter_taps[tap], filter_taps[tap + 1], filter_taps[tap + 2], filter_taps[tap + 3],
            )  # fmt: skip
        for phase in range(factor):
            columns = phases[phase, padding:]
            for x in range((width - phase + factor - 1) // factor):
                columns[x] = filtered_row[x * factor + phase]
        binned_line = binned[binned_row]
        binned_line[:] = 0
        for tap in range(0, tap_count, 4):
            column = first_tap + tap
            _add_four(
                binned_line,
                phases[column % factor, padding + column // factor :],
                phases[(column + 1) % factor, padding + (column + 1) // factor :],
                phases[(column + 2) % factor, padding + (column + 2) // factor :],
                phases[(column + 3) % factor, padding + (column + 3) // factor :],
                filter_taps[tap], filter_taps[tap + 1], filter_taps[tap + 2], filter_taps[tap + 3],
            )  # fmt: skip
        total = 0.0
        squares = 0.0
        for x in range(len(binned_line)):
            total += binned_line[x]
            squares += np.float64(binned_line[x]) * np.float64(binned_line[x])
        moments[binned_row, 0] = total
        moments[binned_row, 1] = squares


@njit(cache=True, nogil=True)
def _phase_padding(tap_count: int, factor: int) -> int:
    """Samples of each phase that the filter needs beyond either side."""
    return tap_count // factor + 2


@njit(cache=True, parallel=True, nogil=True)
def _decimated(
    frames: Array,
    calibration: tuple[Array, ...],
    first_frame: int,
    filter_taps: Array,
    first_tap: int,
    factor: int,
    binned: Array,
    moments: Array,
) -> None:
    frame_count, binned_height, binned_width = binned.shape
    for strip in nb.prange((binned_height + BINNED_ROWS_PER_STRIP - 1) // BINNED_ROWS_PER_STRIP):
        top = strip * BINNED_ROWS_PER_STRIP
        bottom = min(top + BINNED_ROWS_PER_STRIP, binned_height)
        row_buffer = np.zeros((len(filter_taps) + 1, frames.shape[2]), np.float32)
        padding = _phase_padding(len(filter_taps), factor)
        phases = np.zeros((factor, binned_width + 2 * padding + 1), np.float32)
        for frame in range(frame_count):  # the strip's gain stays in the cache
            frame_index = first_frame + frame
            _decimated_strip(
                frames[frame_index], calibration, frame_index, filter_taps, first_tap, factor, top,
                binned[frame, top:bottom], row_buffer, phases, moments[frame, top:bottom],
            )  # fmt: skip


@njit(cache=True, parallel=True, nogil=True)
def _round_to_int8(frame: Array, scale: Real, rounded: Array) -> None:
    for y in nb.prange(len(frame)):
        row = frame[y]
        rounded_row = rounded[y]
        for x in range(len(row)):
            rounded_row[x] = np.int8(np.rint(min(max(row[x] * scale, np.float32(-127)), np.float32(127))))


def make_binned_frames(
    frames: Array,
    calibration: Calibration,
    filter_taps: FloatArray,
    binning_factor: int,
    levels_per_deviation: float,
    binned: Array,
) -> None:
    first_tap = (binning_factor - 1) // 2 - (len(filter_taps) - 1) // 2
    padded_taps = np.pad(filter_taps, (0, -len(filter_taps) % 4))
    fields = tuple(calibration)
    unscaled = np.empty((min(FRAMES_PER_BLOCK, len(binned)), *binned.shape[1:]), np.float32)
    for first in range(0, len(binned), FRAMES_PER_BLOCK):
        block = binned[first : first + FRAMES_PER_BLOCK]
        moments = np.empty((len(block), block.shape[1], 2))
        _decimated(frames, fields, first, padded_taps, first_tap, binning_factor, unscaled[: len(block)], moments)
        mean, mean_square = np.moveaxis(moments.sum(1), 1, 0) / unscaled[0].size
        deviations = np.sqrt(np.maximum(mean_square - mean**2, 0))
        for frame, deviation, rounded in zip(unscaled, deviations, block, strict=False):
            _round_to_int8(frame, np.float32(levels_per_deviation / max(deviation, 1e-20)), rounded)
