"""The most probable coefficients for a quadratic log likelihood and a Gaussian prior, and their error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from restframe.arrays import BoolArray, FloatArray
from restframe.track.problem import FieldModel

NEGLIGIBLE_INFORMATION = 1e-2  # of the prior's precision: coefficients with less are solved one by one


@dataclass(frozen=True, eq=False)
class QuadraticLikelihood:
    """The log likelihood of each axis near ``center``: slope·d - d·information·d / 2, d = coefficients - center."""

    information: FloatArray  # (n, n) Fisher information: minus the curvature
    slope: FloatArray  # (n, 2)
    center: FloatArray  # (n, 2) coefficients


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of a quadratic likelihood."""

    coefficients: FloatArray  # (n, 2) most probable
    joint: BoolArray  # (n,) coefficients that were solved together: the data say something about them
    joint_factor: FloatArray  # lower Cholesky factor of their posterior precision
    single_precision: FloatArray  # posterior precision of each of the others


def solve_posterior(
    likelihood: QuadraticLikelihood, precision: FloatArray, negligible: float = NEGLIGIBLE_INFORMATION
) -> Posterior:
    """Most probable coefficients with the prior's ``precision`` (n,).

    Coefficients whose information is below ``negligible`` of the prior's precision are held at the centre while the
    others are solved together, and are then solved one by one. Repeated from the result, this converges to the
    coefficients that are most probable all together.
    """
    own_information = likelihood.information.diagonal()
    joint = own_information > negligible * precision
    joint_index, single_index = np.flatnonzero(joint), np.flatnonzero(~joint)
    gradient = likelihood.slope - precision[:, None] * likelihood.center
    joint_rows = likelihood.information[joint_index]
    joint_precision = joint_rows[:, joint_index]
    joint_precision[np.diag_indices_from(joint_precision)] += precision[joint_index]
    factor = linalg.cholesky(joint_precision, lower=True, overwrite_a=True, check_finite=False)
    step = np.empty_like(likelihood.center)
    step[joint_index] = linalg.cho_solve((factor, True), gradient[joint_index], check_finite=False)
    single_precision = own_information[single_index] + precision[single_index]
    remaining_gradient = gradient - joint_rows.T @ step[joint_index]
    step[single_index] = remaining_gradient[single_index] / single_precision[:, None]
    return Posterior(likelihood.center + step, joint, factor, single_precision)


def stated_error(model: FieldModel, posterior: Posterior) -> float:
    """Posterior standard deviation of the displacement, both axes together, in binned pixels.

    Root mean square over tiles and frames of the displacement less its mean over time: the trace of the posterior
    covariance times `FieldModel.displacement_norm`.
    """
    covariance = posterior.joint_factor
    if posterior.joint.any():
        covariance = linalg.lapack.dpotri(posterior.joint_factor, lower=1)[0]
    joint_index, single_index = np.flatnonzero(posterior.joint), np.flatnonzero(~posterior.joint)
    norm = model.displacement_norm[joint_index][:, joint_index]
    # only the lower triangle of the covariance is filled, above it are zeros
    joint_trace = 2 * np.vdot(covariance.T, norm) - covariance.diagonal() @ norm.diagonal()
    single_trace = (model.displacement_norm[single_index, single_index] / posterior.single_precision).sum()
    return float(np.sqrt(2 * (joint_trace + single_trace)))
