"""The frames of a movie, as motion is measured on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import FloatArray
from restframe.detector.binned import BinnedFrames
from restframe.track.groups import Groups

TYPICAL_DOSE = 40.0  # e/A² of a movie whose dose is not known
SMALLEST_STEP = 1e-3  # of the mean step in dose from frame to frame: where one is smaller, doses do not tell the time
LOWEST_EXPOSURE = 1e-3  # of the longest: no frame is taken to have none


@dataclass(frozen=True, eq=False)
class FrameSeries:
    """The binned frames of a movie, and what is known about the exposure of each."""

    binned: BinnedFrames
    shape: tuple[int, int]  # (h, w) of an unbinned frame
    mean_counts: FloatArray  # (t,) per unbinned pixel
    dose: FloatArray  # (t,) e/A² received during each frame; zeros: not known
    accumulated_dose: FloatArray  # (t,) e/A² received until the end of each frame
    global_groups: Groups  # frames aligned together: global motion
    local_groups: Groups  # the same for local motion

    @property
    def frame_count(self) -> int:
        return self.binned.n_frames

    @property
    def dose_is_known(self) -> bool:
        return bool(self.dose.sum() > 0)

    def reference_frame(self, requested: int) -> int:
        """As `reference_frame`, of these frames."""
        return reference_frame(self.frame_count, requested)

    def mid_dose(self) -> FloatArray:
        """Dose in e/A² at the middle of each frame, (t,); a typical one, evenly spread, where it is not known.

        It grows from frame to frame, as time does: where some frames have no dose, it is evenly spread, too.
        """
        if self.dose_is_known:
            mid_dose = np.asarray(self.accumulated_dose - self.dose / 2)
            steps = np.diff(mid_dose)
            if not len(steps) or steps.min() > SMALLEST_STEP * steps.mean():
                return mid_dose
            first, last = self.accumulated_dose[0] - self.dose[0], self.accumulated_dose[-1]
            return np.asarray(first + (np.arange(self.frame_count) + 0.5) * (last - first) / self.frame_count)
        return np.asarray((np.arange(self.frame_count) + 0.5) * TYPICAL_DOSE / self.frame_count)

    def relative_exposures(self) -> FloatArray:
        """How long each frame was exposed relative to the mean, (t,), from its mean count."""
        if not self.mean_counts.max() > 0:
            return np.ones(len(self.mean_counts))
        counts = np.maximum(self.mean_counts, LOWEST_EXPOSURE * self.mean_counts.max())
        return np.asarray(counts / self.mean_counts.mean()).astype(float)


def reference_frame(frame_count: int, requested: int) -> int:
    """The frame whose displacement is zero: as requested, but not after the last; below 0: the middle one."""
    return frame_count // 2 if requested < 0 else min(requested, frame_count - 1)
