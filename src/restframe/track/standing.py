"""Places that stand still on the detector while the rest of the frame moves: they do not take part in measuring motion.

A texture that is fixed on the detector correlates at zero shift. A tenth of the frame is enough to hold the measured
motion at rest, because such a place can be stronger than the specimen. Every place of the frame is therefore compared
with itself twice: in the sum of the frames as they lie, and in the sum of the frames shifted back by the measured
motion. With the weights W of the likelihood (`likelihood.py`), the difference of the local sums of W |R|² is the log
likelihood of "stands still" less that of "moves with the rest". Waves that both sums show alike count less, by
1 - |c|², where c is the mean phase factor of the wave over the frames.

The measured motion may itself be held by such places. Motion and places are therefore estimated in turn, as in the EM
algorithm for a mixture of two components (Dempster, Laird and Rubin, J. R. Stat. Soc. B 39, 1 (1977)): places count by
the probability that they move. Places are accepted only if the rest of the frame clearly moves.

A first look at the low frequencies of the frames decides whether there may be such places at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from array_api_compat import array_namespace
from scipy import ndimage

from restframe.arrays import Array, BoolArray, FloatArray, IntArray
from restframe.detector.binned import BinnedFrames
from restframe.kernels.interface import Kernels
from restframe.track.low_band import LowBand
from restframe.track.pattern import FixedPattern
from restframe.track.specimen import AlignedSum
from restframe.track.spectrum import smooth_positive
from restframe.track.tiles import frame_blocks

MAX_SUM_SIDE = 1024  # samples along the short side of the sums that are compared
LOWEST_CYCLES = 6  # across the frame; lower frequencies are illumination
CELLS_ACROSS = 128  # cells along the short side of a map of evidence, about
PATCH_CELLS = 3.2  # standard deviation of the Gaussian over which evidence is summed: 1/40 of the short side
POSSIBLE_DEVIATIONS = 3.5  # of the evidence at low frequencies by chance, from which on all frequencies are looked at
SEED_DEVIATIONS = 5.3, 4.0  # of the evidence by chance, for a place to be accepted: for the first one, for others
SEED_EVIDENCE = 1.1  # log likelihood, in addition, per standard deviation asked for
GROWTH_DEVIATIONS = 1.5  # of what belongs to such a place
GROWTH_FRACTION = 0.2  # of the strongest evidence nearby: less is its neighbourhood
LOG_PRIOR_ODDS = 3.0  # of moving against standing still
GAIN_OF_MOTION = 15.0  # log likelihood that the motion has to gain over rest outside of these places
STRONG_DEVIATIONS = 4.0  # of the power of a place at rest, from which on it may hold the track
MIN_STRONG_SHARE = 0.015  # of the frame
HELD_GAIN = 0.003  # of their power at rest: strong places that gain less by the motion do not move along it
MAX_STANDING_SHARE = 0.4  # of the frame; more is the specimen, and the motion is wrong
MAX_ITERATIONS = 5
SETTLED_TRACK = 0.1  # binned pixels, rms: the track no longer changes

TrackOfBand = Callable[[LowBand], FloatArray]
"""Measures the displacement of each frame, (t, 2) binned pixels."""


@dataclass(frozen=True, eq=False)
class SumGeometry:
    """Half spectra of sums of frames: frequencies and rings; arrays are on the host."""

    image_shape: tuple[int, int]  # (h, w) in samples
    frequency_y: FloatArray  # (h, 1) cycles per binned pixel
    frequency_x: FloatArray  # (1, w // 2 + 1)
    ring: IntArray  # (h, w // 2 + 1); the last ring holds what is not used
    multiplicity: FloatArray  # (h, w // 2 + 1): 2 for a coefficient whose conjugate is not there, 0 where not used
    count: FloatArray  # (rings,) coefficients of the full plane

    def ring_mean(self, power: FloatArray) -> FloatArray:
        """Mean of ``power`` (h, w // 2 + 1) over the coefficients of each ring, (rings,)."""
        total = np.bincount(self.ring.ravel(), (power * self.multiplicity).ravel(), len(self.count))
        return np.asarray(total / np.maximum(self.count, 1))

    def mean_phase(self, track: FloatArray) -> FloatArray:
        """Mean over the frames of exp(2 pi i k·track), complex (h, w // 2 + 1)."""
        phase_y = np.exp(2j * np.pi * self.frequency_y * track[:, 1])
        phase_x = np.exp(2j * np.pi * self.frequency_x.T * track[:, 0])
        return np.asarray(phase_y @ phase_x.T / len(track))


def sum_geometry(image_shape: tuple[int, int], frame_shape: tuple[float, float]) -> SumGeometry:
    """Of images with ``image_shape`` samples of frames of ``frame_shape`` (h, w) binned pixels."""
    height, width = image_shape
    cycles_y, cycles_x = np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width
    frequency_y, frequency_x = cycles_y / frame_shape[0], cycles_x / frame_shape[1]
    last = min(image_shape) // 2
    ring = np.rint(np.hypot(frequency_y, frequency_x) * min(frame_shape)).astype(int)
    used = (ring >= LOWEST_CYCLES) & (ring < last)
    multiplicity = np.where(cycles_x == 0, 1.0, 2.0) * used
    ring = np.minimum(ring, last)
    count = np.bincount(ring.ravel(), multiplicity.ravel(), last + 1).astype(float)
    return SumGeometry(image_shape, frequency_y, frequency_x, ring, multiplicity, count)


@dataclass(frozen=True, eq=False)
class SumPair:
    """The sum of the frames as they lie, and that of the frames shifted back by a track."""

    geometry: SumGeometry
    track: FloatArray  # (t, 2) binned pixels, mean zero
    at_rest: Array  # half spectra
    along_track: Array
    noise: FloatArray  # (rings,) power of a frame


@dataclass(frozen=True, eq=False)
class Evidence:
    """What each place says; maps (rows, columns) of cells."""

    difference: FloatArray  # log likelihood of a patch at rest less that along the track; telling waves count
    deviation: float  # of the difference by chance
    power_at_rest: FloatArray  # log likelihood of a patch at rest, up to a constant
    gain_of_motion: FloatArray  # log likelihood of a cell along the track less that at rest

    @property
    def in_deviations(self) -> FloatArray:
        return self.difference / max(self.deviation, 1e-6)

    @property
    def probability_of_rest(self) -> FloatArray:
        """Of each cell; where evidence varies by more than noise makes it vary, it counts less."""
        log_odds = self.difference / max(self.deviation, 1.0) - LOG_PRIOR_ODDS
        return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -30, 30))))


