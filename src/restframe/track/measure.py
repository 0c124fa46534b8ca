"""From small frames to the motion field: coarse search, whole frame, patches; what was decided is said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.restore.dose import damage
from restframe.settings import Exposure, Motion
from restframe.track import fit as ft
from restframe.track import likelihood as lk
from restframe.track.field import MotionField, mode_values, modes_up_to
from restframe.track.prior import Prior, motion_time
from restframe.track.tiles import SmallFrames, Tiles, make_tiles, taper
from restframe.track.whole_frame import COARSE_SIDE, coarse_track, low_band

TILE = 256  # small pixels a side
OVERLAP = 0.25
BAND = 0.8  # of the small frames' Nyquist frequency
HIGHEST_DEGREE = 4
TYPICAL_DOSE = 40.0  # e/A² of a movie whose dose is not known


@dataclass(frozen=True)
class Measured:
    field: MotionField
    fit: ft.Fit | None
    problem: ft.Problem | None
    notes: tuple[str, ...]
    numbers: dict[str, float]


def reference_frame(n: int, wanted: int) -> int:
    return n // 2 if wanted < 0 else min(wanted, n - 1)


def mid_dose(exposure: Exposure, accumulated: np.ndarray, dose: np.ndarray) -> np.ndarray:
    """e/A² at the middle of each frame, from the start of the exposure; a typical one when it is not known."""
    if dose.sum() > 0:
        return accumulated - dose / 2
    n = len(dose)
    return (np.arange(n) + 0.5) * TYPICAL_DOSE / n


def signal_amplitude(dose: np.ndarray, levels: np.ndarray, known: bool, pixel_size: float, kv: float, size: int, rings: int) -> np.ndarray:
    """(t, rings): amplitude of the signal in frames whose noise is one. Grows with the root of the counts, fades with damage."""
    counts = np.sqrt(np.maximum(levels, 1e-6 * levels.max()) / levels.mean()) if levels.max() > 0 else np.ones(len(levels))
    out = np.repeat(counts[:, None], rings, 1)
    if known and pixel_size > 0:
        out = out * damage(np.maximum(np.arange(rings), 1) / (size * pixel_size), dose, kv).T
    return out


def measure(
    kernels, small: SmallFrames, shape: tuple[int, int], levels, dose, accumulated, motion: Motion, exposure: Exposure, threads: int
) -> Measured:
    """``shape``: (h, w) of an unbinned frame; ``levels``: mean counts and doses in e/A², (t,)."""
    t, factor = small.n_frames, small.factor
    reference = reference_frame(t, motion.reference)
    if t < 2:
        return Measured(MotionField.at_rest(t, shape), None, None, ("One frame: nothing to align.",), {})
    tolerance = motion.tolerance / factor
    side = small.shape
    band = low_band((small.frame(i) for i in range(t)), COARSE_SIDE, threads)
    track = coarse_track(band, side, motion.bfactor[0], motion.iterations, tolerance, motion.phase_only, threads)
    track -= track[reference]

    size = min(TILE, 2 * (min(side) // 2))
    keep = int(BAND * size / 2)
    tiles = make_tiles(small, np.round(track).astype(int), size, OVERLAP, keep, threads)
    when = mid_dose(exposure, accumulated, dose)
    known = bool(dose.sum() > 0)
    amplitude = signal_amplitude(when, levels, known, exposure.pixel_size * factor, exposure.voltage, size, keep + 1)
    scale_tiles(tiles, amplitude)
    ring = lk.ring_index(tiles)
    weight = lk.half_plane(tiles) * float((taper(size, OVERLAP) ** 2).mean()) ** 2
    count = np.bincount(ring[ring >= 0], weight[ring >= 0], keep + 1)
    s = motion_time(when - when[0])
    times = tuple(ft.time_basis(s, reference, g) for g in motion.group)

    def problem(modes):
        basis = mode_values(modes, tiles.centres[:, 0], tiles.centres[:, 1], shape[1], shape[0])
        degrees = np.array([sum(m) for m in modes])
        return ft.Problem(tiles, basis, degrees, tuple(times[min(d, 1)] for d in degrees), amplitude, ring, weight, count)

    pixel = exposure.pixel_size * factor if exposure.pixel_size > 0 else 1.5 * factor
    usual = Prior(np.array([1.0] + [0.1] * HIGHEST_DEGREE) / pixel**2, np.array([0.003] + [0.001] * HIGHEST_DEGREE) / pixel**2)
    modes: tuple[tuple[int, int], ...] = ((0, 0),)
    now = problem(modes)
    result = ft.fit(kernels, now, usual, usual, track[None], motion.iterations, tolerance / 2)
    nx, ny = motion.patches
    if nx > 1 and ny > 1:
        modes = modes_up_to(nx - 1, ny - 1, HIGHEST_DEGREE)
        now = problem(modes)
        result = ft.fit(kernels, now, usual, result.prior, result.amplitudes, motion.iterations, tolerance / 2)
    field = MotionField(modes, result.amplitudes * factor, shape, reference)
    return Measured(field, result, now, (), {"error_px": factor * stated_error(now, result)})


def scale_tiles(tiles: Tiles, amplitude: np.ndarray) -> None:
    """Multiply spectra of unit noise by the signal's amplitude, in place: what the likelihood sums."""
    r = np.minimum(np.round(tiles.radius()).astype(int), tiles.band)
    table = amplitude[:, r].astype(np.float32)
    for part in (tiles.re, tiles.im):
        part *= table[None]


def stated_error(problem: ft.Problem, result: ft.Fit) -> float:
    """Posterior sd of the displacement, both axes together, rms over tiles and frames less the mean over time; small pixels."""
    values = [b.values - b.values.mean(0) for b in problem.time]
    total = 0.0
    for m, a in enumerate(problem.slices):
        for n, b in enumerate(problem.slices):
            overlap = float(np.mean(problem.basis[m] * problem.basis[n]))
            total += overlap * float(np.sum((values[m] @ result.covariance[a, b]) * values[n]))
    return float(np.sqrt(2 * total / len(values[0])))
