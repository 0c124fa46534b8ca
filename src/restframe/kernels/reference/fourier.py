"""Fourier transforms of images, and factors of their half spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import AnyArray, Array, FloatArray, IntArray


def rfft2(images: Array, columns: int | None = None) -> Array:
    return array_namespace(images).fft.rfft2(images)[..., :columns]


def irfft2(spectra: Array, image_shape: tuple[int, int]) -> Array:
    return array_namespace(spectra).fft.irfft2(spectra, s=image_shape)


def _row_frequencies(row_count: int) -> IntArray:
    """Frequencies of the rows of a spectrum: 0, 1, ..., -1; the Nyquist row of an even number is negative."""
    rows = np.arange(row_count)
    return np.where(rows < (row_count + 1) // 2, rows, rows - row_count)


def add_weighted_spectrum(
    total: Array, spectrum: Array, samples: FloatArray, sample_steps: Sequence[float] | AnyArray
) -> None:
    namespace = array_namespace(total)
    row_count, column_count = total.shape
    ky = _row_frequencies(row_count)
    squared_y = namespace.asarray((ky * sample_steps[0]) ** 2)
    squared_x = namespace.asarray((np.arange(column_count) * sample_steps[1]) ** 2)
    position = namespace.sqrt(squared_y[:, None] + squared_x[None, :])
    index = namespace.minimum(position.astype(int), len(samples) - 2)
    samples = namespace.asarray(samples)
    weight = samples[index] + (position - index) * (samples[index + 1] - samples[index])
    low_frequencies = spectrum[namespace.asarray(ky % len(spectrum))][:, :column_count]
    total += weight.astype(namespace.float32) * low_frequencies


def multiply_interpolated(total: Array, factors: AnyArray) -> None:
    namespace = array_namespace(total)
    row_count, column_count = total.shape
    y = (_row_frequencies(row_count) / row_count + 0.5) * (factors.shape[0] - 1)
    x = np.arange(column_count) / (column_count - 1) * (factors.shape[1] - 1)
    row = np.minimum(y.astype(int), factors.shape[0] - 2)
    column = np.minimum(x.astype(int), factors.shape[1] - 2)
    fraction_y, fraction_x = (y - row)[:, None], (x - column)[None, :]
    upper = factors[row][:, column] * (1 - fraction_x) + factors[row][:, column + 1] * fraction_x
    lower = factors[row + 1][:, column] * (1 - fraction_x) + factors[row + 1][:, column + 1] * fraction_x
    total *= namespace.asarray((upper * (1 - fraction_y) + lower * fraction_y).astype(np.complex64))
