"""The error of the global motion where parts of the frame disagree by more than their own errors.

The inverse curvature of the posterior is the covariance of the coefficients if the model holds. Where tiles move
otherwise than the model allows, their gradients at the fit scatter more than that. The sandwich estimator
P⁻¹ (G + Q) P⁻¹ covers it (White, Econometrica 50, 1 (1982)): P is the posterior's precision, Q the prior's, and G the
sum over independent parts of the outer product of the gradient of each part. Neighbouring tiles move alike, so a part
is a block of them.
"""

from __future__ import annotations

import numpy as np

from restframe.arrays import FloatArray, IntArray
from restframe.track.fit import Fit
from restframe.track.information import coefficient_information

BLOCKS_ALONG_SIDE = 4


def blocks_of_tiles(centres: FloatArray) -> IntArray:
    """The block, from 0, of each tile, (p,); ``centres``: (p, 2) in any unit."""
    block = np.zeros(len(centres), int)
    for positions in centres.T:
        span = max(np.ptp(positions), 1e-9)
        along = np.minimum((positions - positions.min()) / span * BLOCKS_ALONG_SIDE, BLOCKS_ALONG_SIDE - 1)
        block = block * BLOCKS_ALONG_SIDE + along.astype(int)
    return np.asarray(np.unique(block, return_inverse=True)[1])


def disagreement_error(fit: Fit, gradient: FloatArray) -> float:
    """Standard deviation of the displacement, both axes together, rms over tiles and frames less the mean over time, by
    the sandwich estimator; binned pixels. ``gradient``: (p, t, 2) of the log likelihood at the fit.
    """
    model = fit.problem.model
    precision = model.prior_precision(fit.prior)
    information = coefficient_information(fit.problem.assembly, fit.likelihood.information)
    covariance = np.linalg.inv(information + np.diag(precision))
    block = blocks_of_tiles(fit.problem.data.tiles.centres)
    block_count = int(block.max()) + 1
    slopes = np.stack(
        [model.coefficient_gradient(gradient * (block == number)[:, None, None]) for number in range(block_count)]
    )  # (blocks, n, 2)
    slopes = slopes - slopes.mean(0)
    correction = block_count / max(block_count - 1, 1)
    variance = 0.0
    for axis in (0, 1):
        scores = slopes[:, :, axis] @ covariance  # (blocks, n)
        spread = correction * scores.T @ scores + covariance @ (precision[:, None] * covariance)
        variance += float(np.vdot(spread, model.displacement_norm))
    return float(np.sqrt(variance))
