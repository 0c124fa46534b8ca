"""How well a movie was brought to rest, when the truth is known: still ratio and track error."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft as sfft
from threadpoolctl import threadpool_limits

from restframe.cores import available_cores

Bands = tuple[tuple[float, float], ...]
BANDS: Bands = ((8.0, 5.0), (5.0, 4.0), (4.0, 3.2))  # A


@dataclass(frozen=True)
class TrackError:
    """Rms errors of a motion field in A: all of it, the part that the whole frame shares, and the rest."""

    total: float
    whole_frame: float
    local: float


def track_error(field: Any, truth: Any, pixel_size: float, across: int = 24) -> TrackError:
    """Distance of a motion field from the truth on ``across`` x ``across`` positions, each the centre of an equal cell.

    sqrt(mean over positions and frames of ex² + ey²), e = field - truth less its mean over time at each position:
    where the specimen rests is free. The whole-frame part is the mean of e over positions. Both are called as (x, y) in
    unbinned pixels and give (t, *shape, 2); ``truth.positions`` makes the grid (`restframe.simulate.Truth`).

    Raises ValueError if they have different numbers of frames.
    """
    if field.n_frames != truth.n_frames:
        raise ValueError(f"the field has {field.n_frames} frames, the truth {truth.n_frames}")
    x, y = truth.positions(across)
    return displacement_error(field(x, y), truth(x, y), pixel_size)


def displacement_error(found: np.ndarray, true: np.ndarray, pixel_size: float) -> TrackError:
    """The same from displacements at some positions, (t, ..., 2) in pixels, as logs give them."""
    error = (found - true) * pixel_size
    error = error.reshape(len(error), -1, 2)
    error = error - error.mean(axis=0)
    whole = error.mean(axis=1, keepdims=True)
    return TrackError(_rms(error), _rms(whole), _rms(error - whole))


def _rms(vectors: np.ndarray) -> float:
    return float(np.sqrt((vectors**2).sum(axis=-1).mean()))


def still_ratio(
    image: np.ndarray,
    truth: np.ndarray,
    still: np.ndarray,
    pixel_size: float,
    bands: Bands = BANDS,
    tile: int = 1024,
) -> tuple[float, ...]:
    """SSNR of a corrected sum over that of the same specimen, with the same dose, that never moved; one number a band.

    image: (h, w), the sum to judge. truth: (H, W), the noise-free sum of the specimen at rest. still: (H, W), the same
    with its own noise. ``pixel_size``: A, of truth and still. 1 is the limit at equal weights of the frames; beyond the
    Nyquist frequency of ``image`` the ratio is nan. An image that was binned is compared with the truth cropped in
    Fourier space, one that lost an odd last row or column with the truth cut likewise.
    """
    kept = ssnr(image, truth, pixel_size, bands, tile)
    ideal = ssnr(still, truth, pixel_size, bands, tile)
    return tuple(k / i for k, i in zip(kept, ideal, strict=True))


def ssnr(
    image: np.ndarray, truth: np.ndarray, pixel_size: float, bands: Bands = BANDS, tile: int = 1024
) -> tuple[float, ...]:
    """Spectral signal-to-noise ratio of an image (h, w) whose noise-free truth (H, W) is known, one number a band, not
    a number where the truth has no power.

    Rings of the Fourier transforms of tiles are pooled (`rings`). In a band of n rings, with the cross C, the image's A
    and the truth's B power in each, every ring counts by the truth's power over the image's:
    F = sum(C/A) / sqrt(sum(B/A) n), SSNR = F² / (1 - F²).
    """
    found = rings(image, truth, pixel_size, tile)
    out = []
    for low, high in bands:
        inside = found.within(low, high)
        cross, image_power, truth_power = found.cross[inside], found.image[inside], found.truth[inside]
        if not truth_power.any():
            out.append(float("nan"))
            continue
        f = (cross / image_power).sum() / np.sqrt((truth_power / image_power).sum() * inside.sum())
        out.append(float(f * abs(f) / (1 - f**2)))  # an anti-correlation stays visible
    return tuple(out)


def expected_still_ratio(
    signal: np.ndarray,
    noise: np.ndarray,
    truth: np.ndarray,
    still_noise: np.ndarray,
    pixel_size: float,
    bands: Bands = BANDS,
    tile: int = 1024,
) -> tuple[float, ...]:
    """The still ratio with signal and noise seen apart, so that one movie tells a few parts in a thousand.

    signal: (h, w), the same correction, same motion field, of the movie's noise-free frames; noise: (h, w), the
    corrected movie less ``signal``; truth: (H, W), noise-free, at rest; still_noise: (H, W), the still movie's sum less
    ``truth``.
    """
    kept = expected_ssnr(signal, noise, truth, pixel_size, bands, tile)
    ideal = expected_ssnr(truth, still_noise, truth, pixel_size, bands, tile)
    return tuple(k / i for k, i in zip(kept, ideal, strict=True))


def expected_ssnr(
    signal: np.ndarray,
    noise: np.ndarray,
    truth: np.ndarray,
    pixel_size: float,
    bands: Bands = BANDS,
    tile: int = 1024,
) -> tuple[float, ...]:
    """`ssnr` where noise is nearly all of the image: its power stands for the image's, and SSNR = F²."""
    found, power = rings(signal, truth, pixel_size, tile), rings(noise, noise, pixel_size, tile).truth
    out = []
    for low, high in bands:
        inside = found.within(low, high)
        cross, truth_power, noise_power = found.cross[inside], found.truth[inside], power[inside]
        total = (truth_power / noise_power).sum() * inside.sum()
        out.append(float((cross / noise_power).sum() ** 2 / total) if truth_power.any() else float("nan"))
    return tuple(out)


