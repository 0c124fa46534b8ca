"""The power spectrum of an image in polar bins: all that the fit of the contrast transfer function needs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

from restframe.arrays import AnyArray, FloatArray, IntArray

SECTORS = 72  # of half a turn
MIN_COEFFICIENTS = 1.0  # independent ones that a bin holds


@dataclass(frozen=True, eq=False)
class PolarSpectrum:
    """Mean power of the Fourier coefficients in bins of the frequency's length (r rings) and direction (s sectors).

    One half plane is binned: the coefficients are independent for an image without a window. Each bin has its own mean
    squared frequency, so that the width of the rings does not shift the phase of the oscillations.
    """

    power: FloatArray  # (r, s) mean |F|² of the bin; 0 where there are no coefficients
    count: FloatArray  # (r, s) independent coefficients
    squared_frequency: FloatArray  # (r, s) 1/A²
    angle: FloatArray  # (s,) rad from x towards y, middle of the sector, 0 to pi

    @property
    def frequency(self) -> FloatArray:
        """(r,) mean frequency of each ring, 1/A."""
        total = np.maximum(self.count.sum(1), 1e-9)
        return np.sqrt((self.squared_frequency * self.count).sum(1) / total)


@dataclass(frozen=True, eq=False)
class PolarGrid:
    """Which bin each coefficient of a half spectrum (h, w // 2 + 1) belongs to, for one size of images."""

    bin_index: IntArray  # (n,) bin = ring * SECTORS + sector
    coefficient: IntArray  # (n,) index into the flattened rows that are kept
    rows: IntArray  # rows of the half spectrum that are kept
    columns: int  # columns that are kept
    count: FloatArray  # (r, SECTORS)
    squared_frequency: FloatArray  # (r, SECTORS)


@lru_cache(2)
def polar_grid(shape: tuple[int, int], pixel_size: float, max_frequency: float) -> PolarGrid:
    """Bins for images (h, w) = ``shape`` with pixels of ``pixel_size`` A, up to ``max_frequency`` (1/A).

    Rings are as wide as one sample of the longer side's transform.
    """
    height, width = shape
    row_frequency = np.fft.fftfreq(height, pixel_size)
    rows = np.flatnonzero(np.abs(row_frequency) <= max_frequency)
    columns = int(min(max_frequency * width * pixel_size, width // 2 - 1)) + 1
    frequency_y = row_frequency[rows].astype(np.float32)[:, None]
    frequency_x = (np.arange(columns, dtype=np.float32) / (width * pixel_size))[None, :]
    squared = frequency_x**2 + frequency_y**2
    ring_width = 1 / (max(shape) * pixel_size)
    ring = np.rint(np.sqrt(squared) / ring_width).astype(np.int32)
    ring_count = int(max_frequency / ring_width) + 1
    direction = np.arctan2(frequency_y, frequency_x)  # -pi/2 to pi/2
    sector = np.floor(direction * np.float32(SECTORS / np.pi)).astype(np.int32) % SECTORS
    inside = (ring < ring_count) & (ring > 0)
    inside[:, 0] &= frequency_y[:, 0] > 0  # column 0 holds each coefficient twice
    coefficient = np.flatnonzero(inside)
    bin_index = (ring * SECTORS + sector).ravel()[coefficient]
    size = ring_count * SECTORS
    count = np.bincount(bin_index, minlength=size).astype(float)
    total = np.bincount(bin_index, squared.ravel()[coefficient].astype(float), size)
    mean = np.divide(total, count, out=np.zeros(size), where=count > 0)
    shape_of_bins = ring_count, SECTORS
    return PolarGrid(bin_index, coefficient, rows, columns, count.reshape(shape_of_bins), mean.reshape(shape_of_bins))


def sector_angles() -> FloatArray:
    """(SECTORS,) rad, the middle of each sector."""
    return (np.arange(SECTORS) + 0.5) * np.pi / SECTORS


def polar_spectrum(image: AnyArray, pixel_size: float, max_frequency: float) -> PolarSpectrum:
    """The polar spectrum of ``image`` (h, w) up to ``max_frequency`` (1/A), scaled so that white noise of variance one has
    power one.
    """
    pixels = np.asarray(image, np.float32)
    grid = polar_grid((pixels.shape[0], pixels.shape[1]), pixel_size, max_frequency)
    half = scipy.fft.rfft(pixels - pixels.mean(), workers=1)[:, : grid.columns]
    half = scipy.fft.fft(half, axis=0, overwrite_x=True, workers=1)[grid.rows]
    values = (half.real**2 + half.imag**2).ravel()[grid.coefficient]
    total = np.bincount(grid.bin_index, values, grid.count.size).reshape(grid.count.shape) / pixels.size
    power = np.divide(total, grid.count, out=np.zeros_like(total), where=grid.count > 0)
    return PolarSpectrum(power, grid.count, grid.squared_frequency, sector_angles())
