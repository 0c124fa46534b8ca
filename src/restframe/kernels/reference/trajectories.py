"""The evidence for the scales of the prior of trajectories."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.kernels.reference.frames import to_host


def trajectories_to_device(information: FloatArray, linear: FloatArray) -> tuple[Array, Array]:
    return information, linear


def log_evidence(
    information: Array, linear: Array, prior_precision: FloatArray, negligible: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    trajectories = zip(map(to_host, information), map(to_host, linear), prior_precision, strict=True)
    results = [_log_evidence_of_one(*trajectory, negligible) for trajectory in trajectories]
    values, slopes, curvatures, expected = map(np.array, zip(*results, strict=True))
    return values, slopes, curvatures, expected


def _log_evidence_of_one(
    information: FloatArray, linear: FloatArray, precisions: FloatArray, negligible: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """`log_evidence` of one trajectory: ``information`` (n, n), ``linear`` (n, 2), ``precisions`` (2, n)."""
    prior = precisions.sum(0)
    informed = np.flatnonzero(information.diagonal() > negligible * prior)
    coupled = informed[-1] + 1 if len(informed) else 1
    posterior = np.diag(information.diagonal() + prior)
    posterior[:coupled, :coupled] = information[:coupled, :coupled] + np.diag(prior[:coupled])
    log_det = 2 * np.log(np.linalg.cholesky(posterior).diagonal()).sum()
    inverse = np.linalg.inv(posterior)
    estimate, gained = inverse @ linear, np.diag(1 / prior) - inverse
    value = 0.5 * np.sum(linear * estimate) - log_det + np.log(prior).sum()
    slope = precisions @ (0.5 * (estimate**2).sum(1) - gained.diagonal())
    pull = precisions @ (inverse * (inverse + estimate @ estimate.T)) @ precisions.T
    curvature = (precisions / prior**2) @ precisions.T - pull + np.diag(slope)
    return value, slope, curvature, precisions @ gained**2 @ precisions.T