@dataclass(frozen=True)
class Rings:
    """Sums over tiles and over the Fourier samples of each ring, one sample wide; all (n,)."""

    frequency: np.ndarray  # 1/A
    cross: np.ndarray  # real part of image times conjugate truth
    image: np.ndarray
    truth: np.ndarray

    def within(self, low: float, high: float) -> np.ndarray:
        """Which rings lie between the resolutions ``low`` and ``high`` in A."""
        return (self.frequency >= 1 / low) & (self.frequency < 1 / high)


def rings(image: np.ndarray, truth: np.ndarray, pixel_size: float, tile: int = 1024) -> Rings:
    """Ring sums of an image and its truth, over tiles that overlap by half under the square root of a Hann window.

    Each tile is registered to the truth by a translation: the peak of their cross-correlation between 40 A and
    the resolution where it fades (see `_register`).
    """
    image, truth, pixel_size = _same_grid(np.asarray(image), np.asarray(truth), pixel_size)
    height, width = truth.shape
    side = min(tile, height, width)
    side -= side % 2
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(side) + 0.5) / side)).astype(np.float32)
    window = window[:, None] * window[None]
    ky, kx = sfft.fftfreq(side)[:, None], sfft.rfftfreq(side)[None]
    n = side // 2 + 1
    ring = np.minimum(np.rint(np.hypot(ky, kx) * side).astype(np.intp), n).ravel()  # n: the corners
    twice = np.where((kx == 0) | (kx == 0.5), 1.0, 2.0)  # of the half plane
    band = _register_band(np.hypot(ky, kx) / pixel_size)

    def sums(values):
        return np.bincount(ring, (values * twice).ravel(), n + 1)[:n]

    def spectrum(source, top, left):
        part = source[top : top + side, left : left + side].astype(np.float32)
        return sfft.rfft2((part - part.mean()) * window)

    def of_tile(corner):
        top, left = corner
        there = spectrum(truth, top, left)
        here = spectrum(image, top, left)
        dx, dy = _register(here * there.conj() * band)
        # whole pixels by cutting elsewhere (as far as there is image), the rest by a phase
        top2 = min(max(top + round(dy), 0), height - side)
        left2 = min(max(left + round(dx), 0), width - side)
        if (top2, left2) != (top, left):
            here = spectrum(image, top2, left2)
        cross = here * there.conj() * _phase(ky, dy - (top2 - top)) * _phase(kx, dx - (left2 - left))
        return np.stack([sums(cross.real), sums(_power(here)), sums(_power(there))])

    corners = [(top, left) for top in _starts(height, side) for left in _starts(width, side)]
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(available_cores()) as pool:
        total = sum(pool.map(of_tile, corners))
    frequency = np.arange(n) / (side * pixel_size)
    return Rings(frequency[1:-1], *total[:, 1:-1])


