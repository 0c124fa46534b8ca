"""The power spectrum of an image in polar bins: all that the fit of the contrast transfer function needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import scipy.fft

from restframe.arrays import AnyArray, BoolArray, FloatArray, IntArray

SECTORS = 72  # of half a turn
EDGE_TAPER = 1 / 64  # of the image's side that fades to zero at each edge
AXIS_COEFFICIENTS = 2  # next to each axis that are left out: edges and the detector's lines leave power there
WAVE_SAMPLES = 16  # of a window's mean wave in the width of its main peak
MIN_PAIRS = 0.02  # of the pairs of a pixel with itself: at longer distances in a pair their place is not known
SPOT_POWER = 20.0  # times the median of its ring: a coefficient of more is a lattice's; chance is exp(-20)


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
        rings = np.sqrt((self.squared_frequency * self.count).sum(1) / total)
        if len(rings) > 2:  # rings without coefficients: as if they were between their neighbours
            known = np.flatnonzero(self.count.sum(1) > 0)
            rings = np.interp(np.arange(len(rings)), known, rings[known])
        return np.asarray(rings)

    def without(self, dropped: BoolArray) -> PolarSpectrum:
        """The same without the bins where ``dropped`` (r, s) is true."""
        return replace(self, count=np.where(dropped, 0.0, self.count), power=np.where(dropped, 0.0, self.power))


@dataclass(frozen=True, eq=False)
class PolarGrid:
    """Which bin each coefficient of a half spectrum (h, w // 2 + 1) belongs to, for one size of images."""

    bin_index: IntArray  # (n,) bin = ring * SECTORS + sector
    coefficient: IntArray  # (n,) index into the flattened rows and columns that are kept
    rows: IntArray  # rows of the half spectrum that are kept
    columns: int  # columns that are kept
    squared: FloatArray  # (n,) float32 squared frequency of each coefficient
    shape: tuple[int, int]  # rings, SECTORS


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
    inside[:, :AXIS_COEFFICIENTS] = False  # column 0 holds each coefficient twice, too
    inside[np.abs(frequency_y[:, 0]) < (AXIS_COEFFICIENTS - 0.5) / (height * pixel_size)] = False
    coefficient = np.flatnonzero(inside).astype(np.int32)
    bin_index = (ring * SECTORS + sector).ravel()[coefficient]
    return PolarGrid(bin_index, coefficient, rows, columns, squared.ravel()[coefficient], (ring_count, SECTORS))


def sector_angles() -> FloatArray:
    """(SECTORS,) rad, the middle of each sector."""
    return (np.arange(SECTORS) + 0.5) * np.pi / SECTORS


def binned_power(image: FloatArray, grid: PolarGrid, weight: float) -> PolarSpectrum:
    """The polar spectrum of ``image`` (h, w) float32, multiplied by a window already.

    ``weight``: sum of the squared window, which makes the power of white noise of variance one equal to one.
    Coefficients of `SPOT_POWER` and more do not count.
    """
    half = scipy.fft.rfft(image, workers=1)[:, : grid.columns]
    half = scipy.fft.fft(half, axis=0, overwrite_x=True, workers=1)[grid.rows]
    values = (half.real**2 + half.imag**2).ravel()[grid.coefficient]
    size = grid.shape[0] * grid.shape[1]
    count = np.bincount(grid.bin_index, minlength=size).astype(float)
    total = np.bincount(grid.bin_index, values, size)
    squared = np.bincount(grid.bin_index, grid.squared, size)
    mean = np.divide(total, count, out=np.full(size, np.nan), where=count > 0).reshape(grid.shape)
    with np.errstate(invalid="ignore"):
        limit = SPOT_POWER * _ring_median(mean)
    spots = np.flatnonzero(values > limit.astype(np.float32)[grid.bin_index // SECTORS])
    if len(spots):
        where = grid.bin_index[spots]
        count -= np.bincount(where, minlength=size)
        total -= np.bincount(where, values[spots], size)
        squared -= np.bincount(where, grid.squared[spots], size)
    filled = count > 0
    power = np.divide(total, count * weight, out=np.zeros(size), where=filled).reshape(grid.shape)
    squared = np.divide(squared, count, out=np.zeros(size), where=filled).reshape(grid.shape)
    return PolarSpectrum(power, count.reshape(grid.shape), squared, sector_angles())


def spectrum_of_amplitudes(amplitudes: AnyArray, pixel_size: float, max_frequency: float) -> PolarSpectrum:
    """The polar spectrum of an amplitude spectrum (n, n) whose zero frequency is at n // 2, as programs write it.

    Each pixel is the mean of m coefficients. m follows from the powers p and q of neighbours: the mean of
    ((p - q) / (p + q))² is 1 / (2 m + 1).
    """
    power = np.asarray(amplitudes, float) ** 2
    power[~np.isfinite(power)] = 0
    height, width = power.shape
    frequency_y = ((np.arange(height) - height // 2) / (height * pixel_size))[:, None]
    frequency_x = ((np.arange(width) - width // 2) / (width * pixel_size))[None, :]
    squared = frequency_x**2 + frequency_y**2
    ring = np.rint(np.sqrt(squared) * max(height, width) * pixel_size).astype(np.int64)
    ring_count = int(max_frequency * max(height, width) * pixel_size) + 1
    angle = np.arctan2(frequency_y, np.broadcast_to(frequency_x, squared.shape))
    sector = np.floor(angle * (SECTORS / np.pi)).astype(np.int64) % SECTORS
    inside = (ring > 0) & (ring < ring_count) & (power > 0)
    inside &= (frequency_y > 0) & (np.abs(frequency_y) > (AXIS_COEFFICIENTS - 0.5) / (height * pixel_size))
    inside &= np.abs(frequency_x) > (AXIS_COEFFICIENTS - 0.5) / (width * pixel_size)
    index = (ring * SECTORS + sector)[inside]
    size = ring_count * SECTORS
    count = np.bincount(index, minlength=size).astype(float)
    filled = np.maximum(count, 1)
    mean = np.bincount(index, power[inside], size) / filled
    mean_squared = np.bincount(index, squared[inside], size) / filled
    pairs = inside[:, 1:] & inside[:, :-1]
    first, second = power[:, 1:][pairs], power[:, :-1][pairs]
    scatter = float(np.mean(((first - second) / (first + second)) ** 2)) if pairs.any() else 1 / 3
    per_pixel = max(1.0, 0.5 / max(scatter, 1e-6) - 0.5)
    shape = ring_count, SECTORS
    return PolarSpectrum(
        mean.reshape(shape), per_pixel * count.reshape(shape), mean_squared.reshape(shape), sector_angles()
    )


def _ring_median(mean: FloatArray) -> FloatArray:
    """Median over the sectors of each ring, NaN left out; infinite where there is none."""
    ordered = np.sort(mean, axis=1)  # NaN last
    filled = np.isfinite(mean).sum(1)
    median = ordered[np.arange(len(mean)), np.maximum(filled - 1, 0) // 2]
    return np.where(filled > 0, median, np.inf)


def edge_window(length: int) -> FloatArray:
    """(length,) float32: one, and half a cosine from zero at each edge."""
    taper = max(1, int(length * EDGE_TAPER))
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(taper) + 0.5) / taper)
    window = np.ones(length, np.float32)
    window[:taper] = rise
    window[-taper:] = rise[::-1]
    return window


def independent_fraction(window: FloatArray) -> float:
    """How many independent coefficients a ``window`` along one axis leaves, as a fraction: (sum w²)² / (n sum w⁴)."""
    squared = window.astype(float) ** 2
    return float(squared.sum() ** 2 / (len(window) * (squared**2).sum()))


def polar_spectrum(image: AnyArray, pixel_size: float, max_frequency: float) -> PolarSpectrum:
    """The polar spectrum of ``image`` (h, w) up to ``max_frequency`` (1/A), scaled so that white noise of variance one
    has power one. Pixels that are not finite count as the mean.
    """
    pixels = finite_pixels(image)
    grid = polar_grid((pixels.shape[0], pixels.shape[1]), pixel_size, max_frequency)
    rows, columns = edge_window(pixels.shape[0]), edge_window(pixels.shape[1])
    weight = float((rows.astype(float) ** 2).sum() * (columns.astype(float) ** 2).sum())
    spectrum = binned_power(pixels * rows[:, None] * columns, grid, weight)
    fraction = independent_fraction(rows) * independent_fraction(columns)
    return replace(spectrum, count=spectrum.count * fraction)


def finite_pixels(image: AnyArray) -> FloatArray:
    """``image`` as float32 with a mean of zero; what is not finite becomes zero."""
    pixels = np.asarray(image, np.float32)
    mean = pixels.mean(dtype=np.float64)
    if not np.isfinite(mean):
        finite = np.isfinite(pixels)
        mean = pixels[finite].mean(dtype=np.float64) if finite.any() else 0.0
        pixels = np.where(finite, pixels, np.float32(mean))
    return np.asarray(pixels - np.float32(mean))


@dataclass(frozen=True, eq=False)
class AxisWindow:
    """The window of a tile along one axis: the square root of a share of the image's length."""

    start: int  # first pixel of the tile
    values: FloatArray  # (tile,) float32

    @property
    def centre(self) -> float:
        """Mean position of what the window shows, in pixels."""
        squared = self.values.astype(float) ** 2
        return self.start + float((squared * np.arange(len(squared))).sum() / squared.sum())

    def coherence(self, lag: FloatArray) -> FloatArray:
        """How much of an oscillation of the spectrum remains whose autocorrelation lies at ``lag`` pixels.

        The window blurs the spectrum: its autocorrelation is multiplied by that of the window.
        """
        return np.interp(np.abs(lag), np.arange(len(self.values)), self._autocorrelation, right=0.0)

    def centre_shift(self, lag: FloatArray) -> FloatArray:
        """How far from `centre`, in pixels, an oscillation comes from whose autocorrelation lies at ``lag`` pixels.

        It comes from pairs of pixels ``lag`` apart that are both in the window. The place of a pair is its middle.
        """
        centre, _ = self._pairs
        return np.asarray(np.interp(np.abs(lag), np.arange(len(centre)), centre - centre[0]))

    def mean_wave(self, wave_number: FloatArray, lag: FloatArray | float = 0.0) -> FloatArray:
        """|mean of exp(i q x)| over the pairs ``lag`` pixels apart, ``wave_number`` q in rad per pixel."""
        step = 2 * np.pi / (WAVE_SAMPLES * len(self.values))
        _, spread = self._pairs
        narrower = np.interp(np.abs(lag), np.arange(len(spread)), spread / spread[0])
        wave_numbers = step * np.arange(len(self._mean_waves))
        return np.asarray(np.interp(np.abs(wave_number) * narrower, wave_numbers, self._mean_waves))

    @cached_property
    def _pairs(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation, in pixels, of the middles of pairs of pixels, for each distance in a pair."""
        window = self.values.astype(float)
        length = len(window)
        position = np.arange(length) - 0.5 * (length - 1)
        transform = np.fft.rfft(window, 2 * length)

        def correlated(values: FloatArray) -> FloatArray:
            return np.asarray(np.fft.irfft(np.fft.rfft(values, 2 * length).conj() * transform)[:length])

        lag = np.arange(length)
        weight, first, second = correlated(window), correlated(position * window), correlated(position**2 * window)
        enough = weight > MIN_PAIRS * weight[0]
        safe = np.where(enough, weight, 1.0)
        mean = (first + 0.5 * lag * weight) / safe
        variance = (second + lag * first + 0.25 * lag**2 * weight) / safe - mean**2
        last = int(np.flatnonzero(enough)[-1])
        known = np.minimum(lag, last)
        return mean[known], np.sqrt(np.maximum(variance[known], 1e-6))

    @cached_property
    def _autocorrelation(self) -> FloatArray:
        power = np.abs(np.fft.rfft(self.values.astype(float), 2 * len(self.values))) ** 2
        correlation = np.fft.irfft(power)[: len(self.values)]
        return np.asarray(correlation / correlation[0])

    @cached_property
    def _mean_waves(self) -> FloatArray:
        squared = self.values.astype(float) ** 2
        return np.asarray(np.abs(np.fft.rfft(squared, WAVE_SAMPLES * len(squared))) / squared.sum())


@dataclass(frozen=True, eq=False)
class Tile:
    """The spectrum of a part of an image."""

    spectrum: PolarSpectrum
    x: float  # A from the image's centre to the tile's
    y: float
    pixel_size: float  # A
    window_x: AxisWindow
    window_y: AxisWindow


def axis_windows(length: int, tile: int) -> list[AxisWindow]:
    """Windows of ``tile`` pixels that overlap by about a half; their squares add up to one at all ``length`` pixels."""
    count = max(2, int((length - tile) // (tile / 2)) + 1) if length > tile else 1
    starts = np.rint(np.linspace(0, length - tile, count)).astype(int)
    position = np.arange(tile)
    windows = []
    for index, start in enumerate(starts):
        squared = np.ones(tile)
        if index > 0:
            overlap = starts[index - 1] + tile - start
            squared *= np.sin(np.pi / 2 * np.clip((position + 0.5) / overlap, 0, 1)) ** 2
        if index < count - 1:
            overlap = start + tile - starts[index + 1]
            squared *= np.sin(np.pi / 2 * np.clip((tile - position - 0.5) / overlap, 0, 1)) ** 2
        windows.append(AxisWindow(int(start), np.sqrt(squared).astype(np.float32)))
    return windows


def tile_spectra(image: AnyArray, pixel_size: float, max_frequency: float, tile: int) -> list[Tile]:
    """Spectra of square tiles of ``tile`` pixels that overlap by about a half.

    The counts of all tiles add up to the independent coefficients of the whole image.
    """
    pixels = finite_pixels(image)
    height, width = pixels.shape
    grid = polar_grid((tile, tile), pixel_size, max_frequency)
    tiles = []
    for window_y in axis_windows(height, tile):
        for window_x in axis_windows(width, tile):
            part = pixels[window_y.start : window_y.start + tile, window_x.start : window_x.start + tile]
            squares = (window_y.values**2).sum(dtype=float) * (window_x.values**2).sum(dtype=float)
            mean = (part * window_y.values[:, None] ** 2 * window_x.values**2).sum(dtype=float) / squares
            spectrum = binned_power(
                (part - np.float32(mean)) * window_y.values[:, None] * window_x.values, grid, float(squares)
            )
            spectrum = replace(spectrum, count=spectrum.count * (float(squares) / tile**2))
            x = (window_x.centre - (width - 1) / 2) * pixel_size
            y = (window_y.centre - (height - 1) / 2) * pixel_size
            tiles.append(Tile(spectrum, x, y, pixel_size, window_x, window_y))
    return tiles
