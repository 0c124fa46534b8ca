"""Motion during a frame blurs it: what that leaves of each frequency, and sums in which it counts by that."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from restframe.detector.calibration import Calibration
from restframe.movie import RawFrames
from restframe.restore.dose import Plan
from restframe.restore.fourier import (
    GRID,
    Frequencies,
    empty_spectrum,
    finish_spectra,
    frequencies,
    sample_steps,
)
from restframe.restore.gather import ResamplingMap, gather_groups


def travel(positions: np.ndarray, durations: Sequence[float]) -> np.ndarray:
    """How far the specimen moves during each frame, (t, 2), from its mean positions in all of them, (t, 2).

    Duration times the slope of the parabola through a frame and its neighbours; at both ends it is the parabola of the
    three nearest frames, as motion is fastest there. ``durations``: in any unit. Zero for a single frame.
    """
    length = np.asarray(durations, float)
    if len(length) < 2:
        return np.zeros_like(positions)
    middle = np.cumsum(length) - length / 2
    slope = np.gradient(positions, middle, axis=0, edge_order=2 if len(length) > 2 else 1)
    return np.asarray(slope) * length[:, None]


def blur(moved: np.ndarray, at: Frequencies) -> np.ndarray:
    """sin(k·v/2) / (k·v/2): what steady motion by v leaves of frequency k. ``moved``: (t, 2) pixels -> (t, *GRID)."""
    return np.stack([np.broadcast_to(np.sinc((at.kx * x + at.ky * y) / (2 * np.pi)), GRID) for x, y in moved])


def blur_weighted_sums(
    kernels, raw: RawFrames, calibration: Calibration, way: ResamplingMap, plan: Plan, moved: np.ndarray
) -> dict[str, np.ndarray]:
    """The sums of ``plan``, each frame with its weights times what its blur left: the best ratio of signal to noise.

    Frames are transformed one by one, as no few running images hold weights that depend on direction. Sums are divided
    by sqrt(sum w² b² / sum w²), so the noise is as flat as without, and no frequency is lost that a frame has left.
    """
    size, at = way.size, frequencies(way.place, way.size)
    left = blur(moved, at)
    all_ones, steps = np.ones(2, np.float32), sample_steps(plan.q[[0, -1]], size)
    totals = {s.name: empty_spectrum(kernels, size) for s in plan.sums}
    for part, image in gather_groups(kernels, raw, calibration, way, 1):
        t = part.start
        spectrum = empty_spectrum(kernels, size)  # cropped
        kernels.add_weighted_spectrum(spectrum, kernels.rfft2(image), all_ones, steps)
        kernels.multiply_interpolated(spectrum, left[t].astype(np.complex64))
        for s in plan.sums:
            if s.part[t]:
                weights = s.whole[:, t].astype(np.float32)
                kernels.add_weighted_spectrum(totals[s.name], spectrum, weights, sample_steps(plan.q, size))
    levels = calibration.mean_counts.astype(np.float64)
    return finish_spectra(kernels, totals, plan, way.counts, levels, way.place, size, left)
