"""Spectra of tiles: scaled, filtered, aligned and summed."""

from __future__ import annotations

from typing import Any

import numpy as np

from restframe.arrays import Array, FloatArray, IntArray
from restframe.kernels.cpu.scalars import Real
from restframe.kernels.cpu.storage import storage_step, store
from restframe.kernels.cpu.threads import divide
from restframe.loops import compiled_loop, inner_loop

MAX_COLUMNS = 136  # of a spectrum; sums of a row and phases lie so far apart
LANES = 8  # samples that one vector instruction takes
ROWS_PER_BLOCK = 16  # rows of a spectrum whose sums stay in the cache


@compiled_loop("(int64, int64, int16[:,:,:,::1], float32[:,:,::1])")
def _scale(first: int, end: int, stored: Array, scale: Array) -> None:
    step = storage_step(stored)
    values = np.empty(stored.shape[3], np.float32)
    for tile in range(first, end):
        for frame in range(stored.shape[1]):
            for row in range(stored.shape[2]):
                stored_row, scale_row = stored[tile, frame, row], scale[frame, row]
                for column in range(len(values)):
                    values[column] = stored_row[column] * scale_row[column] * step
                store(values, stored_row)


def scale_spectra(real: Array, imaginary: Array, scale: Array) -> None:
    scale = np.ascontiguousarray(
        scale, np.float32
    )  # indexing by ring gives another memory order, which takes five times as long
    for stored in (real, imaginary):
        divide(_scale, len(stored), stored, scale)


@compiled_loop("(int64, int64, float32[:,:,::1], int64[:,::1], float64[:,::1], float64[:,::1])")
def _ring_sums(first: int, end: int, values: Array, ring_index: Array, weight: Array, sums: Array) -> None:
    for tile in range(first, end):
        for row in range(ring_index.shape[0]):
            for column in range(ring_index.shape[1]):
                if ring_index[row, column] >= 0:
                    sums[tile, ring_index[row, column]] += values[tile, row, column] * weight[row, column]


def ring_sums(values: Array, ring_index: IntArray, weight: FloatArray) -> FloatArray:
    sums = np.zeros((len(values), ring_index.shape[-1]))
    divide(_ring_sums, len(values), values, ring_index, weight, sums)
    return sums


@compiled_loop("(int64, int64, float32[:,:,::1], float32[:,:,::1], int64[:,::1], float64[:,::1], float64[:,::1])")
def _ring_power_sums(
    first: int, end: int, real: Array, imaginary: Array, ring_index: Array, weight: Array, sums: Array
) -> None:
    for tile in range(first, end):
        for row in range(ring_index.shape[0]):
            for column in range(ring_index.shape[1]):
                if ring_index[row, column] >= 0:
                    real_part, imaginary_part = real[tile, row, column], imaginary[tile, row, column]
                    power = real_part * real_part + imaginary_part * imaginary_part
                    sums[tile, ring_index[row, column]] += power * weight[row, column]


def ring_power_sums(real: Array, imaginary: Array, ring_index: IntArray, weight: FloatArray) -> FloatArray:
    sums = np.zeros((len(real), ring_index.shape[-1]))
    divide(_ring_power_sums, len(real), real, imaginary, ring_index, weight, sums)
    return sums


@compiled_loop(
    "(int64, int64, float32[:,:,::1], float32[:,:,::1], float64[:,::1], int64[:,::1], float64[:,::1], "
    "float32[:,:,::1], float32[:,:,::1])"
)
def _filter_spectra(
    first: int,
    end: int,
    real: Array,
    imaginary: Array,
    ring_filter: Array,
    ring_index: Array,
    weight: Array,
    filtered_real: Array,
    filtered_imaginary: Array,
) -> None:
    for tile in range(first, end):
        for row in range(ring_index.shape[0]):
            for column in range(ring_index.shape[1]):
                ring = ring_index[row, column]
                factor = np.float32(ring_filter[tile, ring] * weight[row, column]) if ring >= 0 else np.float32(0)
                filtered_real[tile, row, column] = factor * real[tile, row, column]
                filtered_imaginary[tile, row, column] = factor * imaginary[tile, row, column]


