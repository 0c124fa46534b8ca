"""Coarse global motion: cross-correlation of each frame with the sum of the others, over long distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace
from scipy import ndimage

from restframe.arrays import Array, BoolArray, FloatArray
from restframe.kernels.interface import Kernels
from restframe.settings import Motion
from restframe.track.low_band import LowBand, low_frequency_band, shift_factors
from restframe.track.path import path_posterior, step_variance
from restframe.track.pattern import (
    FixedPattern,
    estimate_fixed_pattern,
    subtract_pattern_from_band,
    without_moving_specimen,
)
from restframe.track.peaks import significant_peaks
from restframe.track.series import FrameSeries
from restframe.track.specimen import specimen_weight_map, sum_aligned
from restframe.track.standing import CoarseFrames, find_standing_places, weights_without
from restframe.track.tiles import frame_blocks

COARSE_SIDE = 512  # samples along the short side of the images that are correlated
MIN_FRAMES_PER_BLOCK = 4  # frames correlated at a time, to stay in the cache
SLOWEST_CYCLES = 6.0  # cycles across the frame; lower frequencies are illumination more than specimen
CLEAR_HEIGHT = 8.0  # standard deviations of a frame's peak; lower ones can be off by a few pixels
UNCLEAR_HEIGHT = 7.0  # of the lowest peak: it does not become clear by more iterations
UNCLEAR_ITERATION = 2  # from 0: frames are aligned well enough to tell
SIDE_PEAK = 0.6  # of the peak at zero shift: a specimen that correlates with itself that well elsewhere is ambiguous
SIDE_PEAK_REACH = 48  # binned pixels within which side peaks are looked for
EXCLUDED_MARGIN = 10  # binned pixels around what is excluded: weights are interpolated over as many
REFERENCE_SIDE = 2048  # MotionCor's B-factors are in pixels of an image with this short side


@dataclass(frozen=True)
class CoarseSearch:
    """Settings of the coarse search."""

    bfactor: float  # px² of the image whose short side is `REFERENCE_SIDE`
    iterations: int  # at most
    tolerance: float  # binned pixels; the search ends when no frame moves by more
    phase_only: bool = False  # phase correlation


@dataclass(frozen=True, eq=False)
class CoarseMotion:
    """The global motion to within a pixel or two, and where the specimen is."""

    track: FloatArray  # (t, 2) displacement x, y in binned pixels; zero in the reference frame
    weight_map: FloatArray  # (h, w) of any size: how much each place of the frame counts (`specimen.py`)
    pattern: FixedPattern  # that has to be subtracted from the frames
    pixel_size: float  # A of a binned pixel
    error: float  # standard deviation of the track, both axes together, binned pixels; 0: peaks are clear
    standing: BoolArray | None = None  # cells of the frame that stand still while the rest moves (`standing.py`)


def measure_coarse_motion(
    kernels: Kernels,
    series: FrameSeries,
    motion: Motion,
    pixel_size: float,
    excluded: BoolArray | None = None,
) -> CoarseMotion:
    """The coarse step, on the low frequencies of whole frames; ``pixel_size``: A of a binned pixel.

    ``excluded``: (h, w) binned pixels, filled, that do not count. Where the correlation peak of any frame is not
    clear, or where others are nearly as high, the posterior of the path replaces the positions of the peaks.
    """
    band = low_frequency_band(kernels, series.binned, COARSE_SIDE)
    search = CoarseSearch(
        motion.bfactor[0], motion.iterations, motion.tolerance / series.binned.factor, motion.phase_only
    )
    pattern = estimate_fixed_pattern(kernels, series.binned, series.relative_exposures())
    if pattern.fraction:  # motion that is found although nothing is subtracted is the specimen's
        free_track, _ = estimate_coarse_shifts(kernels, band, search)
        pattern = without_moving_specimen(kernels, series.binned, pattern, free_track)
        band = subtract_pattern_from_band(band, pattern)
    track, error = estimate_coarse_track(kernels, series, band, search, pixel_size)
    track -= track[series.reference_frame(motion.reference)]
    aligned = sum_aligned(kernels, band, track)
    weight_map = specimen_weight_map(kernels, band, aligned, pixel_size)
    if excluded is not None:
        weight_map = weights_without(weight_map, excluded, track, EXCLUDED_MARGIN)

    def measure_track(weighted: LowBand) -> FloatArray:
        return estimate_coarse_track(kernels, series, weighted, search, pixel_size)[0]

    frames = CoarseFrames(series.binned, band, pattern, excluded is not None)
    standing = find_standing_places(kernels, frames, track, aligned, measure_track)
    return CoarseMotion(track, weight_map, pattern, pixel_size, error, standing)


def estimate_coarse_track(
    kernels: Kernels, series: FrameSeries, band: LowBand, search: CoarseSearch, pixel_size: float
) -> tuple[FloatArray, float]:
    """Displacement of each frame, (t, 2) x, y in binned pixels of ``pixel_size`` A, and `CoarseMotion.error`."""
    track, peak_heights = estimate_coarse_shifts(kernels, band, search)
    if peak_heights.min() > CLEAR_HEIGHT and not is_ambiguous(kernels, band, track, search.bfactor):
        return track, 0.0
    steps = step_variance(series.mid_dose(), pixel_size)
    posterior = path_posterior(kernels, band, steps, series.frame_count // 2)
    return posterior.mean, float(np.sqrt(2 * posterior.variance.mean()))


def is_ambiguous(kernels: Kernels, band: LowBand, track: FloatArray, bfactor: float) -> bool:
    """Whether what the frames share, at displacements ``track`` (t, 2), fits itself nearly as well at another place.

    That is so in crystals. The correlation of the frames' sum with itself has high side peaks then.
    """
    ky, kx = map(kernels.to_device, band.frequencies())
    aligned = sum_aligned(kernels, band, track)
    shared_power = (abs(aligned.spectrum) ** 2 - aligned.frame_power) * _correlation_filter(band, ky, kx, bfactor)
    surface = kernels.to_host(kernels.irfft2(shared_power.astype(aligned.spectrum.dtype), band.image_shape))
    reach_y, reach_x = (
        max(1, min(samples // 2 - 1, int(SIDE_PEAK_REACH * samples / length)))
        for samples, length in zip(band.image_shape, band.frame_shape, strict=True)
    )
    nearby = np.roll(surface, (reach_y, reach_x), (0, 1))[: 2 * reach_y + 1, : 2 * reach_x + 1]
    side_peaks = (nearby == ndimage.maximum_filter(nearby, 3)) & (nearby > SIDE_PEAK * nearby[reach_y, reach_x])
    side_peaks[reach_y - 1 : reach_y + 2, reach_x - 1 : reach_x + 2] = False
    return bool(side_peaks.any())


def estimate_coarse_shifts(kernels: Kernels, band: LowBand, search: CoarseSearch) -> tuple[FloatArray, FloatArray]:
    """Displacement of each frame, (t, 2) x, y in binned pixels, relative to their mean; and the height of each frame's
    correlation peak in standard deviations of its surface, (t,).

    Each frame is correlated with the sum of the others at their present displacements, filtered by exp(-B f²/2), f in
    cycles per pixel of the image whose short side is 2048. Frames whose peak is not significant are averaged with their
    neighbours (`peaks.py`). The search ends early where some peak remains so low that the posterior of the path takes
    the place of the result.
    """
    spectra = band.spectra
    xp = array_namespace(spectra)
    frame_count = len(spectra)
    displacement = np.zeros((frame_count, 2))
    peak_heights: FloatArray = np.zeros(frame_count)
    if frame_count < 2:
        return displacement, peak_heights
    image_shape = band.image_shape
    ky, kx = map(kernels.to_device, band.frequencies())
    filter_values = _correlation_filter(band, ky, kx, search.bfactor)
    samples_per_pixel = image_shape[1] / band.frame_shape[1], image_shape[0] / band.frame_shape[0]  # x, y
    blocks = frame_blocks(frame_count, max(MIN_FRAMES_PER_BLOCK, kernels.frames_per_block))
    aligned, serial = xp.empty_like(spectra), kernels.single_threaded()
    surfaces = xp.empty((frame_count, *image_shape), dtype=xp.float32)

    def align_block(block: slice) -> None:
        aligned[block] = spectra[block] * row_factors[block]
        aligned[block] *= column_factors[block]

    def correlate_block(block: slice) -> None:
        product = xp.conj(total - aligned[block]) * aligned[block]
        if search.phase_only:
            product /= xp.abs(product) + np.float32(1e-20)
        product *= filter_values
        surfaces[block] = serial.irfft2(product, image_shape)

    for iteration in range(max(search.iterations, 1)):
        row_factors, column_factors = shift_factors(kernels.to_device(displacement), ky, kx)
        kernels.parallel_map(align_block, blocks)
        total = aligned.sum(0)
        kernels.parallel_map(correlate_block, blocks)
        step, peak_heights = significant_peaks(kernels, surfaces)
        step /= samples_per_pixel
        displacement += step
        if np.abs(step).max() < search.tolerance:
            break
        if iteration >= UNCLEAR_ITERATION and peak_heights.min() < UNCLEAR_HEIGHT:
            break
    return displacement - displacement.mean(0), peak_heights


def _correlation_filter(band: LowBand, ky: Array, kx: Array, bfactor: float) -> Array:
    """The B-factor's filter without the lowest frequencies, (2m, m'+1) float32 on the device.

    Illumination, and a gain that does not quite fit, are smooth and fixed on the detector.
    """
    xp = array_namespace(ky)
    squared_frequency = (ky**2 + kx**2) * (min(band.frame_shape) / REFERENCE_SIDE) ** 2
    damping = xp.exp(-0.5 * bfactor * squared_frequency)
    squared_cycles = (ky * band.frame_shape[0]) ** 2 + (kx * band.frame_shape[1]) ** 2
    high_pass = 1 - xp.exp(-0.5 * (squared_cycles / SLOWEST_CYCLES**2) ** 2)
    return (damping * high_pass).astype(xp.float32)
