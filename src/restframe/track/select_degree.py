"""Is the local motion real? It has to explain tiles better that were not used to find it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import BoolArray, FloatArray
from restframe.track.fit import Fit
from restframe.track.information import coefficient_information
from restframe.track.posterior import QuadraticLikelihood, solve_posterior


@dataclass(frozen=True)
class ModelSelection:
    """The local motion that tiles left out of the fit confirm."""

    degree: int  # highest total degree of the modes that are kept; 0: global motion only
    held_out_gain: float  # log likelihood of the tiles left out, relative to global motion only
    sentence: str  # the same for people


@dataclass(frozen=True, eq=False)
class HalfLikelihood:
    """The log likelihood linear·x - x·information·x / 2 of half of the tiles, for each axis."""

    information: FloatArray  # (n, n)
    linear: FloatArray  # (n, 2)

    def value(self, coefficients: FloatArray) -> float:
        """With coefficients (m, 2); those after the first m are zero."""
        count = len(coefficients)
        quadratic = np.sum(coefficients * (self.information[:count, :count] @ coefficients))
        return float(np.sum(self.linear[:count] * coefficients) - 0.5 * quadratic)


def checkerboard(centres: FloatArray) -> BoolArray:
    """True for every other tile, (p,); ``centres``: (p, 2)."""
    column = np.unique(centres[:, 0], return_inverse=True)[1]
    row = np.unique(centres[:, 1], return_inverse=True)[1]
    return np.asarray((row + column) % 2 == 0)


def select_degree(fit: Fit, gradient: FloatArray) -> ModelSelection:
    """Cross-validation on two halves of a checkerboard of tiles.

    Modes up to every degree are fitted to each half, on the likelihood's quadratic form at the field. The log
    likelihood of the other half, less that for global motion from the same tiles, is the gain. The degree with the
    largest gain is selected; degree 0 when no gain is above zero. ``gradient``: (p, t, 2) of the likelihood at the
    field.
    """
    model = fit.problem.model
    half = checkerboard(fit.problem.data.tiles.centres)
    halves = [_half_likelihood(fit, gradient, tile_weights) for tile_weights in (half, ~half)]
    precision = model.prior_precision(fit.prior)
    highest_degree = int(model.degrees.max())
    gain = np.zeros(highest_degree + 1)
    for degree in range(highest_degree + 1):
        last_mode = int(np.sum(model.degrees <= degree)) - 1  # modes are in the order of their degrees
        count = model.coefficient_slices[last_mode].stop
        start = fit.coefficients[:count]
        for fitted, held_out in zip(halves, halves[::-1], strict=True):
            information = fitted.information[:count, :count]
            quadratic = QuadraticLikelihood(information, fitted.linear[:count] - information @ start, start)
            gain[degree] += held_out.value(solve_posterior(quadratic, precision[:count]).coefficients)
    gain -= gain[0]
    degree = int(np.argmax(gain))
    if degree == 0:
        sentence = "Local motion: none that tiles left out of the fit confirm; whole frames only."
    else:
        sentence = (
            f"Local motion: degree {degree} of {highest_degree}, confirmed by tiles left out of the fit "
            f"(log likelihood +{gain[degree]:.1f})."
        )
    return ModelSelection(degree, float(gain[degree]), sentence)


def _half_likelihood(fit: Fit, gradient: FloatArray, tile_weights: BoolArray) -> HalfLikelihood:
    information = coefficient_information(fit.problem.assembly, fit.likelihood.information, tile_weights)
    slope = fit.problem.model.coefficient_gradient(gradient * tile_weights[:, None, None])
    return HalfLikelihood(information, information @ fit.coefficients + slope)