def filter_spectra(
    real: Array, imaginary: Array, ring_filter: FloatArray, ring_index: IntArray, weight: FloatArray
) -> tuple[Array, Array]:
    filtered = np.empty_like(real), np.empty_like(imaginary)
    divide(_filter_spectra, len(real), real, imaginary, ring_filter, ring_index, weight, *filtered)
    return filtered


@inner_loop()
def _phases(count: int, step: Real, variance: Real, real: Array, imaginary: Array) -> None:
    """exp(i k step - variance k²/2) for k = 0 ... count - 1, each from the one before it; zero after these.

    The recursion is in 64 bits, where its error is 1e-14.
    """
    turn_real, turn_imaginary = np.cos(np.float64(step)), np.sin(np.float64(step))
    decay_ratio = np.exp(-np.float64(variance))
    amplitude, decay = np.float64(1), np.sqrt(decay_ratio)
    phase_real, phase_imaginary = np.float64(1), np.float64(0)
    for frequency in range(count, len(real)):
        real[frequency] = imaginary[frequency] = 0
    for frequency in range(count):
        real[frequency] = amplitude * phase_real
        imaginary[frequency] = amplitude * phase_imaginary
        phase_real, phase_imaginary = (
            phase_real * turn_real - phase_imaginary * turn_imaginary,
            phase_real * turn_imaginary + phase_imaginary * turn_real,
        )
        amplitude *= decay
        decay *= decay_ratio


@inner_loop()
def _two_sided_phases(step: Real, variance: Real, real: Array, imaginary: Array) -> None:
    """`_phases` for k = -m ... m."""
    band = len(real) // 2
    _phases(band + 1, step, variance, real[band:], imaginary[band:])
    for frequency in range(1, band + 1):
        real[band - frequency] = real[band + frequency]
        imaginary[band - frequency] = -imaginary[band + frequency]


@inner_loop(separate_arrays=True, fastmath=True)
def _add_aligned_row(
    real: Array, imaginary: Array, column_phases: Array, row_real: Real, row_imaginary: Real, sums: Array
) -> None:
    """One row of one frame to ``sums``: real, imaginary, power, `MAX_COLUMNS` apart, as are ``column_phases``."""
    for column in range(len(real)):
        phase_real = column_phases[column] * row_real - column_phases[column + MAX_COLUMNS] * row_imaginary
        phase_imaginary = column_phases[column] * row_imaginary + column_phases[column + MAX_COLUMNS] * row_real
        value_real = np.float32(real[column])
        value_imaginary = np.float32(imaginary[column])
        turned_real = value_real * phase_real - value_imaginary * phase_imaginary
        turned_imaginary = value_real * phase_imaginary + value_imaginary * phase_real
        sum_real = sums[column] + turned_real
        sum_imaginary = sums[column + MAX_COLUMNS] + turned_imaginary
        power = sums[column + 2 * MAX_COLUMNS] + turned_real * turned_real + turned_imaginary * turned_imaginary
        sums[column] = sum_real
        sums[column + MAX_COLUMNS] = sum_imaginary
        sums[column + 2 * MAX_COLUMNS] = power


@inner_loop()
def _columns_in_band(row: int, column_count: int, row_count: int) -> Any:
    """Number of coefficients of a row with |k| < m + 1/2, those that belong to a ring."""
    band, ky = column_count - 1, row - row_count // 2
    squared = band * (band + 1) - ky * ky
    return np.int64(np.sqrt(squared)) + 1 if squared > 0 else 1


@inner_loop()
def _row_span(row: int, column_count: int, row_count: int) -> tuple[int, int]:
    """First and last index of the band's part of a row in the flat spectrum, its length a multiple of `LANES`.

    What is beyond the band is ignored later: a loop over the remainder, one by one, would take as long as the row.
    """
    start = row * column_count
    length = (_columns_in_band(row, column_count, row_count) + LANES - 1) // LANES * LANES
    stop, end_of_spectrum = start + length, row_count * column_count
    return start, stop if stop < end_of_spectrum else end_of_spectrum


