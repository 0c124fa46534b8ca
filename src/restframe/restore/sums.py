"""All sums of a plan, with as little in memory at a time as possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import FloatArray
from restframe.detector.calibration import Calibration
from restframe.movie import RawFrames
from restframe.restore.dose import Plan
from restframe.restore.fourier import accumulate_spectra, empty_spectrum, finish_spectra
from restframe.restore.gather import ResamplingMap, gather

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels


def make_sums(
    kernels: Kernels, raw: RawFrames, calibration: Calibration, resampling: ResamplingMap, plan: Plan
) -> dict[str, FloatArray]:
    """The sums of ``plan`` by name, (h, w) float32, as `fourier.finish_images` returns them. Releases the raw frames.

    The running images of one group of frames are made and transformed before those of the next one, and the frames are
    released group by group, unless the device has room for all at once.
    """
    sizes = resampling.sizes
    totals = {name: empty_spectrum(kernels, sizes) for name in plan.combinations}
    all_images = slice(0, len(plan.coefficients))
    for group in plan.groups if raw.supports_frame_groups else (all_images,):
        coefficients = plan.coefficients[group]
        images = gather(kernels, raw, calibration, resampling, coefficients)
        raw.release_frames(np.flatnonzero(coefficients.any(0)))
        if group.stop == len(plan.coefficients):
            raw.release()  # the last step needs the room
        accumulate_spectra(kernels, totals, images, group.start, plan, sizes)
        del images
    return finish_spectra(kernels, totals, resampling.spec(plan, calibration))
