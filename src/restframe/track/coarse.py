"""Coarse global motion: cross-correlation of each frame with the sum of the others, over long distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, FloatArray
from restframe.kernels.interface import Kernels
from restframe.settings import Motion
from restframe.track.low_band import LowBand, low_frequency_band, shift_factors
from restframe.track.path import most_probable_path
from restframe.track.pattern import FixedPattern, subtract_pattern_from_band
from restframe.track.peaks import SIGNIFICANT_HEIGHT, significant_peaks
from restframe.track.series import FrameSeries
from restframe.track.specimen import specimen_weight_map
from restframe.track.tiles import frame_blocks

COARSE_SIDE = 512  # samples along the short side of the images that are correlated
MIN_FRAMES_PER_BLOCK = 4  # frames correlated at a time, to stay in the cache
SLOWEST_CYCLES = 6.0  # cycles across the frame; lower frequencies are illumination more than specimen
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


def measure_coarse_motion(
    kernels: Kernels, series: FrameSeries, pattern: FixedPattern, motion: Motion, pixel_size: float
) -> CoarseMotion:
    """The coarse step, on the low frequencies of whole frames; ``pixel_size``: A of a binned pixel.

    Where the correlation peak of any frame is not significant, the most probable path replaces the peaks' positions.
    """
    band = low_frequency_band(kernels, series.binned, COARSE_SIDE)
    band = subtract_pattern_from_band(band, pattern)
    tolerance = motion.tolerance / series.binned.factor
    search = CoarseSearch(motion.bfactor[0], motion.iterations, tolerance, motion.phase_only)
    track, peak_heights = estimate_coarse_shifts(kernels, band, search)
    if peak_heights.min() <= SIGNIFICANT_HEIGHT:
        track = most_probable_path(kernels, band, track)
    track -= track[series.reference_frame(motion.reference)]
    return CoarseMotion(track, specimen_weight_map(kernels, band, track, pixel_size))


def estimate_coarse_shifts(kernels: Kernels, band: LowBand, search: CoarseSearch) -> tuple[FloatArray, FloatArray]:
    """Displacement of each frame, (t, 2) x, y in binned pixels, relative to their mean; and the height of each frame's
    correlation peak in standard deviations of its surface, (t,).

    Each frame is correlated with the sum of the others at their present displacements, filtered by exp(-B f²/2), f in
    cycles per pixel of the image whose short side is 2048. Frames whose peak is not significant are averaged with their
    neighbours (`peaks.py`).
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

    for _ in range(max(search.iterations, 1)):
        row_factors, column_factors = shift_factors(kernels.to_device(displacement), ky, kx)
        kernels.parallel_map(align_block, blocks)
        total = aligned.sum(0)
        kernels.parallel_map(correlate_block, blocks)
        step, peak_heights = significant_peaks(kernels, surfaces)
        step /= samples_per_pixel
        displacement += step
        if np.abs(step).max() < search.tolerance:
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
