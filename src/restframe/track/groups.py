"""Frames that are aligned together (-Group): consecutive ones that hold as much as so many of the weakest."""

from __future__ import annotations

import numpy as np

Groups = tuple[int, ...]  # the first frame of each group


def groups(weight: np.ndarray, least: int) -> Groups:
    """Consecutive groups of at least ``least`` times the smallest ``weight`` (t,); the last one may hold less.

    Equal weights give groups of ``least`` frames. Frames too few for two such groups are halved: one group alone says
    nothing about motion.
    """
    t = len(weight)
    enough = least * float(np.min(weight)) * (1 - 1e-6)  # sums of doses are not exact
    if t > 1 and float(np.sum(weight)) < 2 * enough:
        return (0, t - t // 2)
    starts, held = [0], float(weight[0])
    for i in range(1, t):
        if held >= enough:
            starts.append(i)
            held = 0.0
        held += float(weight[i])
    return tuple(starts)
