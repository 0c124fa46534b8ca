"""Formulas for a trajectory, the positions of the specimen in all frames, that measuring and correcting share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from restframe.arrays import FloatArray


def intraframe_motion(positions: FloatArray, durations: Sequence[float]) -> FloatArray:
    """How far the specimen moves during each frame, from its mean position in every frame.

    ``positions``: (t, n), n = 2 for one place, in any unit of length; ``durations``: (t,) of the frames, in any unit.
    Returns (t, n) in the unit of ``positions``: the duration of a frame times the slope, in its middle, of the parabola
    through its position and those of its neighbours. The first and last frame have the parabola of the three nearest
    frames. Two frames have a straight line, a single frame does not move.

    Example: ``intraframe_motion(np.array([[0.0, 0.0], [3.0, 0.0]]), [1, 1])`` is ``[[3, 0], [3, 0]]``.
    """
    frame_durations = np.asarray(durations, float)
    if len(frame_durations) < 2:
        return np.zeros_like(positions)
    middle_times = np.cumsum(frame_durations) - frame_durations / 2
    slope = np.gradient(positions, middle_times, axis=0, edge_order=2 if len(frame_durations) > 2 else 1)
    return np.asarray(slope * frame_durations[:, None])
