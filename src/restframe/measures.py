"""How well a movie was corrected, when the truth is known: track error, spectral signal-to-noise ratio, still ratio."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import scipy.fft
from threadpoolctl import threadpool_limits

from restframe.arrays import AnyArray, BoolArray, ComplexArray, FloatArray, IntArray
from restframe.cores import available_cores

Bands = tuple[tuple[float, float], ...]
BANDS: Bands = ((8.0, 5.0), (5.0, 4.0), (4.0, 3.2))
"""Resolution bands in A, each from low to high resolution."""
MAX_SHIFT_PX = 32  # between a tile of an image and of its truth
NEWTON_STEPS = 6
OUTLINE_RESOLUTION, FINEST_RESOLUTION = 40.0, 5.0  # A; the band in which tiles are registered


@dataclass(frozen=True)
class TrackError:
    """Rms errors of a motion field in A: of all motion, of the motion common to the whole frame, and of the rest."""

    total: float
    whole_frame: float
    local: float


def track_error(field: Any, truth: Any, pixel_size: float, across: int = 24) -> TrackError:
    """Distance of a motion field from the truth at ``across`` x ``across`` positions, each the centre of an equal cell.

    sqrt(mean over positions and frames of ex² + ey²), e = field - truth less its mean over time at each position,
    because the position at rest is arbitrary. The whole-frame part is the mean of e over positions. Both are called as
    (x, y) in unbinned pixels and give (t, *shape, 2); ``truth.positions`` makes the grid (`restframe.simulate.Truth`).
    ``pixel_size``: A.

    Raises ValueError if they have different numbers of frames.

    Example: ``track_error(restframe.correct(movie.counts).field, movie.truth, 1.0).total``
    """
    if field.n_frames != truth.n_frames:
        raise ValueError(f"the field has {field.n_frames} frames, the truth {truth.n_frames}")
    x, y = truth.positions(across)
    return displacement_error(field(x, y), truth(x, y), pixel_size)


def displacement_error(measured: FloatArray, true: FloatArray, pixel_size: float) -> TrackError:
    """`track_error` from displacements at some positions, (t, ..., 2) in pixels, as logs give them."""
    error = (measured - true) * pixel_size
    error = error.reshape(len(error), -1, 2)
    error = error - error.mean(axis=0)
    common_error = error.mean(axis=1, keepdims=True)
    return TrackError(_rms_length(error), _rms_length(common_error), _rms_length(error - common_error))


def _rms_length(vectors: FloatArray) -> float:
    return float(np.sqrt((vectors**2).sum(axis=-1).mean()))


def still_ratio(
    image: AnyArray,
    truth: AnyArray,
    still: AnyArray,
    pixel_size: float,
    bands: Bands = BANDS,
    tile_size: int = 1024,
) -> tuple[float, ...]:
    """SSNR of a corrected sum over that of the same specimen, with the same dose, that never moved; one for each band.

    image: (h, w), the sum to judge. truth: (H, W), the noise-free sum of the specimen at rest. still: (H, W), the same
    with its own noise. ``pixel_size``: A, of truth and still. 1 is the limit at equal weights of the frames; beyond the
    Nyquist frequency of ``image`` the ratio is NaN. The truth is cropped in Fourier space to the size of a binned
    image, and cut if the image lacks an odd last row or column.
    """
    corrected = ssnr(image, truth, pixel_size, bands, tile_size)
    ideal = ssnr(still, truth, pixel_size, bands, tile_size)
    return _ratios(corrected, ideal)


def _ratios(numerators: tuple[float, ...], denominators: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(numerator / denominator for numerator, denominator in zip(numerators, denominators, strict=True))


def ssnr(
    image: AnyArray, truth: AnyArray, pixel_size: float, bands: Bands = BANDS, tile_size: int = 1024
) -> tuple[float, ...]:
    """Spectral signal-to-noise ratio of an image (h, w) whose noise-free truth (H, W) is known; one for each band.

    NaN where the truth has no power. Rings of the Fourier transforms of tiles are summed (`ring_sums`). In a band of n
    rings, with the cross spectrum C, the power of the image A and of the truth B in each ring, each ring counts by the
    truth's power over the image's: F = sum(C/A) / sqrt(sum(B/A) n), SSNR = F² / (1 - F²).
    """
    sums = ring_sums(image, truth, pixel_size, tile_size)
    ratios = []
    for low, high in bands:
        inside = sums.within(low, high)
        cross, image_power, truth_power = sums.cross[inside], sums.image[inside], sums.truth[inside]
        if not truth_power.any():
            ratios.append(float("nan"))
            continue
        norm = np.sqrt((truth_power / image_power).sum() * inside.sum())
        correlation = (cross / image_power).sum() / norm
        ratios.append(float(correlation * abs(correlation) / (1 - correlation**2)))  # keeps the sign of F
    return tuple(ratios)


def expected_still_ratio(
    signal: AnyArray,
    noise: AnyArray,
    truth: AnyArray,
    still_noise: AnyArray,
    pixel_size: float,
    bands: Bands = BANDS,
    tile_size: int = 1024,
) -> tuple[float, ...]:
    """The still ratio from signal and noise separately, so that one movie gives it to a few parts in a thousand.

    signal: (h, w), the noise-free frames of the movie, corrected by the same motion field; noise: (h, w), the corrected
    movie less ``signal``; truth: (H, W), noise-free, at rest; still_noise: (H, W), the still movie's sum less
    ``truth``.
    """
    corrected = expected_ssnr(signal, noise, truth, pixel_size, bands, tile_size)
    ideal = expected_ssnr(truth, still_noise, truth, pixel_size, bands, tile_size)
    return _ratios(corrected, ideal)


def expected_ssnr(
    signal: AnyArray,
    noise: AnyArray,
    truth: AnyArray,
    pixel_size: float,
    bands: Bands = BANDS,
    tile_size: int = 1024,
) -> tuple[float, ...]:
    """`ssnr` for images that are nearly all noise: its power replaces that of the image, and SSNR = F²."""
    sums = ring_sums(signal, truth, pixel_size, tile_size)
    all_noise_power = ring_sums(noise, noise, pixel_size, tile_size).truth
    ratios = []
    for low, high in bands:
        inside = sums.within(low, high)
        cross, truth_power, noise_power = sums.cross[inside], sums.truth[inside], all_noise_power[inside]
        squared_norm = (truth_power / noise_power).sum() * inside.sum()
        squared_correlation = (cross / noise_power).sum() ** 2 / squared_norm if truth_power.any() else float("nan")
        ratios.append(float(squared_correlation))
    return tuple(ratios)


@dataclass(frozen=True, eq=False)
class RingSums:
    """Sums over tiles and over the Fourier samples of each ring, which is one sample wide; all (n,)."""

    frequency: FloatArray  # 1/A
    cross: FloatArray  # real part of image times conjugate truth
    image: FloatArray
    truth: FloatArray

    def within(self, low: float, high: float) -> BoolArray:
        """Mask (n,) of the rings between the resolutions ``low`` and ``high`` in A."""
        return (self.frequency >= 1 / low) & (self.frequency < 1 / high)


def ring_sums(image: AnyArray, truth: AnyArray, pixel_size: float, tile_size: int = 1024) -> RingSums:
    """Ring sums of an image and its truth, over tiles that overlap by half and have the root of a Hann window.

    Each tile is registered to the truth by a translation: the peak of their cross-correlation between 40 A and 5 A.
    """
    image, truth, pixel_size = _on_common_grid(np.asarray(image), np.asarray(truth), pixel_size)
    height, width = truth.shape
    side = min(tile_size, height, width)
    side -= side % 2
    spectra = _TileSpectra(image, truth, pixel_size, side)
    origins = product(_tile_starts(height, side), _tile_starts(width, side))
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(available_cores()) as pool:
        total: Any = sum(pool.map(spectra.tile_sums, origins))
    frequency = np.arange(spectra.ring_count) / (side * pixel_size)
    return RingSums(frequency[1:-1], *total[:, 1:-1])


class _TileSpectra:
    """Spectra of square tiles of an image and of its truth, and their sums by ring."""

    def __init__(self, image: AnyArray, truth: AnyArray, pixel_size: float, side: int) -> None:
        self.image, self.truth, self.side = image, truth, side
        self.ring_count = side // 2 + 1
        window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(side) + 0.5) / side)).astype(np.float32)
        self.window = window[:, None] * window[None]
        self.frequency_y, self.frequency_x = scipy.fft.fftfreq(side)[:, None], scipy.fft.rfftfreq(side)[None]
        frequency = np.hypot(self.frequency_y, self.frequency_x)
        # the corners of the Fourier plane, beyond the last ring, count as one ring more
        self.rings = np.minimum(np.rint(frequency * side).astype(np.intp), self.ring_count).ravel()
        self.multiplicity = np.where((self.frequency_x == 0) | (self.frequency_x == 0.5), 1.0, 2.0)  # half plane
        self.band = _registration_band(frequency / pixel_size)

    def tile_sums(self, origin: tuple[int, int]) -> FloatArray:
        """Cross spectrum, power of the image and power of the truth by ring, (3, n); ``origin``: top, left."""
        top, left = origin
        height, width = self.truth.shape
        truth_spectrum = self._spectrum(self.truth, top, left)
        image_spectrum = self._spectrum(self.image, top, left)
        shift_x, shift_y = _register(image_spectrum * truth_spectrum.conj() * self.band)
        # whole pixels by another cut (as far as there is image), the rest by a phase
        image_top = min(max(top + round(shift_y), 0), height - self.side)
        image_left = min(max(left + round(shift_x), 0), width - self.side)
        if (image_top, image_left) != (top, left):
            image_spectrum = self._spectrum(self.image, image_top, image_left)
        cross = image_spectrum * truth_spectrum.conj()
        cross = cross * _phase(self.frequency_y, shift_y - (image_top - top))
        cross = cross * _phase(self.frequency_x, shift_x - (image_left - left))
        powers = self._by_ring(_power(image_spectrum)), self._by_ring(_power(truth_spectrum))
        return np.stack([self._by_ring(cross.real), *powers])

    def _spectrum(self, source: AnyArray, top: int, left: int) -> ComplexArray:
        tile = source[top : top + self.side, left : left + self.side].astype(np.float32)
        return np.asarray(scipy.fft.rfft2((tile - tile.mean()) * self.window))

    def _by_ring(self, values: FloatArray) -> FloatArray:
        sums = np.bincount(self.rings, (values * self.multiplicity).ravel(), self.ring_count + 1)
        return np.asarray(sums[: self.ring_count], np.float64)


def _phase(frequency: FloatArray, shift: float) -> ComplexArray:
    """exp(2πi k shift)."""
    return np.asarray(np.exp(2j * np.pi * shift * frequency))


def _power(spectrum: ComplexArray) -> FloatArray:
    return np.asarray(spectrum.real**2 + spectrum.imag**2)


def _tile_starts(length: int, side: int) -> IntArray:
    """First pixels of tiles that cover a length and overlap by about half."""
    count = max(1, round((length - side) / (side / 2)) + 1)
    return np.rint(np.linspace(0, length - side, count)).astype(int)


def _registration_band(frequency: FloatArray) -> FloatArray:
    """Weights from 40 A (the outlines of particles) to 5 A (finer detail is mostly noise); frequency in 1/A."""
    finest, outline = frequency * FINEST_RESOLUTION, frequency * OUTLINE_RESOLUTION
    return np.asarray(np.exp(-(finest**2) / 2) - np.exp(-(outline**2) / 2))


def _register(cross: ComplexArray, max_shift: int = MAX_SHIFT_PX) -> tuple[float, float]:
    """The displacement (x, y) in pixels, within ``max_shift``, at which a cross-correlation is largest.

    cross: (b, b//2 + 1), the spectrum of image times conjugate truth. The search starts at the highest sample and goes
    on with Newton's method on the band-limited correlation, whose derivatives are products of a matrix for each axis.
    """
    side = cross.shape[0]
    max_shift = min(max_shift, side // 4)
    correlation = scipy.fft.irfft2(cross, s=(side, side))
    nearby = np.roll(correlation, (max_shift, max_shift), axis=(0, 1))[: 2 * max_shift + 1, : 2 * max_shift + 1]
    peak_y, peak_x = (float(index - max_shift) for index in np.unravel_index(nearby.argmax(), nearby.shape))
    frequency_y, frequency_x = 2 * np.pi * scipy.fft.fftfreq(side), 2 * np.pi * scipy.fft.rfftfreq(side)
    start = np.array([peak_x, peak_y])
    position = start.copy()
    powers = np.arange(3)[:, None]
    for _ in range(NEWTON_STEPS):
        along_y = np.exp(1j * frequency_y * position[1]) * frequency_y**powers
        along_x = np.exp(1j * frequency_x * position[0]) * frequency_x**powers
        moments = along_y @ cross @ along_x.T  # [j, i]: sum of ky^j kx^i times the shifted spectrum
        slope_x, slope_y = -moments.imag[[0, 1], [1, 0]]
        curvature_xx, curvature_xy, curvature_yy = moments.real[[0, 1, 2], [2, 1, 0]]
        determinant = curvature_xx * curvature_yy - curvature_xy * curvature_xy
        if curvature_xx <= 0 or determinant <= 0:  # no peak here: pure noise
            return peak_x, peak_y
        step_x = curvature_yy * slope_x - curvature_xy * slope_y
        step_y = curvature_xx * slope_y - curvature_xy * slope_x
        position += np.array([step_x, step_y]) / determinant
        if np.abs(position - start).max() > 1:
            return peak_x, peak_y
    return float(position[0]), float(position[1])


def _on_common_grid(image: AnyArray, truth: AnyArray, pixel_size: float) -> tuple[AnyArray, AnyArray, float]:
    """Image and truth on the same pixels, and the size of these in A."""
    side_pairs = list(zip(image.shape, truth.shape, strict=True))
    if max(abs(image_side - truth_side) for image_side, truth_side in side_pairs) > 1:
        if any(image_side > truth_side for image_side, truth_side in side_pairs):
            raise ValueError(f"the image {image.shape} is larger than the truth {truth.shape}")
        pixel_size *= truth.shape[0] / image.shape[0]
        truth = fourier_crop(truth, (image.shape[0], image.shape[1]))
    height, width = map(min, zip(image.shape, truth.shape, strict=True))
    return image[:height, :width], truth[:height, :width], pixel_size


def fourier_crop(image: AnyArray, shape: tuple[int, int]) -> FloatArray:
    """An image (H, W) on fewer pixels (h, w), float32: only the frequencies that these can hold; the mean stays.

    Example: ``fourier_crop(image, (1024, 1024))`` bins an image of 2048 x 2048 pixels by two.
    """
    height, width = shape
    spectrum = scipy.fft.rfft2(image.astype(np.float32), workers=-1)[:, : width // 2 + 1]
    spectrum = np.concatenate([spectrum[: (height + 1) // 2], spectrum[image.shape[0] - height // 2 :]])
    cropped = scipy.fft.irfft2(spectrum, s=shape, workers=-1)
    return np.asarray(cropped * np.float32(height * width / image.size))
