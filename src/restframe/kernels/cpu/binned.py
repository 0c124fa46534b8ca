"""Binned frames: corrected and decimated in strips that stay in the cache."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.detector.calibration import Calibration
from restframe.kernels.cpu.corrected import (
    CALIBRATION_TYPE,
    RAW_TYPE,
    RawArrays,
    calibration_arrays,
    corrected_span,
    raw_arrays,
)
from restframe.kernels.cpu.scalars import Real
from restframe.kernels.cpu.threads import divide
from restframe.loops import compiled_loop, inner_loop

BINNED_ROWS_PER_STRIP = 32
FRAMES_PER_BLOCK = 4


@inner_loop(fastmath=True)
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


@inner_loop()
def _decimated_strip(
    raw: RawArrays,
    frame: int,
    calibration: tuple[Array, ...],
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
    rows, then one of zeros and one for the filtered row. ``phases``: of each phase the columns, which are ``factor``
    apart, with zeros at both ends.
    """
    height, width = calibration[0].shape
    tap_count = len(filter_taps)
    padding = _padding(tap_count, factor)
    phase_length = len(phases) // factor
    filtered_row = row_buffer[(tap_count + 1) * width :]
    rows_done = top * factor + first_tap
    for binned_row in range(len(binned)):
        first_row = (top + binned_row) * factor + first_tap
        for y in range(rows_done, first_row + tap_count):
            if 0 <= y < height:
                start = y % tap_count * width
                corrected_span(raw, frame, y, calibration, np.int64(0), row_buffer[start : start + width])
        rows_done = first_row + tap_count
        for x in range(width):
            filtered_row[x] = 0
        for tap in range(0, tap_count, 4):
            _add_four(
                filtered_row,
                row_buffer[_buffer_row(first_row + tap, height, tap_count) * width :],
                row_buffer[_buffer_row(first_row + tap + 1, height, tap_count) * width :],
                row_buffer[_buffer_row(first_row + tap + 2, height, tap_count) * width :],
                row_buffer[_buffer_row(first_row + tap + 3, height, tap_count) * width :],
                filter_taps[tap], filter_taps[tap + 1], filter_taps[tap + 2], filter_taps[tap + 3],
            )  # fmt: skip
        for phase in range(factor):
            columns = phases[phase * phase_length + padding :]
            for x in range((width - phase + factor - 1) // factor):
                columns[x] = filtered_row[x * factor + phase]
        binned_line = binned[binned_row]
        for x in range(len(binned_line)):
            binned_line[x] = 0
        for tap in range(0, tap_count, 4):
            column = first_tap + tap
            _add_four(
                binned_line,
                phases[_phase_start(column, padding, factor, phase_length) :],
                phases[_phase_start(column + 1, padding, factor, phase_length) :],
                phases[_phase_start(column + 2, padding, factor, phase_length) :],
                phases[_phase_start(column + 3, padding, factor, phase_length) :],
                filter_taps[tap], filter_taps[tap + 1], filter_taps[tap + 2], filter_taps[tap + 3],
            )  # fmt: skip
        total = 0.0
        squares = 0.0
        for x in range(len(binned_line)):
            total += binned_line[x]
            squares += np.float64(binned_line[x]) * np.float64(binned_line[x])
        moments[binned_row, 0] = total
        moments[binned_row, 1] = squares


@inner_loop()
def _buffer_row(y: int, height: int, tap_count: int) -> int:
    """Where a corrected row is buffered; the row of zeros where it is off the frame."""
    return y % tap_count if 0 <= y < height else tap_count


@inner_loop()
def _padding(tap_count: int, factor: int) -> int:
    """Samples of each phase that the filter needs beyond either side."""
    return tap_count // factor + 2


@inner_loop()
def _phase_start(column: int, padding: int, factor: int, phase_length: int) -> int:
    """Where the samples of the phase of ``column`` lie, from that column on."""
    return column % factor * phase_length + padding + column // factor


@compiled_loop(
    f"(int64, int64, {RAW_TYPE}, {CALIBRATION_TYPE}, int64, float32[::1], int64, int64, float32[:,:,::1], "
    "float64[:,:,::1])"
)
def _decimated(
    first: int,
    end: int,
    raw: RawArrays,
    calibration: tuple[Array, ...],
    first_frame: int,
    filter_taps: Array,
    first_tap: int,
    factor: int,
    binned: Array,
    moments: Array,
) -> None:
    """Strips of `BINNED_ROWS_PER_STRIP` rows."""
    frame_count, binned_height, binned_width = binned.shape
    width, tap_count = calibration[0].shape[1], len(filter_taps)
    row_buffer = np.empty((tap_count + 2) * width, np.float32)
    for x in range(tap_count * width, (tap_count + 1) * width):
        row_buffer[x] = 0
    phases = np.empty(factor * (binned_width + 2 * _padding(tap_count, factor) + 1), np.float32)
    for x in range(len(phases)):
        phases[x] = 0
    for strip in range(first, end):
        top = strip * BINNED_ROWS_PER_STRIP
        bottom = top + BINNED_ROWS_PER_STRIP if top + BINNED_ROWS_PER_STRIP < binned_height else binned_height
        for frame in range(frame_count):  # the strip's gain stays in the cache
            _decimated_strip(
                raw, first_frame + frame, calibration, filter_taps, first_tap, factor, top,
                binned[frame, top:bottom], row_buffer, phases, moments[frame, top:bottom],
            )  # fmt: skip


@compiled_loop("(int64, int64, float32[:,::1], float32, int8[:,::1])")
def _round_to_int8(first: int, end: int, frame: Array, scale: Real, rounded: Array) -> None:
    largest = np.float32(127)
    for y in range(first, end):
        row = frame[y]
        rounded_row = rounded[y]
        for x in range(len(row)):
            value = row[x] * scale
            value = value if value > -largest else -largest
            rounded_row[x] = np.int8(np.rint(value if value < largest else largest))


def make_binned_frames(
    frames: Array,
    calibration: Calibration,
    filter_taps: FloatArray,
    binning_factor: int,
    levels_per_deviation: float,
    binned: Array,
) -> None:
    first_tap = (binning_factor - 1) // 2 - (len(filter_taps) - 1) // 2
    padded_taps = np.pad(filter_taps, (0, -len(filter_taps) % 4)).astype(np.float32)
    input_frames = raw_arrays(frames), calibration_arrays(calibration)
    strips = -(-binned.shape[1] // BINNED_ROWS_PER_STRIP)
    unscaled = np.empty((min(FRAMES_PER_BLOCK, len(binned)), *binned.shape[1:]), np.float32)
    for first in range(0, len(binned), FRAMES_PER_BLOCK):
        block = binned[first : first + FRAMES_PER_BLOCK]
        moments = np.empty((len(block), block.shape[1], 2))
        filtering = padded_taps, first_tap, binning_factor
        divide(_decimated, strips, *input_frames, first, *filtering, unscaled[: len(block)], moments)
        mean, mean_square = np.moveaxis(moments.sum(1), 1, 0) / unscaled[0].size
        deviations = np.sqrt(np.maximum(mean_square - mean**2, 0))
        for frame, deviation, rounded in zip(unscaled, deviations, block, strict=False):
            scale = np.float32(levels_per_deviation / max(deviation, 1e-20))
            divide(_round_to_int8, len(frame), frame, scale, rounded)
