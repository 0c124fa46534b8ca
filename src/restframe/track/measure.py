"""From small frames to the motion field: coarse search, whole frame, patches; what was decided is said."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from restframe import pages
from restframe.detector.binned import BinnedFrames
from restframe.optics import remaining_amplitude
from restframe.result import PatchShifts
from restframe.settings import Exposure, Motion
from restframe.track import fit as ft
from restframe.track import likelihood as lk
from restframe.track.blurred import attenuate_blurred_frames, blur_position_error
from restframe.track.field import HIGHEST_DEGREE, MotionField, legendre_values, modes_up_to
from restframe.track.groups import Groups
from restframe.track.patches import patch_shifts
from restframe.track.path import most_probable_path
from restframe.track.pattern import (
    FixedPattern,
    estimate_fixed_pattern,
    subtract_pattern_from_band,
    subtract_pattern_from_tiles,
)
from restframe.track.prior import TimeAxis, default_prior
from restframe.track.residual_local_motion import residual_local_motion
from restframe.track.select_degree import select_degree
from restframe.track.specimen import specimen_weight_map
from restframe.track.tiles import Tiles, make_tiles, tile_size
from restframe.track.whole_frame import CLEAR, COARSE_SIDE, REFERENCE_SIDE, estimate_coarse_shifts, low_frequency_band
from restframe.trajectory import intraframe_motion

OVERLAP = 1 / 8  # of neighbouring tiles
BAND = 0.8  # of the small frames' Nyquist frequency
WHOLE_FRAME_FIRST = 3  # rounds for the whole frame before those for local motion
TYPICAL_DOSE = 40.0  # e/A² of a movie whose dose is not known
TYPICAL_PIXEL = 1.0  # A, where none is given


@dataclass(frozen=True)
class Measured:
    field: MotionField
    patches: PatchShifts | None = None
    notes: tuple[str, ...] = ()
    numbers: dict[str, float] | None = None


def reference_frame(n: int, wanted: int) -> int:
    return n // 2 if wanted < 0 else min(wanted, n - 1)


def mid_dose(dose: np.ndarray, accumulated: np.ndarray) -> np.ndarray:
    """e/A² at the middle of each frame; a typical exposure evenly spread when it is not known."""
    if dose.sum() > 0:
        return accumulated - dose / 2
    n = len(dose)
    return (np.arange(n) + 0.5) * TYPICAL_DOSE / n


def exposures(levels: np.ndarray) -> np.ndarray:
    """How long each frame was exposed, (t,), of the mean; from the mean counts, none of which is taken to be zero."""
    if not levels.max() > 0:
        return np.ones(len(levels))
    return (np.maximum(levels, 1e-3 * levels.max()) / levels.mean()).astype(float)


def signal_amplitude(levels: np.ndarray, faded: np.ndarray | None, rings: int) -> np.ndarray:
    """(t, rings): amplitude of the signal in frames whose noise is one.

    Grows with the root of the counts, fades with damage ``faded``.
    """
    out = np.repeat(np.sqrt(exposures(levels))[:, None], rings, 1)
    return out if faded is None else out * faded


def measure(
    kernels,
    small: BinnedFrames,
    shape: tuple[int, int],
    levels,
    dose,
    accumulated,
    grouping: tuple[Groups, Groups],
    motion: Motion,
    exposure: Exposure,
) -> Measured:
    """``shape``: (h, w) of an unbinned frame; ``levels``: mean counts and doses in e/A², (t,); ``grouping``: frames
    aligned together, for the whole frame and for local motion.
    """
    t, factor = small.n_frames, small.factor
    reference = reference_frame(t, motion.reference)
    if t < 2:
        return Measured(MotionField.at_rest(t, shape), None, ("One frame: nothing to align.",))
    tolerance = motion.tolerance / factor
    pattern = estimate_fixed_pattern(kernels, small, exposures(levels))
    band = subtract_pattern_from_band(low_frequency_band(kernels, small, COARSE_SIDE), pattern, small.shape)
    bfactor, phase_only = motion.bfactor[0], motion.phase_only
    track, clear = estimate_coarse_shifts(kernels, band, small.shape, bfactor, motion.iterations, tolerance, phase_only)
    if clear.min() <= CLEAR:
        track = most_probable_path(kernels, band, small.shape, track)
    track -= track[reference]
    pixel = (exposure.pixel_size or TYPICAL_PIXEL) * factor
    weight = specimen_weight_map(kernels, band, small.shape, track, pixel)
    del band
    pages.trim_heap()

    problem = make_problem(
        kernels,
        small,
        pattern,
        track,
        weight,
        levels,
        mid_dose(dose, accumulated),
        dose.sum() > 0,
        reference,
        grouping,
        motion,
        exposure,
    )
    usual = default_prior(pixel, HIGHEST_DEGREE)
    nx, ny = motion.patches
    local = nx > 1 and ny > 1
    first = WHOLE_FRAME_FIRST if local else motion.iterations
    result = ft.fit(kernels, problem, usual, usual, track[None], first, tolerance / 2)
    if not local:
        field = MotionField(problem.modes, result.amplitudes * factor, shape, reference)
        return Measured(field, None, (), {"error_px": factor * result.error})

    across, down = (len(np.unique(c)) for c in problem.tiles.centres.T)
    modes = modes_up_to(min(nx, across) - 1, min(ny, down) - 1, HIGHEST_DEGREE)
    exposed, unblurred = exposures(levels), problem.amplitude
    moved = intraframe_motion(result.amplitudes[0], exposed.tolist())
    problem = attenuate_blurred_frames(kernels, with_modes(problem, modes, shape, motion), moved)
    rounds = motion.iterations, tolerance / 2
    result = ft.fit(kernels, problem, usual, result.prior, result.amplitudes, *rounds, True)
    problem = replace(problem, axis=result.axis)
    slopes = lk.gradient(kernels, result.likelihood, result.at)
    verdict = select_degree(problem, result, slopes)
    if verdict.degree < problem.degrees.max():
        modes = tuple(m for m in modes if sum(m) <= verdict.degree)
        problem = with_modes(problem, modes, shape, motion)
        result = ft.fit(kernels, problem, usual, result.prior, result.amplitudes[: len(modes)], 2, tolerance / 2)
        slopes = lk.gradient(kernels, result.likelihood, result.at)
    field = MotionField(modes, result.amplitudes * factor, shape, reference)
    information = kernels.to_host(result.likelihood.information)
    beyond = residual_local_motion(kernels, problem, information, slopes, pixel)
    when = blur_position_error(problem, result, unblurred, exposed)
    error = float(np.sqrt(result.error**2 + beyond**2 + when**2))
    numbers = {
        "error_px": factor * error,
        "own_motion_px": factor * beyond,
        "local_degree": float(verdict.degree),
        **verdict.numbers,
    }
    return Measured(
        field, patch_shifts(problem, information, slopes, field, motion.patches), (verdict.sentence,), numbers
    )


def make_problem(
    kernels,
    small: BinnedFrames,
    pattern: FixedPattern,
    track,
    where: np.ndarray,
    levels,
    when,
    known: bool,
    reference: int,
    grouping: tuple[Groups, Groups],
    motion: Motion,
    exposure: Exposure,
) -> ft.Problem:
    """Tiles that follow the coarse ``track`` (t, 2), and all that the fit of the whole frame needs.

    ``where``: how much each place counts; ``pattern``: what is fixed on the detector; ``when``: e/A² at mid-frame.
    """
    size = tile_size(min(small.shape))
    keep = int(BAND * size / 2)
    tiles = make_tiles(kernels, small, np.round(track).astype(int), where, size, OVERLAP, keep)
    subtract_pattern_from_tiles(kernels, tiles, pattern)
    pixel = exposure.pixel_size * small.factor
    faded = (
        remaining_amplitude(np.maximum(np.arange(keep + 1), 1) / (size * pixel), when, exposure.voltage).T
        if known and pixel > 0
        else None
    )
    amplitude = signal_amplitude(levels, faded, keep + 1)
    scale_tiles(kernels, tiles, amplitude)
    ring, weight = lk.ring_index(tiles), lk.half_plane(tiles)
    count = np.bincount(ring[ring >= 0], weight[ring >= 0], keep + 1)
    f = np.arange(keep + 1) / size * min(small.shape) / REFERENCE_SIDE
    damping = np.exp(-0.5 * motion.bfactor[0] * f**2) if motion.weights == "bfactor" else None
    return ft.Problem(
        tiles,
        ((0, 0),),
        np.ones((1, len(tiles.centres))),
        grouping,
        TimeAxis(),
        amplitude,
        ring,
        weight,
        count,
        f,
        when - when[0],
        reference,
        damping,
        pattern,
    )


def with_modes(problem: ft.Problem, modes, shape: tuple[int, int], motion: Motion) -> ft.Problem:
    """The same evidence, for a field of these modes."""
    damping = np.exp(-0.5 * motion.bfactor[1] * problem.frequency**2) if motion.weights == "bfactor" else None
    return replace(
        problem,
        modes=modes,
        basis=mode_tile_means(modes, problem.tiles, shape),
        damping=damping,
    )


def mode_tile_means(modes, tiles: Tiles, shape: tuple[int, int]) -> np.ndarray:
    """Each mode's mean over what each tile shows of motion, (modes, p)."""
    at = tiles.windows.corners * tiles.factor
    highest = max(max(m) for m in modes)
    x, y = (
        np.stack(legendre_values((2 * (centre[:, None] + at) + 1) / length - 1, highest))
        for centre, length in zip(tiles.centres.T, shape[::-1], strict=True)
    )
    means = np.einsum("bpi,pij,apj->abp", y, tiles.windows.weight, x, optimize=True)
    return np.stack([means[i, j] for i, j in modes])


def scale_tiles(kernels, tiles: Tiles, amplitude: np.ndarray) -> None:
    """Multiply spectra of unit noise by the signal's amplitude, in place: what the likelihood sums."""
    r = kernels.to_device(np.minimum(np.round(tiles.radius()).astype(int), tiles.band))
    kernels.scale_spectra(tiles.re, tiles.im, kernels.to_device(amplitude.astype(np.float32))[:, r])
