"""Is the local motion real? It has to explain tiles better that were not used to find it.

The likelihood's quadratic form at the fitted field has seen all tiles: where its true curvature differs from the
expected one, it favours that field in both halves of the tiles. So two forms are used. The one at the fitted field
selects the degree. The one at the global motion, which knows nothing of local motion, must confirm that there is any,
beyond its own chance fluctuation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import BoolArray, FloatArray
from restframe.track.fit import Fit
from restframe.track.information import coefficient_information
from restframe.track.posterior import QuadraticLikelihood, solve_posterior
from restframe.track.problem import FieldModel

CONFIRMED_DEVIATIONS = 3.5  # standard deviations of the gain by chance, at the global motion
EVIDENT_DEVIATIONS = 6.0  # of the same, from which on the gain at the fitted field is evidence by itself


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


def select_degree(fit: Fit, gradient: FloatArray, global_fit: Fit, global_gradient: FloatArray) -> ModelSelection:
    """Cross-validation on two halves of a checkerboard of tiles.

    Modes up to every degree are fitted to each half, on the likelihood's quadratic form. The log likelihood of the
    other half, less that for global motion from the same tiles, is the gain. The degree with the largest gain at the
    fitted field is selected; degree 0 when the gain is no evidence (`is_confirmed`). ``gradient`` and
    ``global_gradient``: (p, t, 2) of the likelihood at the field and at the global motion.
    """
    model = fit.problem.model
    precision = model.prior_precision(fit.prior)
    start = model.coefficients(global_fit.amplitudes)
    gain, _ = held_out_gain(_halves(fit, fit, gradient, fit.coefficients), model, precision, fit.coefficients)
    global_halves = _halves(fit, global_fit, global_gradient, start)
    global_gain, deviation = held_out_gain(global_halves, model, precision, start)
    highest_degree = int(model.degrees.max())
    degree = int(np.argmax(gain))
    if degree and not is_confirmed(gain, global_gain, deviation):
        degree = 0
    if degree == 0:
        sentence = "Local motion: none that tiles left out of the fit confirm; whole frames only."
    else:
        sentence = (
            f"Local motion: degree {degree} of {highest_degree}, confirmed by tiles left out of the fit "
            f"(log likelihood +{gain[degree]:.1f})."
        )
    return ModelSelection(degree, float(gain[degree]), sentence)


def is_confirmed(gain: FloatArray, global_gain: FloatArray, deviation: FloatArray) -> bool:
    """Whether there is local motion of any degree, from gains (degrees,) at the fitted field and at the global motion,
    and the standard deviation of the latter by chance.
    """
    confirmed = global_gain[1:] > CONFIRMED_DEVIATIONS * deviation[1:]
    evident = gain[1:] > EVIDENT_DEVIATIONS * deviation[1:]
    return bool((confirmed | evident).any())


def held_out_gain(
    halves: list[HalfLikelihood], model: FieldModel, precision: FloatArray, start: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Gain of the tiles left out by modes up to each degree, (degrees,), and its standard deviation by chance.

    ``precision``: (n,) of the prior; ``start``: (n, 2) coefficients about which the prior's pull is evaluated.
    """
    highest_degree = int(model.degrees.max())
    gain, variance = np.zeros((2, highest_degree + 1))
    for degree in range(highest_degree + 1):
        last_mode = int(np.sum(model.degrees <= degree)) - 1  # modes are in the order of their degrees
        count = model.coefficient_slices[last_mode].stop
        begin = start[:count]
        for fitted, held_out in zip(halves, halves[::-1], strict=True):
            information = fitted.information[:count, :count]
            quadratic = QuadraticLikelihood(information, fitted.linear[:count] - information @ begin, begin)
            coefficients = solve_posterior(quadratic, precision[:count]).coefficients
            gain[degree] += held_out.value(coefficients)
            step = coefficients - begin
            variance[degree] += float(np.sum(step * (held_out.information[:count, :count] @ step)))
    return gain - gain[0], np.sqrt(variance)


def _halves(fit: Fit, at_fit: Fit, gradient: FloatArray, coefficients: FloatArray) -> list[HalfLikelihood]:
    """Both halves' likelihoods of the model of ``fit``, about ``coefficients`` (n, 2), where ``at_fit`` has the
    likelihood with this ``gradient`` (p, t, 2).
    """
    model, assembly = fit.problem.model, fit.problem.assembly
    half = checkerboard(fit.problem.data.tiles.centres)
    halves = []
    for tile_weights in (half, ~half):
        information = coefficient_information(assembly, at_fit.likelihood.information, tile_weights)
        slope = model.coefficient_gradient(gradient * tile_weights[:, None, None])
        halves.append(HalfLikelihood(information, information @ coefficients + slope))
    return halves
