"""What is believed about motion before looking: smooth in time, slower to change once the beam has been on for a while.

Each mode's amplitudes over time have a Gaussian prior with precision K1 / v1 + K2 / v2: K1 penalises speed, K2
changes of speed (the natural cubic spline's roughness, Green & Silverman 1994, section 2.1), both on a time axis
stretched where the specimen moves fast.
v1 and v2, shared by the modes of one degree and both axes, are learned from the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TimeAxis:
    """Time in which motion is equally smooth everywhere: dose, stretched while the beam's first burst lasts."""

    stretch: float = 20.0  # e/A² of quiet time that the burst is worth
    early: float = 2.5  # e/A² over which it dies away

    def of(self, dose: np.ndarray) -> np.ndarray:
        """(t,) from e/A² at the middle of each frame, counted from the first."""
        return dose + self.stretch * (1 - np.exp(-dose / self.early))


# the evidence chooses among these
AXES = (TimeAxis(0.0, 1.0), *(TimeAxis(s, e) for e in (1.2, 2.5, 5.0) for s in (8.0, 20.0, 50.0)))


def speed_penalty(s: np.ndarray) -> np.ndarray:
    d = np.diff(np.eye(len(s)), axis=0)
    return d.T @ (d / np.diff(s)[:, None])


def roughness_penalty(s: np.ndarray) -> np.ndarray:
    n, h = len(s), np.diff(s)
    if n < 3:
        return np.zeros((n, n))
    q = np.zeros((n, n - 2))
    r = np.zeros((n - 2, n - 2))
    for j in range(n - 2):
        q[j : j + 3, j] = 1 / h[j], -1 / h[j] - 1 / h[j + 1], 1 / h[j + 1]
        r[j, j] = (h[j] + h[j + 1]) / 3
        if j + 1 < n - 2:
            r[j, j + 1] = r[j + 1, j] = h[j + 1] / 6
    return q @ np.linalg.solve(r, q.T)


@dataclass(frozen=True)
class Prior:
    """Variances by degree of the mode: of speed, px² a unit of time, and of its change."""

    speed: np.ndarray  # (degrees,)
    roughness: np.ndarray  # (degrees,)

    def logs(self) -> np.ndarray:
        """(degrees, 2)"""
        return np.log(np.stack([self.speed, self.roughness], axis=1))

    def precision(self, degree: int, rough: np.ndarray) -> np.ndarray:
        """Of coefficients whose speed penalty is one and whose roughness penalty is ``rough``."""
        return 1 / self.speed[degree] + rough / self.roughness[degree]


def default_prior(pixel: float, highest_degree: int) -> Prior:
    """Scales before any data, for ``pixel`` A: whole-frame drift of 1 A, local motion of 0.3 A (sd of one mode) in 1
    e/A² of quiet time, both changing slowly.
    """
    local = np.ones(highest_degree)
    return Prior(np.append(1.0, 0.1 * local) / pixel**2, np.append(0.003, 0.001 * local) / pixel**2)
