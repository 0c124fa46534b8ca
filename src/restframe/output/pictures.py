"""Small pictures of a corrected movie, for people: the image and its power spectrum, as 8-bit JPEG files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
from scipy.fft import rfft2
from scipy.ndimage import gaussian_filter1d

from restframe.arrays import AnyArray, FloatArray
from restframe.output.place import Writer
from restframe.result import Result
from restframe.spectrum_tiles import tile_corners, tile_side

THUMBNAIL_SIDE_PX = 512  # of the long side, at most
JPEG_QUALITY = 85
THUMBNAIL_PERCENTILES = 0.5, 99.5  # of the grey values: black and white
SPECTRUM_PERCENTILES = 2.0, 99.7
ROWS_PER_SAMPLE = 16  # one row of so many gives the mean of an image
PERCENTILE_SAMPLES = 20_000  # pixels whose percentiles set the contrast
RING_SMOOTHING_PX = 12.0  # standard deviation: slower changes of the power with frequency are removed from the picture
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
    log_power_before: FloatArray | None = None  # the same of the frames' sum without correction, of equal mean


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
        ring_log_power(spectrum),
        log_power_before_correction(result),
    )


def log_power_before_correction(result: Result) -> FloatArray | None:
    """log10 of the power of each ring of the sum before the correction, up to its Nyquist frequency.

    Noise that the correction leaves as it is has the same power as in the corrected sum, also in a binned one. None
    where the sum was not kept.
    """
    if result.uncorrected_tiles is None:
        return None
    tiles = np.asarray(result.uncorrected_tiles, np.float32)
    some_rows = result.sum[::ROWS_PER_SAMPLE]
    scale = float(some_rows.mean(dtype=float)) / result.settings.sums.bin
    return ring_log_power(mean_power(tiles) * scale**2)


def ring_log_power(spectrum: FloatArray) -> FloatArray:
    """log10 of the mean power of each ring, from 0 to the Nyquist frequency; ``spectrum`` as from `mean_power`."""
    by_ring = ring_means(spectrum, ring_numbers(spectrum.shape))[: len(spectrum) // 2 + 1]
    return np.asarray(np.log10(np.maximum(by_ring, np.finfo(np.float32).tiny)))


def thumbnail(image: FloatArray) -> AnyArray:
    """``image`` (h, w) averaged over square blocks, as grey values; its long side has `THUMBNAIL_SIDE_PX` at most."""
    block_side = min(-(-max(image.shape) // THUMBNAIL_SIDE_PX), *image.shape)
    height, width = image.shape[0] // block_side, image.shape[1] // block_side
    whole_rows = np.ascontiguousarray(image[: height * block_side])
    by_row = np.add.reduce(whole_rows.reshape(height, block_side, -1), axis=1)[:, : width * block_side]
    means = by_row.reshape(height, width, block_side) @ np.full(block_side, 1 / block_side**2, np.float32)
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

    Tiles are weighted by a Hann window, their mean is subtracted.
    """
    side = tile_side(image.shape)
    corners = tile_corners(image.shape)
    return mean_power(image[row : row + side, column : column + side] for row, column in corners)


def mean_power(tiles: Iterable[FloatArray]) -> FloatArray:
    """Mean power of square tiles, (side, side // 2 + 1)."""
    total: FloatArray | None = None
    count = 0
    for tile in tiles:
        # the window spreads the remaining mean over one coefficient beside frequency 0
        transform = rfft2((tile - tile[::ROWS_PER_SAMPLE].mean()) * hann_window(len(tile)))
        power = transform.real**2 + transform.imag**2
        total = power if total is None else np.add(total, power, out=total)
        count += 1
    assert total is not None, "an image has a tile"
    return np.asarray(total / count)


@lru_cache(4)
def hann_window(side: int) -> FloatArray:
    """(side, side)"""
    taper = np.hanning(side).astype(np.float32)
    return np.asarray(taper[:, None] * taper)


@lru_cache(4)
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


def slightly_smoothed(values: FloatArray, mode: Literal["reflect", "wrap"]) -> FloatArray:
    """Weights 1, 2, 1 along both axes: less noise, no loss of what can be seen.

    ``mode``: beyond an edge there is the mirror image, or the other end.
    """
    padded = np.pad(values, 1, "symmetric" if mode == "reflect" else "wrap")
    by_row = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return np.asarray((by_row[:, :-2] + 2 * by_row[:, 1:-1] + by_row[:, 2:]) / 16)


def jpeg_writer(pixels: AnyArray) -> Writer:
    """A function that writes ``pixels`` (h, w) uint8, row 0 at the bottom."""

    def write(path: Path) -> None:
        path.write_bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels[::-1]), level=JPEG_QUALITY))

    return write
