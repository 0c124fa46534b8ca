"""Corrected frames, one or some to an image, made one after the other so that any number takes no more memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from restframe.detector.calibration import Calibration
from restframe.movie import RawFrames
from restframe.restore.dose import unweighted_plan
from restframe.restore.fourier import finish
from restframe.restore.gather import ResamplingMap, gather_groups


def corrected_frame_groups(
    kernels, raw: RawFrames, calibration: Calibration, way: ResamplingMap, group: int
) -> Iterator[np.ndarray]:
    """Sums of ``group`` corrected frames that follow each other, (h, w) float32, in the units of the plain sum.

    The kernel's transfer is undone for each image by itself, so that all have flat noise.
    """
    for part, image in gather_groups(kernels, raw, calibration, way, group):
        plan, levels = unweighted_plan(part.stop - part.start), calibration.mean_counts[part].astype(np.float64)
        yield finish(kernels, image[None], plan, way.counts[part], levels, way.place, way.size)["sum"]