@compiled_loop(
    "(int64, int64, int16[:,:,::1], int16[:,:,::1], float32[:,:,::1], float32[:,::1], float32[:,:,::1], "
    "float32[:,:,::1], float32[:,:,::1])"
)
def _align_spectra(
    first: int,
    end: int,
    real: Array,
    imaginary: Array,
    phase_steps: Array,
    phase_variance: Array,
    total_real: Array,
    total_imaginary: Array,
    total_power: Array,
) -> None:
    frame_count, (_, row_count, column_count) = real.shape[1], total_power.shape
    step = storage_step(real)
    column_phases = np.empty(frame_count * 2 * MAX_COLUMNS, np.float32)  # of each frame: real, imaginary
    row_phases = np.empty(frame_count * 2 * row_count, np.float32)
    sums = np.empty(ROWS_PER_BLOCK * 3 * MAX_COLUMNS, np.float32)
    for tile in range(first, end):
        for frame in range(frame_count):
            variance = phase_variance[tile, frame]
            of_columns, of_rows = 2 * frame * MAX_COLUMNS, 2 * frame * row_count
            _phases(
                column_count, phase_steps[tile, frame, 0], variance,
                column_phases[of_columns : of_columns + MAX_COLUMNS],
                column_phases[of_columns + MAX_COLUMNS : of_columns + 2 * MAX_COLUMNS],
            )  # fmt: skip
            _two_sided_phases(
                phase_steps[tile, frame, 1], variance,
                row_phases[of_rows : of_rows + row_count], row_phases[of_rows + row_count : of_rows + 2 * row_count],
            )  # fmt: skip
        for top in range(0, row_count, ROWS_PER_BLOCK):
            block_rows = ROWS_PER_BLOCK if top + ROWS_PER_BLOCK < row_count else row_count - top
            for index in range(len(sums)):
                sums[index] = 0
            for frame in range(frame_count):
                of_rows = 2 * frame * row_count + top
                for block_row in range(block_rows):
                    start, stop = _row_span(top + block_row, column_count, row_count)
                    _add_aligned_row(
                        real[tile, frame, start:stop], imaginary[tile, frame, start:stop],
                        column_phases[2 * frame * MAX_COLUMNS :],
                        row_phases[of_rows + block_row], row_phases[of_rows + row_count + block_row],
                        sums[3 * block_row * MAX_COLUMNS :],
                    )  # fmt: skip
            for block_row in range(block_rows):
                row = top + block_row
                in_band = _columns_in_band(row, column_count, row_count)
                row_sums = sums[3 * block_row * MAX_COLUMNS :]
                for column in range(in_band):
                    total_real[tile, row, column] = step * row_sums[column]
                    total_imaginary[tile, row, column] = step * row_sums[column + MAX_COLUMNS]
                    total_power[tile, row, column] = step * step * row_sums[column + 2 * MAX_COLUMNS]
                for column in range(in_band, column_count):
                    total_real[tile, row, column] = total_imaginary[tile, row, column] = 0
                    total_power[tile, row, column] = 0


def align_spectra(
    real: Array, imaginary: Array, phase_steps: FloatArray, phase_variance: FloatArray
) -> tuple[Array, Array, Array]:
    """As `Kernels.align_spectra`; zero beyond the band."""
    assert real.shape[-1] <= MAX_COLUMNS
    shape = len(real), *real.shape[2:]
    totals = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32)
    flat = (*real.shape[:2], -1)
    spectra = real.reshape(flat), imaginary.reshape(flat)
    divide(_align_spectra, len(real), *spectra, *_phase_arrays(phase_steps, phase_variance), *totals)
    return totals


