"""Small pictures of a corrected movie, for people: the image and its power spectrum, as 8-bit JPEG files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from scipy.fft import rfft2
from scipy.ndimage import correlate1d, gaussian_filter1d

from restframe.arrays import AnyArray, FloatArray
from restframe.output.place import Writer
from restframe.result import Result

THUMBNAIL_SIDE_PX = 512  # of the long side, at most
TILE_SIDE_PX = 512  # of the tiles whose power spectra are averaged; also the side of that picture
TILES_ALONG_SIDE = 4  # at most
JPEG_QUALITY = 85
THUMBNAIL_PERCENTILES = 0.5, 99.5  # of the grey values: black and white
SPECTRUM_PERCENTILES = 2.0, 99.7
PERCENTILE_SAMPLES = 20_000  # pixels whose percentiles set the contrast
RING_SMOOTHING_PX = 12.0  # standard deviation: slower changes of the power with frequency are taken off the picture
POWER_DIGITS = 3  # of the logarithm


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture and what it shows."""

    kind: str  # thumbnail or spectrum
    image: str  # Result's name of the image that is shown
    pixels: AnyArray  # (h, w) uint8, row 0 at the bottom of the picture, as viewers show MRC files


@dataclass(frozen=True, eq=False)
class Pictures:
    """What a sink writes and a record names."""

    pictures: tuple[Picture, ...]
    log_power: FloatArray  # log10 of the mean power of each ring, from 0 to the Nyquist frequency


def make_pictures(result: Result) -> Pictures:
    """Thumbnail of the dose-weighted sum, where there is one, and power spectrum of the plain sum."""
    shown = "dose_weighted" if result.dose_weighted is not None else "sum"
    spectrum = mean_power_spectrum(result.sum)
    rings = ring_numbers(spectrum.shape)
    log_power = np.log10(np.maximum(spectrum, np.finfo(np.float32).tiny))
    by_ring = ring_means(log_power, rings)
    return Pictures(
        (
            Picture("thumbnail", shown, thumbnail(getattr(result, shown))),
            Picture("spectrum", "sum", spectrum_picture(log_power, by_ring, rings)),
        ),
        by_ring[: spectrum.shape[0] // 2 + 1],
    )


def thumbnail(image: FloatArray) -> AnyArray:
    """``image`` (h, w) averaged over square blocks, as grey values; its long side has `THUMBNAIL_SIDE_PX` at most."""
    block_side = min(-(-max(image.shape) // THUMBNAIL_SIDE_PX), *image.shape)
    height, width = image.shape[0] // block_side, image.shape[1] // block_side
    whole_blocks = image[: height * block_side, : width * block_side]
    by_row = np.add.reduce(whole_blocks.reshape(height, block_side, -1), axis=1)
    means = by_row.reshape(height, width, block_side).mean(2) / block_side
    return grey_values(slightly_smoothed(means, "reflect"), THUMBNAIL_PERCENTILES)


def grey_values(values: FloatArray, percentiles: tuple[float, float]) -> AnyArray:
    """``values`` as 0 to 255, black and white at two percentiles. Values that are not finite are black."""
    samples = values.ravel()[:: max(values.size // PERCENTILE_SAMPLES, 1)]
    finite = samples[np.isfinite(samples)]
    black, white = np.percentile(finite, percentiles) if finite.size else (0.0, 1.0)
    scale = 255 / float(white - black) if white > black else 0.0
    return np.asarray(np.nan_to_num(np.clip((values - black) * scale, 0, 255), nan=0.0), np.uint8)


def mean_power_spectrum(image: FloatArray) -> FloatArray:
    """Mean power of tiles spread over ``image``, (side, side // 2 + 1), like numpy.fft.rfft2.

    Tiles are weighted by a Hann window, their mean is taken off.
    """
    side = min(TILE_SIDE_PX, *(2 * (size // 2) for size in image.shape))
    taper = np.hanning(side).astype(np.float32)
    window = taper[:, None] * taper
    corners_y, corners_x = (_tile_corners(size, side) for size in image.shape)
    power = np.zeros((side, side // 2 + 1), np.float32)
    for corner_y in corners_y:
        for corner_x in corners_x:
            tile = image[corner_y : corner_y + side, corner_x : corner_x + side]
            transform = rfft2((tile - tile.mean()) * window)
            power += transform.real**2 + transform.imag**2
    return np.asarray(power / (len(corners_y) * len(corners_x)))


def _tile_corners(size: int, side: int) -> list[int]:
    """Where tiles begin along an axis: as many as fit, `TILES_ALONG_SIDE` at most."""
    count = min(max(size // side, 1), TILES_ALONG_SIDE)
    return [int(corner) for corner in np.linspace(0, size - side, count)]


def ring_numbers(shape: tuple[int, ...]) -> AnyArray:
    """The ring of each coefficient of a half spectrum of ``shape``: the distance from frequency 0, rounded."""
    rows = np.fft.fftfreq(shape[0], 1 / shape[0])
    return np.asarray(np.rint(np.hypot(rows[:, None], np.arange(shape[1]))).astype(int))


def ring_means(values: FloatArray, rings: AnyArray) -> FloatArray:
    """Mean of ``values`` in each ring."""
    counts = np.bincount(rings.ravel())
    return np.asarray(np.bincount(rings.ravel(), values.ravel()) / np.maximum(counts, 1))


def spectrum_picture(log_power: FloatArray, by_ring: FloatArray, rings: AnyArray) -> AnyArray:
    """Grey values of a full spectrum, frequency 0 in the middle, without its slow change with frequency."""
    slow_change = gaussian_filter1d(by_ring[1:], RING_SMOOTHING_PX, mode="nearest")
    background = np.concatenate([slow_change[:1], slow_change])
    half = (log_power - background[rings]).astype(np.float32)
    half[0, 0] = 0
    side = half.shape[0]
    mirrored = half[np.arange(side)[:, None] * -1 % side, np.arange(side // 2 - 1, 0, -1)]
    full = np.fft.fftshift(np.concatenate([half, mirrored], axis=1))
    return grey_values(slightly_smoothed(full, "wrap"), SPECTRUM_PERCENTILES)


def slightly_smoothed(values: FloatArray, mode: str) -> FloatArray:
    """Weights 1, 2, 1 along both axes: less noise, no loss of what can be seen. ``mode``: at the edges, as SciPy's."""
    weights = np.array([0.25, 0.5, 0.25], np.float32)
    by_row = correlate1d(values, weights, axis=0, mode=mode)
    return np.asarray(correlate1d(by_row, weights, axis=1, mode=mode))


def jpeg_writer(pixels: AnyArray) -> Writer:
    """A function that writes ``pixels`` (h, w) uint8, row 0 at the bottom."""

    def write(path: Path) -> None:
        path.write_bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels[::-1]), level=JPEG_QUALITY))

    return write
