"""The prior's scales, and its time axis, are those with the highest evidence."""

from __future__ import annotations

import numpy as np

from restframe.arrays import FloatArray
from restframe.kernels.interface import Kernels
from restframe.track.evidence import Trajectories, combine_trajectories, maximize_evidence
from restframe.track.posterior import QuadraticLikelihood
from restframe.track.prior import TIME_AXES, Prior
from restframe.track.problem import FieldModel, Problem

LEARNING_STEPS = 3  # of the search for the prior's scales, in each iteration of the fit and for each time axis
LONG_TRAJECTORY = 64  # coefficients; trajectories with more are not worth filling up others to their length


def mode_evidence(
    model: FieldModel, likelihood: QuadraticLikelihood, other_model: FieldModel | None = None
) -> list[Trajectories]:
    """The log likelihood of the trajectory of each mode, with the other modes fixed at the centre of ``likelihood``.

    Modes of one degree share a pair of scales. ``other_model``: the same field on another time axis; the coefficients
    are then those of its basis. All modes are in one item of the list; where trajectories are long, the global mode is
    an item of its own.
    """
    parts = []
    for group, new_group in zip(model.mode_groups, (other_model or model).mode_groups, strict=True):
        length = len(group.basis)
        starts = range(group.coefficients.start, group.coefficients.stop, length)
        mode_slices = [slice(start, start + length) for start in starts]
        information = np.stack([likelihood.information[mode, mode] for mode in mode_slices])
        slope = likelihood.slope[group.coefficients].reshape(-1, length, 2)
        center = likelihood.center[group.coefficients].reshape(-1, length, 2)
        linear = slope + information @ center
        if other_model is not None:
            change_of_basis = group.basis.inverse @ new_group.basis.values
            information = change_of_basis.T @ information @ change_of_basis
            linear = change_of_basis.T @ linear
        degrees = model.degrees[group.modes]
        roughness = np.broadcast_to(new_group.basis.roughness, linear.shape[:2])
        parts.append(Trajectories(information, linear, roughness, degrees - degrees[0]))
    if max(part.length for part in parts) > LONG_TRAJECTORY:
        return parts
    return [combine_trajectories(parts)]


def learn_prior(
    kernels: Kernels, model: FieldModel, likelihood: QuadraticLikelihood, prior: Prior, default: Prior
) -> Prior:
    """The prior with the highest evidence, searched from ``prior``; ``default``: the prior before any data."""
    log_scales, first = prior.log_scales(), 0
    for trajectories in mode_evidence(model, likelihood):
        part = slice(first, first + trajectories.scale_count)
        log_scales[part] = _best_scales(kernels, trajectories, log_scales[part], default.log_scales()[part])[0]
        first = part.stop
    return Prior.from_log_scales(log_scales)


def choose_time_axis(
    kernels: Kernels, problem: Problem, likelihood: QuadraticLikelihood, prior: Prior, default: Prior
) -> Problem:
    """The problem on the time axis with the highest evidence, where each axis has its own best scales."""
    candidates = [problem.with_time_axis(time_axis) for time_axis in TIME_AXES]
    candidate_evidence = [mode_evidence(problem.model, likelihood, candidate.model) for candidate in candidates]
    evidence, first = np.zeros(len(candidates)), 0
    for parts in zip(*candidate_evidence, strict=True):
        part = slice(first, first + parts[0].scale_count)
        start, defaults = (np.tile(scales.log_scales()[part], (len(candidates), 1)) for scales in (prior, default))
        value = _best_scales(kernels, combine_trajectories(list(parts)), start, defaults)[1]
        evidence += value.reshape(len(candidates), -1).sum(1)
        first = part.stop
    return candidates[int(evidence.argmax())]


def _best_scales(
    kernels: Kernels, trajectories: Trajectories, start: FloatArray, defaults: FloatArray
) -> tuple[FloatArray, FloatArray]:
    return maximize_evidence(kernels, trajectories, start, defaults, LEARNING_STEPS)