def _phase(k: np.ndarray, shift: float) -> np.ndarray:
    """exp(2πi k shift)."""
    return np.exp(2j * np.pi * shift * k)


def _power(spectrum: np.ndarray) -> np.ndarray:
    return spectrum.real**2 + spectrum.imag**2


def _starts(length: int, side: int) -> np.ndarray:
    """First pixels of tiles that cover a length, overlapping by about half."""
    count = max(1, round((length - side) / (side / 2)) + 1)
    return np.rint(np.linspace(0, length - side, count)).astype(int)


def _register_band(k: np.ndarray) -> np.ndarray:
    """Weights from 40 A (particles' own outlines) to 5 A (finer is mostly noise); k in 1/A."""
    return np.exp(-((k * 5.0) ** 2) / 2) - np.exp(-((k * 40.0) ** 2) / 2)


def _register(cross: np.ndarray, reach: int = 32) -> tuple[float, float]:
    """Displacement (dx, dy) in pixels, within ``reach``, at which a correlation is largest.

    cross: (b, b//2 + 1), the spectrum of image times conjugate truth. The highest sample, then Newton's method on the
    band-limited correlation itself, whose derivatives are products of a matrix for each axis.
    """
    side = cross.shape[0]
    reach = min(reach, side // 4)
    near = np.roll(sfft.irfft2(cross, s=(side, side)), (reach, reach), axis=(0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    dy, dx = (float(v - reach) for v in np.unravel_index(near.argmax(), near.shape))
    ky, kx = 2 * np.pi * sfft.fftfreq(side), 2 * np.pi * sfft.rfftfreq(side)
    start = np.array([dx, dy])
    at = start.copy()
    for _ in range(6):
        along_y, along_x = (np.exp(1j * k * a) * k ** np.arange(3)[:, None] for k, a in ((ky, at[1]), (kx, at[0])))
        moments = along_y @ cross @ along_x.T  # [j, i]: sum of ky^j kx^i times the turned spectrum
        slope = -moments.imag[[0, 1], [1, 0]]
        xx, xy, yy = moments.real[[0, 1, 2], [2, 1, 0]]
        determinant = xx * yy - xy * xy
        if xx <= 0 or determinant <= 0:  # no peak here: pure noise
            return dx, dy
        at += np.array([yy * slope[0] - xy * slope[1], xx * slope[1] - xy * slope[0]]) / determinant
        if np.abs(at - start).max() > 1:
            return dx, dy
    return float(at[0]), float(at[1])


def _same_grid(image: np.ndarray, truth: np.ndarray, pixel_size: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Image and truth on the same pixels, and their size in A."""
    if max(abs(a - b) for a, b in zip(image.shape, truth.shape, strict=True)) > 1:
        if any(a > b for a, b in zip(image.shape, truth.shape, strict=True)):
            raise ValueError(f"the image {image.shape} is larger than the truth {truth.shape}")
        pixel_size *= truth.shape[0] / image.shape[0]
        truth = fourier_crop(truth, (image.shape[0], image.shape[1]))
    height, width = (min(a, b) for a, b in zip(image.shape, truth.shape, strict=True))
    return image[:height, :width], truth[:height, :width], pixel_size


def fourier_crop(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image (H, W) on fewer pixels (h, w), float32: only the frequencies that these can hold; the mean stays."""
    height, width = shape
    spectrum = sfft.rfft2(image.astype(np.float32), workers=-1)[:, : width // 2 + 1]
    spectrum = np.concatenate([spectrum[: (height + 1) // 2], spectrum[image.shape[0] - height // 2 :]])
    return sfft.irfft2(spectrum, s=shape, workers=-1) * np.float32(height * width / image.size)