def local_evidence(kernels: Kernels, pair: SumPair) -> Evidence:
    """The evidence of each place for rest against motion along the track."""
    geometry, frame_count = pair.geometry, len(pair.track)
    noise, signal = pair.noise, np.zeros(len(geometry.count))
    standard_error = noise / frame_count / np.sqrt(np.maximum(geometry.count, 1) / 2)
    standard_error = np.where(geometry.count > 0, standard_error, np.inf)
    for spectrum in (pair.at_rest, pair.along_track):
        power = geometry.ring_mean(kernels.to_host(abs(spectrum) ** 2))
        shared = (power - frame_count * noise) / (frame_count**2 - frame_count)
        signal = np.maximum(signal, smooth_positive(shared, standard_error))
    noise = np.maximum(noise, 1e-30)
    weight = np.sqrt(signal / (noise * (noise + frame_count * signal)))[geometry.ring] * (geometry.multiplicity > 0)
    telling = weight * np.sqrt(np.maximum(1 - np.abs(geometry.mean_phase(pair.track)) ** 2, 0))
    height, width = geometry.image_shape
    cell_side = max(1, round(min(height, width) / CELLS_ACROSS))

    def cells(spectrum: Array, filter_values: FloatArray) -> FloatArray:
        """Sums of squares over cells; the total is the sum of the filtered power over a half plane."""
        filtered = spectrum * kernels.to_device(filter_values.astype(np.float32))
        image = kernels.irfft2(filtered, (height, width))
        rows, columns = height // cell_side, width // cell_side
        squares = image[: rows * cell_side, : columns * cell_side] ** 2
        squares = squares.reshape(rows, cell_side, columns, cell_side).sum(3).sum(1)
        return np.asarray(kernels.to_host(squares), float) * (height * width / 2)

    area = 4 * np.pi * PATCH_CELLS**2  # cells
    difference = cells(pair.at_rest, telling) - cells(pair.along_track, telling)
    difference = area * ndimage.gaussian_filter(difference, PATCH_CELLS)
    at_rest, along_track = cells(pair.at_rest, weight), cells(pair.along_track, weight)
    deviation = median_deviation(difference)
    power = area * ndimage.gaussian_filter(at_rest, PATCH_CELLS)
    return Evidence(difference, deviation, power, along_track - at_rest)


