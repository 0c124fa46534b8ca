"""The prior of motion: smooth in time, and slower to change once the beam has been on for a while.

The amplitudes of each mode over time have a Gaussian prior with precision K1 / v1 + K2 / v2. K1 penalises speed, K2
penalises changes of speed (the roughness of the natural cubic spline, Green and Silverman 1994, section 2.1), both on a
time axis that is stretched where the specimen moves fast. The variances v1 and v2 are shared by the modes of one degree
and by both axes; they are learned from the data (`prior_scales.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import FloatArray


@dataclass(frozen=True)
class TimeAxis:
    """Time on which motion is equally smooth everywhere: the dose, stretched during the first e/A²."""

    stretch: float = 20.0  # e/A² of later exposure in which the specimen moves as much as in the early burst
    decay_dose: float = 2.5  # e/A² over which the early burst decays by a factor of e

    def stretched_time(self, dose: FloatArray) -> FloatArray:
        """(t,) from the dose in e/A² at the middle of each frame, counted from the first frame."""
        return np.asarray(dose + self.stretch * (1 - np.exp(-dose / self.decay_dose)))


DEFAULT_TIME_AXIS = TimeAxis()
TIME_AXES = (
    TimeAxis(0.0, 1.0),
    *(TimeAxis(stretch, decay_dose) for decay_dose in (1.2, 2.5, 5.0) for stretch in (8.0, 20.0, 50.0)),
)
"""The time axes among which the evidence chooses."""


def speed_penalty(times: FloatArray) -> FloatArray:
    """(t, t): x·K1·x is the integral of the squared slope of straight lines through x at ``times`` (t,)."""
    differences = np.diff(np.eye(len(times)), axis=0)
    return differences.T @ (differences / np.diff(times)[:, None])


def roughness_penalty(times: FloatArray) -> FloatArray:
    """(t, t): x·K2·x is the integral of the squared second derivative of the natural cubic spline through x.

    K2 = Q R⁻¹ Q' with the band matrices of Green and Silverman (1994), section 2.1.2. Fewer than three ``times`` (t,)
    give zero. `scipy.interpolate` makes the spline, but not this matrix.
    """
    count, intervals = len(times), np.diff(times)
    if count < 3:
        return np.zeros((count, count))
    second_differences = np.zeros((count, count - 2))  # Q
    overlaps = np.zeros((count - 2, count - 2))  # R
    for knot in range(count - 2):
        before, after = intervals[knot], intervals[knot + 1]
        second_differences[knot : knot + 3, knot] = 1 / before, -1 / before - 1 / after, 1 / after
        overlaps[knot, knot] = (before + after) / 3
        if knot + 1 < count - 2:
            overlaps[knot, knot + 1] = overlaps[knot + 1, knot] = after / 6
    return np.asarray(second_differences @ np.linalg.solve(overlaps, second_differences.T))


@dataclass(frozen=True, eq=False)
class Prior:
    """Variances by degree of the mode: of speed, px² per unit of time, and of changes of speed."""

    speed_variance: FloatArray  # (degrees,)
    roughness_variance: FloatArray  # (degrees,)

    def log_scales(self) -> FloatArray:
        """Logarithms of both variances, (degrees, 2)."""
        return np.asarray(np.log(np.stack([self.speed_variance, self.roughness_variance], axis=1)))

    @staticmethod
    def from_log_scales(log_scales: FloatArray) -> Prior:
        """The inverse of `log_scales`."""
        speed_variance, roughness_variance = np.exp(log_scales).T
        return Prior(speed_variance, roughness_variance)

    def precision(self, degree: int, roughness: FloatArray) -> FloatArray:
        """Of coefficients whose speed penalty is one and whose roughness penalty is ``roughness`` (n,)."""
        return np.asarray(1 / self.speed_variance[degree] + roughness / self.roughness_variance[degree])


def default_prior(pixel_size: float, highest_degree: int) -> Prior:
    """The prior before any data, for motion in pixels of ``pixel_size`` A.

    In 1 e/A² of late exposure the global motion has a standard deviation of 1 A, one mode of local motion 0.3 A; both
    change slowly.
    """
    local_modes = np.ones(highest_degree)
    speed_variance = np.append(1.0, 0.1 * local_modes) / pixel_size**2
    return Prior(speed_variance, np.append(0.003, 0.001 * local_modes) / pixel_size**2)
