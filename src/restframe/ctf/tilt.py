"""A plane of defocus, from the spectra of tiles.

Each tile has its own defocus D + slope_x x + slope_y y; all else is common to them. What remains of the oscillation in
a tile is known: its window blurs the spectrum (`AxisWindow.coherence`, the oscillation's autocorrelation lies at
2 lambda D k), and the defocus varies within it (`AxisWindow.mean_wave`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from restframe.arrays import AnyArray, ComplexArray, FloatArray
from restframe.ctf.bins import Bins, Folding, folded, joined, make_bins
from restframe.ctf.fit import SpectrumFit, least_gain
from restframe.ctf.model import CtfShape, Microscope, SignalStrength, phase
from restframe.ctf.refine import Fit, Freedom, refine
from restframe.ctf.search import SearchRange
from restframe.ctf.spectrum import Tile, tile_spectra

SAMPLES_PER_OSCILLATION = 4.0  # of a tile's transform at the frequency that matters most
TILES_PER_SIDE = (2.0, 5.0)  # the least and most tile sides in the image's
MIN_TILE_PX = 128
FOLDING = Folding(radial=24, sectors=12, phases=12)
MAX_SLOPE = 1.75  # tan 60 degrees
SLOPE_STEP = 1.5  # rad of 2 chi at the significant frequency, at the outermost tile
DEFOCUS_STEP = 0.5  # rad of 2 chi at the significant frequency
DEFOCUS_REACH = 1500.0  # A around the defocus of the whole image
CANDIDATES = 3
MAX_RANK_LOST = 6.0  # log likelihood of the matched filter: candidates with less are not refined
ROUNDS = 2  # of folding and refinement
MIN_PLANE_GAIN = 0.0  # log posterior over that of equal defocus everywhere: below it the image is not tilted
BFACTOR_RANGE = (60.0, 200.0)  # A², of the signal that decides the size of the tiles


@dataclass(frozen=True, eq=False)
class _TileBins:
    """The bins of a tile, and the windows that it was seen through."""

    tile: Tile
    bins: Bins


def fit_plane(
    image: AnyArray,
    pixel_size: float,
    flat: SpectrumFit,
    microscope: Microscope,
    where: SearchRange,
) -> SpectrumFit:
    """The most likely plane of defocus of ``image`` (h, w). ``flat``: the fit of its whole spectrum, to start from.

    The slopes are zero where there is no evidence for a plane; their covariance is given all the same.
    """
    significant = significant_frequency(flat.fit.signal)
    side = min(image.shape)
    length = 2 * SAMPLES_PER_OSCILLATION * microscope.wavelength * flat.fit.shape.defocus * significant / pixel_size
    length = max(np.clip(length, side / TILES_PER_SIDE[1], side / TILES_PER_SIDE[0]), MIN_TILE_PX)
    tile_side = 16 * round(length / 16)
    max_frequency = float(flat.spectrum.frequency[-1])
    tiles = [
        _TileBins(tile, _located(tile, where.min_frequency))
        for tile in tile_spectra(image, pixel_size, max_frequency, tile_side)
    ]
    tiles = [replace(one, bins=_levelled(one.bins, flat.fit)) for one in tiles]
    freedom = Freedom(phase_shift=where.phase_shift is not None, slope=True)
    starts = [*_search(tiles, flat, microscope, where, significant), flat.fit.shape]
    fits = [_refined(tiles, microscope, start, flat.fit.signal, freedom) for start in starts]
    best = max(fits, key=lambda one: one.gain)
    level = _refined(tiles, microscope, flat.fit.shape, flat.fit.signal, replace(freedom, slope=False))
    if best.gain - level.gain < MIN_PLANE_GAIN:
        covariance = flat.fit.covariance.copy()
        covariance[5:, 5:] = best.covariance[5:, 5:]
        return replace(flat, fit=replace(flat.fit, covariance=covariance))
    return replace(flat, fit=best, found=flat.found or best.gain >= least_gain(freedom))


def significant_frequency(signal: SignalStrength) -> float:
    """The frequency in 1/A below which nine tenths of the information on the defocus lie: k^5 exp(-B k²) dk."""
    bfactor = float(np.clip(signal.bfactor, *BFACTOR_RANGE))
    return float(np.sqrt(5.3 / bfactor))  # of a gamma distribution of B k² with shape 3


def _located(tile: Tile, min_frequency: float) -> Bins:
    bins = make_bins(tile.spectrum, min_frequency)
    place = np.ones(len(bins.power))
    return replace(bins, x=tile.x * place, y=tile.y * place)


def _levelled(bins: Bins, fit: Fit) -> Bins:
    """``bins`` with their power scaled to the mean level of the whole image: ice is not equally thick everywhere."""
    ratio = bins.power * np.exp(-bins.noise_basis @ fit.noise) / (1 + 0.5 * fit.signal(bins.squared_frequency))
    return replace(bins, power=bins.power * (bins.count.sum() / np.sum(bins.count * ratio)))


def _lags(one: _TileBins, bins: Bins, microscope: Microscope, shape: CtfShape) -> tuple[FloatArray, FloatArray]:
    """Where the autocorrelation of the oscillation lies at each bin, in pixels along x and y."""
    local = shape.defocus + shape.slope_x * one.tile.x + shape.slope_y * one.tile.y
    lag = 2 * microscope.wavelength * local * np.sqrt(bins.squared_frequency) / one.tile.pixel_size
    return lag * np.cos(bins.angle), lag * np.sin(bins.angle)


def _placed(one: _TileBins, microscope: Microscope, shape: CtfShape) -> Bins:
    """The bins of a tile, each at the place that its oscillation comes from: not the same in all of a tile at the
    image's edge, whose window is not symmetric.
    """
    lag_x, lag_y = _lags(one, one.bins, microscope, shape)
    return replace(
        one.bins,
        x=one.bins.x + one.tile.pixel_size * one.tile.window_x.centre_shift(lag_x),
        y=one.bins.y + one.tile.pixel_size * one.tile.window_y.centre_shift(lag_y),
    )


def _visible(one: _TileBins, bins: Bins, microscope: Microscope, shape: CtfShape) -> Bins:
    """``bins`` of a tile with the visibility of the oscillation at ``shape``."""
    lag_x, lag_y = _lags(one, bins, microscope, shape)
    slope = 2 * microscope.defocus_slope(bins.squared_frequency) * one.tile.pixel_size
    window_x, window_y = one.tile.window_x, one.tile.window_y
    visibility = window_x.coherence(lag_x) * window_y.coherence(lag_y)
    visibility *= window_x.mean_wave(slope * shape.slope_x, lag_x) * window_y.mean_wave(slope * shape.slope_y, lag_y)
    return replace(bins, visibility=bins.visibility * visibility)


def _refined(
    tiles: Sequence[_TileBins], microscope: Microscope, shape: CtfShape, signal: SignalStrength, freedom: Freedom
) -> Fit:
    """Refinement from ``shape``, with the tiles folded at the phases that it gives them, `ROUNDS` times."""
    for _ in range(ROUNDS):
        parts = []
        for one in tiles:
            bins = folded(_placed(one, microscope, shape), microscope, shape, FOLDING)
            parts.append(_visible(one, bins, microscope, shape))
        fit = refine(joined(parts), microscope, shape, signal, freedom)
        shape, signal = fit.shape, fit.signal
    return fit


def _search(
    tiles: Sequence[_TileBins], flat: SpectrumFit, microscope: Microscope, where: SearchRange, significant: float
) -> list[CtfShape]:
    """Shapes with slopes that a matched filter for cos 2 chi finds, best first."""
    shape = flat.fit.shape
    double_slope = 2 * float(microscope.defocus_slope(np.array(significant**2)))
    step = DEFOCUS_STEP / double_slope
    outermost = max(max(abs(one.tile.x), abs(one.tile.y)) for one in tiles)
    slopes = np.arange(0, MAX_SLOPE, SLOPE_STEP / double_slope / max(outermost, 1.0))
    slopes = np.concatenate([-slopes[:0:-1], slopes])
    reach = int(np.ceil(2 * MAX_SLOPE * outermost / step)) + 1
    low, high = shape.defocus - DEFOCUS_REACH, shape.defocus + DEFOCUS_REACH
    if not flat.found:
        low, high = where.min_defocus, where.max_defocus
    inner = int((high - low) / step) + 1
    grid = low + step * np.arange(-reach, inner + reach)
    waves = _waves(grid, microscope, max(float(one.bins.squared_frequency.max()) for one in tiles))
    filtered = [_response(one, flat, microscope, waves) for one in tiles]
    responses = [response for response, _ in filtered]
    variance = sum(one_variance for _, one_variance in filtered)
    candidates: list[tuple[float, CtfShape]] = []
    for slope_x in slopes:
        for slope_y in slopes:
            if np.hypot(slope_x, slope_y) > MAX_SLOPE:
                continue
            total = np.zeros(inner)
            for one, response in zip(tiles, responses, strict=True):
                shift = round((slope_x * one.tile.x + slope_y * one.tile.y) / step) + reach
                total += response[shift : shift + inner]
            best = int(total.argmax())
            place = replace(shape, defocus=float(grid[best + reach]), slope_x=float(slope_x), slope_y=float(slope_y))
            candidates.append((0.5 * max(float(total[best]), 0.0) ** 2 / variance, place))
    candidates.sort(key=lambda one: -one[0])
    apart = 1.5 * (slopes[1] - slopes[0]) if len(slopes) > 1 else 1.0
    chosen: list[CtfShape] = []
    for rank, place in candidates:
        distances = [np.hypot(place.slope_x - other.slope_x, place.slope_y - other.slope_y) for other in chosen]
        if rank < candidates[0][0] - MAX_RANK_LOST or len(chosen) == CANDIDATES:
            break
        if not distances or min(distances) > apart:
            chosen.append(place)
    return chosen


@dataclass(frozen=True, eq=False)
class _Waves:
    """exp(2 i (chi - chi at the middle)) for a grid of defocus, and classes of the slope d 2 chi / d defocus."""

    values: ComplexArray  # (grid, classes)
    middle: float  # A, the defocus where all are 1
    class_width: float  # rad/A


def _waves(grid: FloatArray, microscope: Microscope, max_squared_frequency: float) -> _Waves:
    middle = 0.5 * float(grid[0] + grid[-1])
    width = DEFOCUS_STEP / float(grid[-1] - grid[0])
    highest = 2 * float(microscope.defocus_slope(np.array(max_squared_frequency)))
    classes = np.arange(int(np.rint(highest / width)) + 1)
    return _Waves(np.exp(1j * np.outer(grid - middle, classes * width)), middle, width)


def _response(one: _TileBins, flat: SpectrumFit, microscope: Microscope, waves: _Waves) -> tuple[FloatArray, float]:
    """-sum (p / N - 1) S cos 2 chi of a tile for each defocus of ``waves``, with the astigmatism of ``flat``, and its
    variance in noise.
    """
    bins, fit = one.bins, flat.fit
    strength = fit.signal(bins.squared_frequency)
    excess = bins.power * np.exp(-bins.noise_basis @ fit.noise) / (1 + 0.5 * strength) - 1
    bfactor = float(np.clip(fit.signal.bfactor, *BFACTOR_RANGE))
    weight = np.exp(-0.5 * bfactor * bins.squared_frequency) * _visible(one, bins, microscope, fit.shape).visibility
    weighted = bins.count * excess * weight
    slope = 2 * microscope.defocus_slope(bins.squared_frequency)
    from_middle = slope * (waves.middle - fit.shape.defocus)
    at_middle = 2 * phase(microscope, fit.shape, bins.squared_frequency, bins.angle) + from_middle
    index = np.rint(slope / waves.class_width).astype(np.int64)
    class_count = waves.values.shape[1]
    real = np.bincount(index, weighted * np.cos(at_middle), class_count)
    imaginary = np.bincount(index, weighted * np.sin(at_middle), class_count)
    response = waves.values.real @ real - waves.values.imag @ imaginary
    return np.asarray(-response), float(0.5 * np.sum(bins.count * weight**2))