def median_deviation(values: FloatArray) -> float:
    """Robust standard deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def standing_cells(evidence: Evidence, some_are_known: bool) -> BoolArray:
    """Cells of places whose evidence for rest is beyond chance, and what belongs to them.

    Where one place is found, or ``some_are_known``, less evidence is asked for of others.
    """
    deviations = evidence.in_deviations
    seeds = [(deviations > limit) & (evidence.difference > SEED_EVIDENCE * limit) for limit in SEED_DEVIATIONS]
    if not (some_are_known or seeds[0].any()) or not seeds[1].any():
        return np.zeros(deviations.shape, bool)
    nearby = ndimage.maximum_filter(deviations, 2 * round(3 * PATCH_CELLS) + 1)
    label, _ = ndimage.label(deviations > np.maximum(GROWTH_DEVIATIONS, GROWTH_FRACTION * nearby))
    return np.asarray(np.isin(label, np.unique(label[seeds[1]])) & (label > 0))


def bounded_weights(evidence: Evidence) -> FloatArray:
    """Weights of cells that bound the influence of those that are much stronger at rest than most."""
    power = evidence.power_at_rest
    return np.asarray(np.minimum(np.median(power) / np.maximum(power, 1e-30), 1) ** 2)


def may_be_held(evidence: Evidence) -> bool:
    """Whether some places that are much stronger at rest than others may hold the track.

    They do if the motion does not explain them better than rest does. Dense specimen that moves is explained better.
    """
    power = evidence.power_at_rest
    strong = power > np.median(power) + STRONG_DEVIATIONS * median_deviation(power)
    if strong.mean() <= MIN_STRONG_SHARE:
        return False
    area = 4 * np.pi * PATCH_CELLS**2
    gain = area * ndimage.gaussian_filter(evidence.gain_of_motion, PATCH_CELLS)
    return bool(gain[strong].sum() < HELD_GAIN * power[strong].sum())


@dataclass(frozen=True, eq=False)
class CoarseFrames:
    """What is known of the frames after the coarse search."""

    binned: BinnedFrames
    band: LowBand  # without the pattern
    pattern: FixedPattern
    some_are_known: bool = False  # places that stand still were found before


def find_standing_places(
    kernels: Kernels, frames: CoarseFrames, track: FloatArray, aligned: AlignedSum, measure_track: TrackOfBand
) -> BoolArray | None:
    """Cells (rows, columns) of the frame that stand still while the rest moves; None where there are none.

    ``track``: (t, 2) binned pixels, the coarse track; ``aligned``: the sum of ``frames.band`` along it.
    """
    first_look = local_evidence(kernels, low_frequency_pair(kernels, frames.band, track, aligned))
    held = may_be_held(first_look)
    if not held and first_look.in_deviations.max() < POSSIBLE_DEVIATIONS:
        return None
    sums = FrameSums(kernels, frames.binned, frames.pattern)
    if not held:
        evidence = sums.evidence(track)
        if not standing_cells(evidence, frames.some_are_known).any():
            return None
        weights = 1 - evidence.probability_of_rest
    else:
        weights = bounded_weights(first_look)
    for _ in range(MAX_ITERATIONS):
        previous = track
        track = measure_track(weighted_band(kernels, frames.band, weights))
        evidence = sums.evidence(track)
        weights = 1 - evidence.probability_of_rest
        if evidence.in_deviations.max() < SEED_DEVIATIONS[1]:
            return None
        change = (track - track.mean(0)) - (previous - previous.mean(0))
        if np.sqrt((change**2).sum(1).mean()) < SETTLED_TRACK:
            break
    standing = standing_cells(evidence, frames.some_are_known)
    if not standing.any() or standing.mean() > MAX_STANDING_SHARE:
        return None
    rest = sums.evidence(track, ~ndimage.binary_dilation(standing))
    return standing if rest.gain_of_motion.sum() > GAIN_OF_MOTION else None


def low_frequency_pair(kernels: Kernels, band: LowBand, track: FloatArray, aligned: AlignedSum) -> SumPair:
    """Of whole frames at low frequencies."""
    geometry = sum_geometry(band.image_shape, band.frame_shape)
    spectra = band.spectra
    at_rest = sum(spectra[block].sum(0) for block in frame_blocks(len(spectra), kernels.frames_per_block))
    frame_power = geometry.ring_mean(kernels.to_host(aligned.frame_power)) / len(spectra)
    shared = geometry.ring_mean(kernels.to_host(abs(aligned.spectrum) ** 2)) / len(spectra) - frame_power
    noise = np.maximum(frame_power - np.maximum(shared, 0) / max(len(spectra) - 1, 1), 1e-3 * frame_power)
    return SumPair(geometry, track - track.mean(0), at_rest, aligned.spectrum, noise)


class FrameSums:
    """Sums of the binned frames at nearly all frequencies."""

    def __init__(self, kernels: Kernels, binned: BinnedFrames, pattern: FixedPattern) -> None:
        self.kernels, self.binned, self.pattern = kernels, binned, pattern
        self.reduction = max(1, round(min(binned.shape) / MAX_SUM_SIDE))
        height, width = (length // self.reduction // 2 * 2 for length in binned.shape)
        self.geometry = sum_geometry((height, width), (height * self.reduction, width * self.reduction))
        still = np.zeros((binned.n_frames, 2), int)
        signs = 1 - 2 * (np.arange(binned.n_frames) % 2)
        self.at_rest = self.spectrum_of_sum(still)
        alternating = kernels.to_host(abs(self.spectrum_of_sum(still, signs)) ** 2)
        self.noise = self.geometry.ring_mean(alternating) / binned.n_frames

    def evidence(self, track: FloatArray, used: BoolArray | None = None) -> Evidence:
        """The evidence of each place for rest against motion along ``track`` (t, 2), binned pixels.

        ``used``: (rows, columns) places that are compared; the others are zero in the sums.
        """
        centred = track - track.mean(0)
        offsets = np.rint(centred).astype(int)
        at_rest, along_track = self.at_rest, self.spectrum_of_sum(offsets)
        if self.pattern.fraction:
            removed = self.pattern.fraction * len(track)  # of the sum of equally strong frames
            phase = self.kernels.to_device((removed * self.geometry.mean_phase(offsets)).astype(np.complex64))
            at_rest, along_track = at_rest * np.float32(1 - removed), along_track - at_rest * phase
        noise = self.noise
        if used is not None:
            weights = resized(used.astype(float), self.geometry.image_shape)
            at_rest, along_track = self._weighted(at_rest, weights), self._weighted(along_track, weights)
            noise = noise * (weights**2).mean()
        return local_evidence(self.kernels, SumPair(self.geometry, centred, at_rest, along_track, noise))

    def _weighted(self, spectrum: Array, weights: FloatArray) -> Array:
        """Half spectrum of a sum times ``weights`` (h, w)."""
        image = self.kernels.irfft2(spectrum.copy(), self.geometry.image_shape)
        return self.kernels.rfft2(image * self.kernels.to_device(weights.astype(np.float32)))

    def spectrum_of_sum(self, offsets: IntArray, signs: IntArray | None = None) -> Array:
        """Half spectrum of the sum of the frames shifted back by ``offsets`` (t, 2), times ``signs`` (t,)."""
        stack, xp = self.binned.stack, array_namespace(self.binned.stack)
        frame_height, frame_width = self.binned.shape
        fits_16_bits = 128 * len(offsets) < 2**15
        total = xp.zeros((frame_height, frame_width), dtype=xp.int16 if fits_16_bits else xp.int32)
        for frame, (step_x, step_y) in enumerate(offsets):
            rows, source_rows = overlap(frame_height, int(step_y))
            columns, source_columns = overlap(frame_width, int(step_x))
            if signs is None or signs[frame] > 0:
                total[rows, columns] += stack[frame, source_rows, source_columns]
            else:
                total[rows, columns] -= stack[frame, source_rows, source_columns]
        (height, width), step = self.geometry.image_shape, self.reduction
        image = sum(
            total[row : height * step : step, column : width * step : step].astype(xp.float32)
            for row in range(step)
            for column in range(step)
        )
        return self.kernels.rfft2(image * np.float32(self.binned.scale))


def overlap(length: int, step: int) -> tuple[slice, slice]:
    """Where an axis of ``length`` meets itself displaced by ``step``: the places, and those they are read from."""
    step = max(-length, min(step, length))
    return slice(max(-step, 0), length - max(step, 0)), slice(max(step, 0), length - max(-step, 0))


def weighted_band(kernels: Kernels, band: LowBand, weights: FloatArray) -> LowBand:
    """Spectra of the frames times ``weights`` (rows, columns) of any size."""
    on_device = kernels.to_device(resized(weights, band.image_shape).astype(np.float32))
    columns, serial = band.spectra.shape[2], kernels.single_threaded()

    def weight_block(block: slice) -> Array:
        images = serial.irfft2(band.spectra[block].copy(), band.image_shape) * on_device
        return serial.rfft2(images, columns)

    spectra = kernels.parallel_map(weight_block, frame_blocks(len(band.spectra), kernels.frames_per_block))
    return replace(band, spectra=array_namespace(band.spectra).concat(spectra))


def resized(values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """A map of any size as one of ``shape`` (h, w), by bilinear interpolation."""
    zoom = shape[0] / values.shape[0], shape[1] / values.shape[1]
    enlarged = ndimage.zoom(np.asarray(values, float), zoom, order=1, mode="nearest", grid_mode=True)
    missing = [(0, max(length - have, 0)) for length, have in zip(shape, enlarged.shape, strict=True)]
    return np.asarray(np.pad(enlarged, missing, mode="edge")[: shape[0], : shape[1]])


def cells_to_pixels(cells: BoolArray, shape: tuple[int, int]) -> BoolArray:
    """A mask of cells as one of ``shape`` (h, w)."""
    rows, columns = (
        np.minimum(np.arange(length) * count // length, count - 1)
        for length, count in zip(shape, cells.shape, strict=True)
    )
    return np.asarray(cells[rows][:, columns])


def weights_without(weight_map: FloatArray, excluded: BoolArray, track: FloatArray, margin: int) -> FloatArray:
    """``weight_map`` (any size), zero at places that see an ``excluded`` one (h, w, binned) in any frame.

    The map follows the specimen: a place sees detector pixels displaced by ``track`` (t, 2). ``margin``: binned pixels
    by which these places are enlarged.
    """
    step = max(1, min(excluded.shape) // 512)
    rows, columns = (length // step * step for length in excluded.shape)
    small = np.asarray(excluded[:rows, :columns].reshape(rows // step, step, columns // step, step).any((1, 3)))
    seen: BoolArray = np.zeros(small.shape, bool)
    for step_x, step_y in np.unique(np.rint(track / step).astype(int), axis=0):
        down, source_rows = overlap(len(small), int(step_y))
        across, source_columns = overlap(small.shape[1], int(step_x))
        seen[down, across] |= small[source_rows, source_columns]
    size = 2 * max(1, round(margin / step)) + 1
    seen = np.asarray(ndimage.maximum_filter(seen, size))
    return np.asarray(resized(weight_map, (seen.shape[0], seen.shape[1])) * ~seen)
