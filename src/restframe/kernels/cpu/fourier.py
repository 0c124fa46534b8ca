"""Fourier transforms of images, and factors of their half spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import fft

from restframe.arrays import AnyArray, Array, ComplexArray, FloatArray
from restframe.kernels.cpu.threads import divide
from restframe.loops import compiled_loop

ROWS_PER_STRIP = 128  # rows of an image that are transformed together, to stay in the cache


def rfft2(images: Array, columns: int | None, threads: int) -> ComplexArray:
    """As `Kernels.rfft2`, with so many threads."""
    if columns is None:
        row_spectra = fft.rfft(images, workers=threads)
    else:
        row_spectra = np.empty((*images.shape[:-1], columns), np.complex64)
        for top in range(0, images.shape[-2], ROWS_PER_STRIP):
            rows = slice(top, top + ROWS_PER_STRIP)
            strip = images[..., rows, :].astype(np.float32, copy=False)
            row_spectra[..., rows, :] = fft.rfft(strip, workers=threads)[..., :columns]
    spectra: ComplexArray = fft.fft(row_spectra, axis=-2, overwrite_x=True, workers=threads)
    return spectra


def irfft2(spectra: Array, image_shape: tuple[int, int], threads: int) -> FloatArray:
    """As `Kernels.irfft2`, with so many threads; ``spectra`` are overwritten."""
    columns = fft.ifft(spectra, axis=-2, overwrite_x=True, workers=threads)
    images: FloatArray = fft.irfft(columns, image_shape[1], overwrite_x=True, workers=threads)
    return images


@compiled_loop("(int64, int64, complex64[:,::1], complex64[:,::1], float32[::1], float64[::1])")
def _add_weighted_spectrum(
    first: int, end: int, total: Array, spectrum: Array, samples: Array, sample_steps: Array
) -> None:
    row_count, column_count = total.shape
    spectrum_rows = len(spectrum)
    last_start = np.int32(len(samples) - 2)
    step_y, step_x = np.float32(sample_steps[0]), np.float32(sample_steps[1])
    weight = np.empty(column_count, np.float32)  # computed first, so that the compiler vectorizes both loops
    for row in range(first, end):
        ky = row if row < (row_count + 1) // 2 else row - row_count
        squared_y = np.float32((ky * step_y) ** 2)
        for column in range(column_count):
            x = np.float32(np.int32(column)) * step_x
            position = np.sqrt(squared_y + x * x)
            index = np.int32(position)
            index = index if index < last_start else last_start
            fraction = position - np.float32(index)
            weight[column] = samples[index] + fraction * (samples[index + 1] - samples[index])
        source_row, total_row = spectrum[ky % spectrum_rows], total[row]
        for column in range(column_count):
            total_row[column] += weight[column] * source_row[column]


def add_weighted_spectrum(
    total: Array, spectrum: Array, samples: FloatArray, sample_steps: Sequence[float] | AnyArray
) -> None:
    steps = np.asarray(sample_steps, np.float64)
    divide(_add_weighted_spectrum, len(total), total, spectrum, samples.astype(np.float32, copy=False), steps)


@compiled_loop("(int64, int64, complex64[:,::1], complex64[:,::1])")
def _multiply_interpolated(first: int, end: int, total: Array, factors: Array) -> None:
    row_count, column_count = total.shape
    factor_rows, factor_columns = factors.shape
    for row in range(first, end):
        ky = row if row < (row_count + 1) // 2 else row - row_count
        y = (ky / row_count + 0.5) * (factor_rows - 1)
        upper = np.int64(y)
        upper = upper if upper < factor_rows - 2 else factor_rows - 2
        fraction_y = np.float32(y - upper)
        for column in range(column_count):
            x = np.float32(column) / np.float32(column_count - 1) * (factor_columns - 1)
            left = np.int64(x)
            left = left if left < factor_columns - 2 else factor_columns - 2
            fraction_x = x - left
            above = factors[upper, left] + fraction_x * (factors[upper, left + 1] - factors[upper, left])
            below = factors[upper + 1, left] + fraction_x * (factors[upper + 1, left + 1] - factors[upper + 1, left])
            total[row, column] *= above + fraction_y * (below - above)


def multiply_interpolated(total: Array, factors: AnyArray) -> None:
    divide(_multiply_interpolated, len(total), total, np.ascontiguousarray(factors, np.complex64))
