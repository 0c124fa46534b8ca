"""What tiles do beyond the field: motion of each by itself, as much as the tiles show, for the stated error.

Local motion that the modes can't hold, and particles at other heights in ice that turns, move a tile otherwise than the
field. Each tile's own course in time has the prior of a mode (`prior.py`), independent from tile to tile; its two
scales are those with the highest evidence, with the field held where it is. Nothing of it is added to the field.
"""

from __future__ import annotations

import numpy as np

from restframe.track import fit as ft
from restframe.track.evidence import best_scales, turned

SPEED, ROUGHNESS = 0.1**2, 0.01**2  # A² a unit of time, and of its change: the usual scales
STEPS = 40  # of the search for the scales


def own_motion(problem: ft.Problem, information: np.ndarray, slopes: np.ndarray, pixel: float) -> float:
    """Sd of the tiles' own displacements, both axes together, rms over frames less the mean over time; small pixels.

    ``information`` (p, t, t) and ``slopes`` (p, t, 2) of the log likelihood by each tile's displacement at the field;
    ``pixel``: A in a small pixel.
    """
    time = ft.time_basis(problem.dose, problem.axis, problem.reference, problem.groups[1])
    b = time.values
    tiles = turned(time, b.T @ information @ b, b.T @ slopes, np.zeros(len(slopes), int))
    usual = np.log([[SPEED / pixel**2, ROUGHNESS / pixel**2]])
    (speed, roughness), *_ = np.exp(best_scales(tiles, usual, usual, STEPS)[0])
    rough, turn = time.turn
    values = b @ turn
    variance = (values - values.mean(0)) ** 2 / (1 / speed + rough / roughness)
    return float(np.sqrt(2 * variance.sum() / len(values)))
