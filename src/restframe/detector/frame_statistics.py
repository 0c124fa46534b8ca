"""Standard deviation of a frame, and the counts above which a pixel of one frame is taken for a cosmic ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, FloatArray
from restframe.detector.calibration import Calibration
from restframe.detector.defects import (
    counts_per_electron,
)

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels


OUTLIER_DEVIATIONS = 20.0  # standard deviations of the pixels of one frame: higher counts come from cosmic rays
SAMPLE_STEP = 7  # every so many pixels are used for the standard deviation of a frame
KEPT_QUANTILE = 0.999  # of a frame's pixels, for its standard deviation
MIN_DEVIATION_ELECTRONS = 0.25  # smallest standard deviation of sparse frames


def frame_standard_deviation(kernels: Kernels, frames: Array, calibration: Calibration) -> float:
    """Standard deviation of the corrected counts of the first of ``frames`` (t, h, w), without its highest thousandth.

    In sparse frames it is at least a quarter of an electron, so that a few electrons in one pixel are no outlier.
    """
    sample = kernels.corrected_frame(frames, calibration, 0).ravel()[::SAMPLE_STEP]
    xp = array_namespace(sample)
    (highest,) = kernels.order_statistics(sample, (int(KEPT_QUANTILE * (sample.size - 1)),))
    deviation = kernels.standard_deviation(sample[sample <= highest])
    none_bad = xp.zeros(sample.shape, dtype=bool)
    electron = counts_per_electron(kernels, sample + calibration.mean_counts[0], none_bad)
    return max(deviation, MIN_DEVIATION_ELECTRONS * electron)


def outlier_limits(mean_counts: FloatArray, reference_mean: float, reference_deviation: float) -> FloatArray:
    """Corrected counts (t,) above which a pixel of one frame is taken for a cosmic ray.

    mean + 20 standard deviations, where the standard deviation is ``reference_deviation`` in a frame of mean
    ``reference_mean`` and grows with the square root of the mean above that.
    """
    relative_mean = np.maximum(mean_counts / max(reference_mean, 1e-6), 1)
    limits: FloatArray = mean_counts + OUTLIER_DEVIATIONS * reference_deviation * np.sqrt(relative_mean)
    return limits.astype(np.float32)
