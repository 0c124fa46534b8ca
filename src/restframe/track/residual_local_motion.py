"""What tiles do beyond the field: motion of each by itself, as much as the tiles show, for the stated error.

Local motion that the modes can't hold, and particles at other heights in ice that turns, move a tile otherwise than the
field. Each tile's own course in time has the prior of a mode (`prior.py`), independent from tile to tile; its two
scales are those with the highest evidence, with the field held where it is. Nothing of it is added to the field.
"""

from __future__ import annotations

import numpy as np

from restframe.track import fit as ft
from restframe.track.evidence import Trajectories, maximize_evidence
from restframe.track.prior import Prior

SPEED, ROUGHNESS = 0.03**2, 0.003**2  # A² a unit of time, and of its change: the usual scales
STEPS = 40  # of the search for the scales


def residual_local_motion(
    kernels, problem: ft.Problem, information: np.ndarray, slopes: np.ndarray, pixel: float
) -> float:
    """Sd of the tiles' own displacements, both axes together, rms over frames less the mean over time; small pixels.

    ``information`` (p, t, t) and ``slopes`` (p, t, 2) of the log likelihood by each tile's displacement at the field;
    ``pixel``: A in a small pixel.
    """
    time = problem.local_time
    b, tiles = time.values, len(slopes)
    rough = np.broadcast_to(time.rough, (tiles, len(time.rough)))
    courses = Trajectories(b.T @ information @ b, b.T @ slopes, rough, np.zeros(tiles, int))
    usual = Prior(np.array([SPEED]) / pixel**2, np.array([ROUGHNESS]) / pixel**2)
    found = Prior(*np.exp(maximize_evidence(kernels, courses, usual.logs(), usual.logs(), STEPS)[0]).T)
    return float(np.sqrt(2 * ((b - b.mean(0)) ** 2 / found.precision(0, time.rough)).sum() / len(b)))
