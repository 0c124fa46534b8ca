"""Motion during a frame blurs it: the loss at each frequency, and sums that weight frames by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import FloatArray
from restframe.detector.calibration import Calibration
from restframe.movie import RawFrames
from restframe.restore.dose import Plan
from restframe.restore.fourier import (
    GRID_SHAPE,
    FrequencyGrid,
    empty_spectrum,
    finish_spectra,
    make_frequency_grid,
    samples_per_pixel,
)
from restframe.restore.gather import ResamplingMap, gather_groups

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels


def blur_factors(moved: FloatArray, grid: FrequencyGrid) -> FloatArray:
    """sin(k·v/2) / (k·v/2): the factor by which steady motion by v during a frame reduces the amplitude at frequency k.

    ``moved``: v of each frame, (t, 2) in pixels, x first. Returns (t, *GRID_SHAPE).
    """
    by_frame = (np.sinc((grid.kx * x + grid.ky * y) / (2 * np.pi)) for x, y in moved)
    return np.stack([np.broadcast_to(factors, GRID_SHAPE) for factors in by_frame])


def blur_weighted_sums(
    kernels: Kernels,
    raw: RawFrames,
    calibration: Calibration,
    resampling: ResamplingMap,
    plan: Plan,
    moved: FloatArray,
) -> dict[str, FloatArray]:
    """The sums of ``plan`` by name, (h, w) float32, each frame multiplied by its weights and its blur factors.

    ``moved``: (t, 2) motion during each frame, in pixels. With weights w and blur factors b, these are the weights w b
    of the best ratio of signal to noise. Sums are divided by sqrt(sum w² b² / sum w²), so the noise is as flat as
    without blur factors, and no frequency is lost that one of the frames has kept. Frames are transformed one by one,
    as a few running images cannot hold weights that depend on direction.
    """
    sizes = resampling.sizes
    factors = blur_factors(moved, make_frequency_grid(resampling.placement, sizes))
    unweighted, crop_steps = np.ones(2, np.float32), samples_per_pixel(plan.frequencies[[0, -1]], sizes)
    weight_steps = samples_per_pixel(plan.frequencies, sizes)
    totals = {wanted.name: empty_spectrum(kernels, sizes) for wanted in plan.sums}
    for part, image in gather_groups(kernels, raw, calibration, resampling, 1):
        frame = part.start
        spectrum = empty_spectrum(kernels, sizes)
        kernels.add_weighted_spectrum(spectrum, kernels.rfft2(image), unweighted, crop_steps)  # crops
        kernels.multiply_interpolated(spectrum, factors[frame].astype(np.complex64))
        for wanted in plan.sums:
            if wanted.frames[frame]:
                weights = wanted.whole_weights[:, frame].astype(np.float32)
                kernels.add_weighted_spectrum(totals[wanted.name], spectrum, weights, weight_steps)
    return finish_spectra(kernels, totals, resampling.spec(plan, calibration), factors)
