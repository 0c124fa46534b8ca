"""Consecutive frames that are aligned together (-Group)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from restframe.arrays import AnyArray

Groups: TypeAlias = tuple[int, ...]
"""The first frame of each group."""


def group_frames(weight: AnyArray, minimum_size: int) -> Groups:
    """Consecutive groups whose ``weight`` (t,) is at least ``minimum_size`` times the smallest weight of a frame.

    The last group may have less. Equal weights give groups of ``minimum_size`` frames. Frames that are too few for two
    such groups are halved: one group alone has no motion to measure.

    Example: ``group_frames(np.ones(11), 4)`` is ``(0, 4, 8)``.
    """
    frame_count = len(weight)
    minimum_weight = minimum_size * float(np.min(weight)) * (1 - 1e-6)  # sums of doses are not exact
    if frame_count > 1 and float(np.sum(weight)) < 2 * minimum_weight:
        return (0, frame_count - frame_count // 2)
    first_frames, group_weight = [0], float(weight[0])
    for frame in range(1, frame_count):
        if group_weight >= minimum_weight:
            first_frames.append(frame)
            group_weight = 0.0
        group_weight += float(weight[frame])
    return tuple(first_frames)
