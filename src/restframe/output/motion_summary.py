"""What a motion field amounts to, in a few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restframe.arrays import FloatArray
from restframe.track.field import MotionField
from restframe.trajectory import intraframe_motion

EARLY_DOSE = 4.0  # e/A²: motion up to this accumulated dose is early motion, as RELION has it
GRID_POINTS = 9  # along each side, where local motion is looked at


@dataclass(frozen=True)
class AccumulatedMotion:
    """Length of the path of the global motion, as RELION defines rlnAccumMotionTotal, Early and Late.

    The path is the sum of the distances from each used frame to the next. A step counts as early where the dose
    accumulated by the end of its second frame is at most `EARLY_DOSE`. Early and late are None where no dose is known.
    """

    total: float
    early: float | None
    late: float | None
    average_per_frame: float  # total over the number of frames


def accumulated_motion(global_shifts: FloatArray, accumulated_dose: FloatArray) -> AccumulatedMotion:
    """``global_shifts``: (t, 2) in any unit, which is the result's too; ``accumulated_dose``: (t,) e/A² at the end of
    each frame, all 0 where it is unknown.
    """
    steps = np.hypot(*np.diff(global_shifts, axis=0).T)
    total = float(steps.sum())
    average = total / max(len(global_shifts), 1)
    if not np.any(accumulated_dose > 0):
        return AccumulatedMotion(total, None, None, average)
    is_early = accumulated_dose[1:] <= EARLY_DOSE * (1 + 1e-9)
    return AccumulatedMotion(total, float(steps[is_early].sum()), float(steps[~is_early].sum()), average)


def local_rms(field: MotionField) -> float:
    """Root mean square, over positions and frames, of the local motion less its mean over time; unbinned pixels."""
    local = _at_grid(field) - field.global_displacement()[:, None]
    local = local - local.mean(0)
    return float(np.sqrt((local**2).sum(-1).mean()))


def largest_intraframe_motion(field: MotionField, durations: Sequence[float]) -> float:
    """The farthest that any place of the specimen moves during one frame; unbinned pixels.

    ``durations``: of the frames, in any unit.
    """
    displacement = _at_grid(field)
    places = range(displacement.shape[1])
    return max(float(np.hypot(*intraframe_motion(displacement[:, place], durations).T).max()) for place in places)


def _at_grid(field: MotionField) -> FloatArray:
    """The displacement at places spread over the frame, (t, places, 2)."""
    height, width = field.shape
    rows, columns = np.linspace(0, height - 1, GRID_POINTS), np.linspace(0, width - 1, GRID_POINTS)
    x, y = (coordinate.ravel() for coordinate in np.meshgrid(columns, rows))
    return np.asarray(field(x, y))
