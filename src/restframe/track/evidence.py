"""How well the scales of a prior explain the data (the evidence), and the scales that do so best.

The trajectory of a mode, or of a single tile, has coefficients whose prior precision is diagonal, whatever the scales
(`time_basis.TimeBasis`). The evidence of each trajectory is taken with the others fixed: products of Legendre
polynomials are nearly orthogonal on the tiles, so the scales that follow give motion as good (docs/accuracy.md). Fast
changes in time are determined by the prior; for these, the information about two coefficients together is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from restframe.arrays import Array, FloatArray, IntArray
from restframe.kernels.interface import Kernels

NEGLIGIBLE_INFORMATION = 1e-3  # of the prior's precision: coefficients with less are independent of the others
LOG_SCALE_SD = 2.0  # standard deviation of the log of a scale about its default
LONGEST_STEP = 2.0  # of a log scale
CONVERGED_STEP = 0.03  # of log scales: smaller steps no longer matter
MIN_CURVATURE = 0.1  # of Fisher's information: Newton's step needs as much curvature


@dataclass(frozen=True, eq=False)
class Evidence:
    """Log evidence and its derivatives by the logs of the two scales, for each of g pairs of scales."""

    value: FloatArray  # (g,)
    slope: FloatArray  # (g, 2)
    curvature: FloatArray  # (g, 2, 2) minus the second derivatives
    information: FloatArray  # (g, 2, 2) expectation of the curvature


@dataclass(frozen=True, eq=False)
class Trajectories:
    """m trajectories in time with the log likelihood linear·x - x·information·x / 2 for each axis."""

    information: Array  # (m, n, n)
    linear: Array  # (m, n, 2)
    roughness: FloatArray  # (m, n) as in `TimeBasis`
    scale_index: IntArray  # (m,) which of the g pairs of scales each has, ascending

    @property
    def scale_count(self) -> int:
        """The number g of pairs of scales."""
        return int(self.scale_index[-1]) + 1

    @property
    def length(self) -> int:
        """The number n of coefficients."""
        return int(self.roughness.shape[1])

    def on_device(self, kernels: Kernels) -> Trajectories:
        """The same, with the log likelihood on the device."""
        information, linear = kernels.trajectories_to_device(self.information, self.linear)
        return replace(self, information=information, linear=linear)

    def evidence(self, kernels: Kernels, log_scales: FloatArray) -> Evidence:
        """For the prior's variances of speed and roughness, ``log_scales`` (g, 2).

        Laplace's approximation, exact for a Gaussian; `kernels.reference.log_evidence` has the formulas. Raises
        LinAlgError where the posterior precision is not positive definite.
        """
        speed_precision, roughness_precision = np.exp(-log_scales[self.scale_index]).T[..., None]
        precisions = np.stack(
            [np.broadcast_to(speed_precision, self.roughness.shape), self.roughness * roughness_precision], axis=1
        )  # (m, 2, n)
        derivatives = kernels.log_evidence(self.information, self.linear, precisions, NEGLIGIBLE_INFORMATION)
        first_of_pair = np.flatnonzero(np.diff(self.scale_index, prepend=-1))
        return Evidence(*(np.add.reduceat(values, first_of_pair) for values in derivatives))


def maximize_evidence(
    kernels: Kernels, trajectories: Trajectories, start: FloatArray, defaults: FloatArray, iterations: int
) -> tuple[FloatArray, FloatArray]:
    """Log scales with the highest evidence, (g, 2), within about an order of magnitude of ``defaults`` (g, 2); and the
    evidence there, (g,).

    At most ``iterations`` Newton steps, with Fisher's information in place of the curvature where the evidence is not
    concave. Steps that lower the evidence are undone and repeated at a quarter of their length.
    """
    trajectories = trajectories.on_device(kernels)
    log_scales, step_scale = start, np.ones((len(start), 1))
    value, slope, curvature = _penalised_evidence(kernels, trajectories, log_scales, defaults)
    for _ in range(iterations):
        newton_step = np.linalg.solve(curvature, slope[..., None])[..., 0]
        step = step_scale * np.clip(newton_step, -LONGEST_STEP, LONGEST_STEP)
        if np.abs(step).max() < CONVERGED_STEP:
            break
        trial = _penalised_evidence(kernels, trajectories, log_scales + step, defaults)
        improved = trial[0] >= value
        log_scales = np.where(improved[:, None], log_scales + step, log_scales)
        value, slope, curvature = (
            np.where(improved.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
            for new, old in zip(trial, (value, slope, curvature), strict=True)
        )
        step_scale = np.where(improved[:, None], 1, step_scale / 4)
    return log_scales, value


def _penalised_evidence(
    kernels: Kernels, trajectories: Trajectories, log_scales: FloatArray, defaults: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Evidence, slope and curvature, with a normal prior of the log scales about ``defaults``."""
    evidence = trajectories.evidence(kernels, log_scales)
    deviation, prior_curvature = (log_scales - defaults) / LOG_SCALE_SD, np.eye(2) / LOG_SCALE_SD**2
    curvature_eigenvalue, information_eigenvalue = (
        np.linalg.eigvalsh(matrix + prior_curvature)[:, 0] for matrix in (evidence.curvature, evidence.information)
    )
    concave = curvature_eigenvalue > MIN_CURVATURE * information_eigenvalue
    curvature = np.where(concave[:, None, None], evidence.curvature, evidence.information)
    value = evidence.value - 0.5 * (deviation**2).sum(1)
    return value, evidence.slope - deviation / LOG_SCALE_SD, curvature + prior_curvature


def combine_trajectories(parts: list[Trajectories]) -> Trajectories:
    """All trajectories together, those of each part with scales of their own.

    Shorter ones are filled up with coefficients about which the data say nothing.
    """
    total_count = sum(len(part.scale_index) for part in parts)
    length = max(part.length for part in parts)
    information, linear = np.zeros((total_count, length, length)), np.zeros((total_count, length, 2))
    roughness, scale_index = np.empty((total_count, length)), np.empty(total_count, int)
    first = scale_count = 0
    for part in parts:
        rows, used = slice(first, first + len(part.scale_index)), part.length
        information[rows, :used, :used], linear[rows, :used] = part.information, part.linear
        roughness[rows, :used], roughness[rows, used:] = part.roughness, part.roughness[:, -1:]
        scale_index[rows] = part.scale_index + scale_count
        first, scale_count = rows.stop, scale_count + part.scale_count
    return Trajectories(information, linear, roughness, scale_index)