def _phase_arrays(phase_steps: FloatArray, phase_variance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """As the loops take them."""
    return np.ascontiguousarray(phase_steps, np.float32), np.ascontiguousarray(phase_variance, np.float32)


@inner_loop(separate_arrays=True, fastmath=True)
def _add_gradient_row(
    real: Array,
    imaginary: Array,
    weighted_real: Array,
    weighted_imaginary: Array,
    column_phases: Array,
    row_real: Real,
    row_imaginary: Real,
    row_frequency: Real,
    sums: Array,
) -> None:
    """Adds Im(conj(W) G) of each column to ``sums``, and the same times ky, `MAX_COLUMNS` apart."""
    for column in range(len(real)):
        phase_real = column_phases[column] * row_real - column_phases[column + MAX_COLUMNS] * row_imaginary
        phase_imaginary = column_phases[column] * row_imaginary + column_phases[column + MAX_COLUMNS] * row_real
        value_real = np.float32(real[column])
        value_imaginary = np.float32(imaginary[column])
        product = weighted_real[column] * (
            value_real * phase_imaginary + value_imaginary * phase_real
        ) - weighted_imaginary[column] * (value_real * phase_real - value_imaginary * phase_imaginary)
        sum_x = sums[column] + product
        sum_y = sums[column + MAX_COLUMNS] + row_frequency * product
        sums[column] = sum_x
        sums[column + MAX_COLUMNS] = sum_y


@compiled_loop(
    "(int64, int64, int16[:,:,::1], int16[:,:,::1], float32[:,:,::1], float32[:,::1], float32[:,::1], float32[:,::1], "
    "int64, int64, float64[:,:,::1])"
)
def _shift_gradient(
    first: int,
    end: int,
    real: Array,
    imaginary: Array,
    phase_steps: Array,
    phase_variance: Array,
    weighted_real: Array,
    weighted_imaginary: Array,
    row_count: int,
    column_count: int,
    gradient: Array,
) -> None:
    frame_count, band = real.shape[1], row_count // 2
    step = np.float64(storage_step(real))
    column_phases = np.empty(2 * MAX_COLUMNS, np.float32)
    row_phases = np.empty(2 * row_count, np.float32)
    sums = np.empty(2 * MAX_COLUMNS, np.float32)
    for tile in range(first, end):
        for frame in range(frame_count):
            variance = phase_variance[tile, frame]
            _phases(
                column_count, phase_steps[tile, frame, 0], variance,
                column_phases[:MAX_COLUMNS], column_phases[MAX_COLUMNS:],
            )  # fmt: skip
            _two_sided_phases(phase_steps[tile, frame, 1], variance, row_phases[:row_count], row_phases[row_count:])
            for index in range(len(sums)):
                sums[index] = 0
            for row in range(row_count):
                start, stop = _row_span(row, column_count, row_count)
                _add_gradient_row(
                    real[tile, frame, start:stop], imaginary[tile, frame, start:stop],
                    weighted_real[tile, start:stop], weighted_imaginary[tile, start:stop],
                    column_phases, row_phases[row], row_phases[row_count + row], np.float32(row - band), sums,
                )  # fmt: skip
            gradient_x = 0.0
            gradient_y = 0.0
            for column in range(column_count):
                gradient_x += column * np.float64(sums[column])
                gradient_y += np.float64(sums[column + MAX_COLUMNS])
            gradient[tile, frame, 0] = -step * gradient_x
            gradient[tile, frame, 1] = -step * gradient_y


def shift_gradient(
    real: Array,
    imaginary: Array,
    phase_steps: FloatArray,
    phase_variance: FloatArray,
    weighted_real: Array,
    weighted_imaginary: Array,
) -> FloatArray:
    assert real.shape[-1] <= MAX_COLUMNS
    gradient = np.empty((*real.shape[:2], 2))
    flat = (*real.shape[:2], -1)
    row_count, column_count = real.shape[2:]
    spectra = real.reshape(flat), imaginary.reshape(flat)
    weighted = weighted_real.reshape(len(real), -1), weighted_imaginary.reshape(len(real), -1)
    phases = _phase_arrays(phase_steps, phase_variance)
    divide(_shift_gradient, len(real), *spectra, *phases, *weighted, row_count, column_count, gradient)
    return gradient
