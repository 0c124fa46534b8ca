"""The evidence for a prior's scales on the host: trajectories with about equally many coupled coefficients together."""

from __future__ import annotations

import numpy as np

from restframe.arrays import FloatArray

COEFFICIENTS_PER_CLASS = 16  # numbers of coupled coefficients that are rounded up to one number


def log_evidence(
    information: FloatArray, linear: FloatArray, prior_precision: FloatArray, negligible: float
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """As `Kernels.log_evidence`, with up to `COEFFICIENTS_PER_CLASS` - 1 more coupled coefficients."""
    diagonal = np.einsum("mii->mi", information)
    informed = diagonal > negligible * prior_precision.sum(1)
    coupled = informed.shape[1] - np.argmax(informed[:, ::-1], axis=1) * informed.any(1)
    classes = np.where(informed.any(1), -(-coupled // COEFFICIENTS_PER_CLASS), 1)
    count = len(diagonal)
    results = np.empty(count), np.empty((count, 2)), np.empty((count, 2, 2)), np.empty((count, 2, 2))
    for size in np.unique(classes):
        members = classes == size
        block = min(int(size) * COEFFICIENTS_PER_CLASS, diagonal.shape[1])
        own = information[members, :block, :block], diagonal[members], linear[members], prior_precision[members]
        for whole, part in zip(results, _log_evidence_of_class(*own), strict=True):
            whole[members] = part
    return results


def _log_evidence_of_class(
    information: FloatArray, diagonal: FloatArray, linear: FloatArray, precisions: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """``information`` (m, k, k), of the first k coefficients, is overwritten. ``diagonal`` (m, n) has them all."""
    block = information.shape[1]
    index = np.arange(block)
    prior = precisions.sum(1)
    information[:, index, index] += prior[:, :block]
    factor, inverse = np.linalg.cholesky(information), np.linalg.inv(information)
    single = diagonal[:, block:] + prior[:, block:]  # posterior precision of the others
    estimate = np.concatenate([inverse @ linear[:, :block], linear[:, block:] / single[..., None]], axis=1)
    variance = np.concatenate([inverse[:, index, index], 1 / single], axis=1)
    gained = 1 / prior - variance
    log_det = 2 * np.log(factor[:, index, index]).sum(1) + np.log(single).sum(1)
    value = 0.5 * (linear * estimate).sum((1, 2)) - log_det + np.log(prior).sum(1)
    slope = (precisions @ (0.5 * (estimate**2).sum(2) - gained)[..., None])[..., 0]

    def quadratic_form(coupled: FloatArray, others: FloatArray) -> FloatArray:
        """A M A' for a symmetric M, ``coupled`` (m, k, k) in the first k coefficients and diagonal beyond."""
        first, last = precisions[..., :block], precisions[..., block:]
        form: FloatArray = first @ coupled @ first.swapaxes(1, 2) + (last * others[:, None]) @ last.swapaxes(1, 2)
        return form

    pull = inverse * (inverse + estimate[:, :block] @ estimate[:, :block].swapaxes(1, 2))
    pull_of_others = (1 / single + (estimate[:, block:] ** 2).sum(2)) / single
    curvature = (precisions / prior[:, None] ** 2) @ precisions.swapaxes(1, 2) - quadratic_form(pull, pull_of_others)
    curvature[:, [0, 1], [0, 1]] += slope
    inverse *= -1
    inverse[:, index, index] = gained[:, :block]
    return value, slope, curvature, quadratic_form(inverse**2, gained[:, block:] ** 2)
