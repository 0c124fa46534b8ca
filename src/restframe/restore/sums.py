"""All sums of a plan, with no more in memory at a time than it takes."""

from __future__ import annotations

import numpy as np

from restframe.detector.calibration import Calibration
from restframe.movie import RawFrames
from restframe.restore.dose import Plan
from restframe.restore.fourier import accumulate_spectra, empty_spectrum, finish_spectra
from restframe.restore.gather import ResamplingMap, gather


def make_sums(
    kernels, raw: RawFrames, calibration: Calibration, way: ResamplingMap, plan: Plan
) -> dict[str, np.ndarray]:
    """The sums of ``plan`` by name, (h, w) float32, as `fourier.finish` gives them. The frames are given back.

    The running images of one group of frames are made and transformed before those of the next, and frames are given
    back group by group, unless the device has room for all at once.
    """
    size = way.size
    totals = {name: empty_spectrum(kernels, size) for name in plan.combine}
    for rows in plan.groups if raw.apart else (slice(0, len(plan.coefficients)),):
        images = gather(kernels, raw, calibration, way, plan.coefficients[rows])
        raw.give_back(np.flatnonzero(plan.coefficients[rows].any(0)))
        if rows.stop == len(plan.coefficients):
            raw.forget()  # the last step needs the room
        accumulate_spectra(kernels, totals, images, rows.start, plan, size)
        del images
    levels = calibration.mean_counts.astype(np.float64)
    return finish_spectra(kernels, totals, plan, way.counts, levels, way.place, size)
