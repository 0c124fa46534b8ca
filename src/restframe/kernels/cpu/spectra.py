"""Spectra of tiles: scaled, filtered, aligned and summed."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray, IntArray
from restframe.kernels.cpu.scalars import Real
from restframe.kernels.cpu.storage import storage_step, store
from restframe.loops import nb, njit

MAX_COLUMNS = 136  # of a spectrum; sums of a row and phases lie so far apart
LANES = 8  # samples that one vector instruction takes
ROWS_PER_BLOCK = 16  # rows of a spectrum whose sums stay in the cache


@njit(cache=True, parallel=True)
def _scale(stored: Array, scale: Array) -> None:
    step = storage_step(stored)
    for tile in nb.prange(len(stored)):
        values = np.empty(stored.shape[3], np.float32)
        for frame in range(stored.shape[1]):
            for row in range(stored.shape[2]):
                for column in range(len(values)):
                    values[column] = stored[tile, frame, row, column] * scale[frame, row, column] * step
                store(values, stored[tile, frame, row])


def scale_spectra(real: Array, imaginary: Array, scale: Array) -> None:
    scale = np.ascontiguousarray(scale)  # indexing by ring gives another memory order, which takes five times as long
    _scale(real, scale)
    _scale(imaginary, scale)


@njit(cache=True, parallel=True)
def _ring_sums(values: Array, ring_index: Array, weight: Array, sums: Array) -> None:
    for tile in nb.prange(len(values)):
        for row in range(ring_index.shape[0]):
            for column in range(ring_index.shape[1]):
                if ring_index[row, column] >= 0:
                    sums[tile, ring_index[row, column]] += values[tile, row, column] * weight[row, column]


def ring_sums(values: Array, ring_index: IntArray, weight: FloatArray) -> FloatArray:
    sums = np.zeros((len(values), ring_index.shape[-1]))
    _ring_sums(values, ring_index, weight, sums)
    return sums


@njit(cache=True, parallel=True)
def _ring_power_sums(real: Array, imaginary: Array, ring_index: Array, weight: Array, sums: Array) -> None:
    for tile in nb.prange(len(real)):
        for row in range(ring_index.shape[0]):
            for column in range(ring_index.shape[1]):
                if ring_index[row, column] >= 0:
                    real_part, imaginary_part = real[tile, row, column], imaginary[tile, row, column]
                    power = real_part * real_part + imaginary_part * imaginary_part
                    sums[tile, ring_index[row, column]] += power * weight[row, column]


def ring_power_sums(real: Array, imaginary: Array, ring_index: IntArray, weight: FloatArray) -> FloatArray:
    sums = np.zeros((len(real), ring_index.shape[-1]))
    _ring_power_sums(real, imaginary, ring_index, weight, sums)
    return sums


@njit(cache=True, parallel=True)
def _filter_spectra(
    real: Array,
    imaginary: Array,
    ring_filter: Array,
    ring_index: Array,
    weight: Array,
    filtered_real: Array,
    filtered_imaginary: Array,
) -> None:
    for tile in nb.prange(len(real)):
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
    _filter_spectra(real, imaginary, ring_filter, ring_index, weight, *filtered)
    return filtered


@njit(cache=True, nogil=True)
def _phases(count: int, step: Real, variance: Real, real: Array, imaginary: Array) -> None:
    """exp(i k step - variance k²/2) for k = 0 ... count - 1, each from the one before it; zero after these.

    The recursion is in 64 bits, where its error is 1e-14.
    """
    turn_real, turn_imaginary = np.cos(np.float64(step)), np.sin(np.float64(step))
    decay_ratio = np.exp(-np.float64(variance))
    amplitude, decay = np.float64(1), np.sqrt(decay_ratio)
    phase_real, phase_imaginary = np.float64(1), np.float64(0)
    real[count:] = 0
    imaginary[count:] = 0
    for frequency in range(count):
        real[frequency] = amplitude * phase_real
        imaginary[frequency] = amplitude * phase_imaginary
        phase_real, phase_imaginary = (
            phase_real * turn_real - phase_imaginary * turn_imaginary,
            phase_real * turn_imaginary + phase_imaginary * turn_real,
        )
        amplitude *= decay
        decay *= decay_ratio


@njit(cache=True, nogil=True)
def _two_sided_phases(step: Real, variance: Real, real: Array, imaginary: Array) -> None:
    """`_phases` for k = -m ... m."""
    band = len(real) // 2
    _phases(band + 1, step, variance, real[band:], imaginary[band:])
    for frequency in range(1, band + 1):
        real[band - frequency] = real[band + frequency]
        imaginary[band - frequency] = -imaginary[band + frequency]


@njit(cache=True, nogil=True, fastmath=True)
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


@njit(cache=True, nogil=True)
def _columns_in_band(row: int, column_count: int, row_count: int) -> int:
    """Number of coefficients of a row with |k| < m + 1/2, those that belong to a ring."""
    band, ky = column_count - 1, row - row_count // 2
    return int(np.sqrt(max(band * (band + 1) - ky * ky, 0))) + 1


@njit(cache=True, nogil=True)
def _row_span(row: int, column_count: int, row_count: int) -> tuple[int, int]:
    """First and last index of the band's part of a row in the flat spectrum, its length a multiple of `LANES`.

    What is beyond the band is ignored later: a loop over the remainder, one by one, would take as long as the row.
    """
    start = row * column_count
    length = (_columns_in_band(row, column_count, row_count) + LANES - 1) // LANES * LANES
    return start, min(start + length, row_count * column_count)


@njit(cache=True, parallel=True, nogil=True)
def _align_spectra(
    real: Array,
    imaginary: Array,
    phase_steps: Array,
    phase_variance: Array,
    total_real: Array,
    total_imaginary: Array,
    total_power: Array,
) -> None:
    (tile_count, frame_count, _), (_, row_count, column_count) = real.shape, total_power.shape
    step = storage_step(real)
    for tile in nb.prange(tile_count):
        column_phases = np.empty((frame_count, 2 * MAX_COLUMNS), np.float32)
        row_phases = np.empty((frame_count, 2, row_count), np.float32)
        for frame in range(frame_count):
            variance = phase_variance[tile, frame]
            _phases(
                column_count, phase_steps[tile, frame, 0], variance,
                column_phases[frame, :MAX_COLUMNS], column_phases[frame, MAX_COLUMNS:],
            )  # fmt: skip
            _two_sided_phases(phase_steps[tile, frame, 1], variance, row_phases[frame, 0], row_phases[frame, 1])
        for top in range(0, row_count, ROWS_PER_BLOCK):
            block_rows = min(ROWS_PER_BLOCK, row_count - top)
            sums = np.zeros((block_rows, 3 * MAX_COLUMNS), np.float32)
            for frame in range(frame_count):
                for block_row in range(block_rows):
                    row = top + block_row
                    start, stop = _row_span(row, column_count, row_count)
                    _add_aligned_row(
                        real[tile, frame, start:stop], imaginary[tile, frame, start:stop], column_phases[frame],
                        row_phases[frame, 0, row], row_phases[frame, 1, row], sums[block_row],
                    )  # fmt: skip
            for block_row in range(block_rows):
                row = top + block_row
                in_band = _columns_in_band(row, column_count, row_count)
                for column in range(in_band):
                    total_real[tile, row, column] = step * sums[block_row, column]
                    total_imaginary[tile, row, column] = step * sums[block_row, column + MAX_COLUMNS]
                    total_power[tile, row, column] = step * step * sums[block_row, column + 2 * MAX_COLUMNS]
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
    _align_spectra(real.reshape(flat), imaginary.reshape(flat), phase_steps, phase_variance, *totals)
    return totals


@njit(cache=True, nogil=True, fastmath=True)
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


@njit(cache=True, parallel=True, nogil=True)
def _shift_gradient(
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
    tile_count, frame_count, _ = real.shape
    band = row_count // 2
    step = np.float64(storage_step(real))
    for tile in nb.prange(tile_count):
        column_phases = np.empty(2 * MAX_COLUMNS, np.float32)
        row_phases = np.empty((2, row_count), np.float32)
        for frame in range(frame_count):
            variance = phase_variance[tile, frame]
            _phases(
                column_count, phase_steps[tile, frame, 0], variance,
                column_phases[:MAX_COLUMNS], column_phases[MAX_COLUMNS:],
            )  # fmt: skip
            _two_sided_phases(phase_steps[tile, frame, 1], variance, row_phases[0], row_phases[1])
            sums = np.zeros(2 * MAX_COLUMNS, np.float32)
            for row in range(row_count):
                start, stop = _row_span(row, column_count, row_count)
                _add_gradient_row(
                    real[tile, frame, start:stop], imaginary[tile, frame, start:stop],
                    weighted_real[tile, start:stop], weighted_imaginary[tile, start:stop],
                    column_phases, row_phases[0, row], row_phases[1, row], np.float32(row - band), sums,
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
    _shift_gradient(*spectra, phase_steps, phase_variance, *weighted, row_count, column_count, gradient)
    return gradient
