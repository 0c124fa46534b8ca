"""The most probable motion field: Fisher scoring on likelihood and prior, whose scales are learned on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import FloatArray
from restframe.kernels.interface import Kernels
from restframe.track.alignment import AlignedTiles, align_tiles
from restframe.track.information import coefficient_information
from restframe.track.likelihood import Likelihood, likelihood_gradient, log_likelihood, make_likelihood
from restframe.track.posterior import Posterior, QuadraticLikelihood, solve_posterior, stated_error
from restframe.track.prior import Prior
from restframe.track.prior_scales import choose_time_axis, learn_prior
from restframe.track.problem import Problem, TileData
from restframe.track.rings import independent_counts, squared_wave_numbers
from restframe.track.spectrum import estimate_spectrum

INITIAL_POSITION_SD = 1.0  # binned pixels, of the displacements along an axis before the first iteration
MAX_POSITION_SD = 3.0  # binned pixels; then a tenth remains of waves of 9 pixels, and a little of the shortest ones
NEGLIGIBLE_STEP = 0.05  # of the stated error: a smaller step, root mean square, ends the fit
STEP_SCALES = (1.0, 0.5, 0.2, 0.05, 0.0)  # tried one after the other until the posterior rises
AXIS_ITERATION = 1  # the iteration, from 0, in which the time axis is chosen


@dataclass(frozen=True)
class FitOptions:
    """How a field is fitted."""

    iterations: int  # at most
    tolerance: float  # binned pixels: the fit ends when no tile moves by more in any frame
    default_prior: Prior  # before any data
    choose_time_axis: bool = False


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted field. Displacements are in binned pixels."""

    problem: Problem  # on the time axis that was chosen
    coefficients: FloatArray  # (n, 2)
    prior: Prior
    likelihood: Likelihood
    stated_error: float  # `posterior.stated_error`
    aligned: AlignedTiles  # at the field
    posterior: Posterior  # of the last quadratic form, which the stated error is that of

    @property
    def amplitudes(self) -> FloatArray:
        """Of each mode in each frame, (modes, t, 2)."""
        return self.problem.model.amplitudes(self.coefficients)


def fit_field(kernels: Kernels, problem: Problem, start: FloatArray, start_prior: Prior, options: FitOptions) -> Fit:
    """Fisher scoring from amplitudes ``start`` (some modes, t, 2), in binned pixels.

    Each iteration estimates the spectrum at the present field, takes the gradient of the likelihood and its expected
    curvature there, finds the prior and the field that are most probable for that quadratic form, and moves to that
    field; less far if the posterior does not rise. Tiles that moved far count by their low frequencies until they
    converge (`position_variance_after`). The fit ends after a step that is below the tolerance or negligible beside the
    stated error, or after ``options.iterations``.
    """
    coefficients = problem.model.coefficients(start)
    displacement = problem.model.displacement(coefficients)
    variance = np.full(displacement.shape[:2], INITIAL_POSITION_SD**2)
    aligned = _align(kernels, problem.data, displacement, variance)
    prior, error = start_prior, 0.0
    for iteration in range(max(options.iterations, 1)):
        likelihood = likelihood_at(problem.data, aligned, error)
        gradient = likelihood_gradient(kernels, likelihood, aligned)
        quadratic = quadratic_likelihood(problem, likelihood, gradient, coefficients)
        if options.choose_time_axis and iteration == AXIS_ITERATION:
            amplitudes = problem.model.amplitudes(coefficients)
            problem = choose_time_axis(kernels, problem, quadratic, prior, options.default_prior)
            coefficients = problem.model.coefficients(amplitudes)
            quadratic = quadratic_likelihood(problem, likelihood, gradient, coefficients)
        prior = learn_prior(kernels, problem.model, quadratic, prior, options.default_prior)
        precision = problem.model.prior_precision(prior)
        posterior = solve_posterior(quadratic, precision)
        error = stated_error(problem.model, posterior)

        present_value = _log_posterior(kernels, likelihood, aligned, coefficients, precision)
        present_variance = aligned.position_variance
        del aligned  # those of the trial field take its memory
        for scale in STEP_SCALES:
            trial = coefficients + scale * (posterior.coefficients - coefficients)
            step = problem.model.displacement(trial) - displacement
            trial_displacement = displacement + step
            aligned = _align(kernels, problem.data, trial_displacement, position_variance_after(step, error))
            if _log_posterior(kernels, likelihood, aligned, trial, precision) >= present_value:
                break
            # positions are less certain after a long step, which may hide that the posterior rose
            value = _log_posterior(
                kernels,
                likelihood,
                _align(kernels, problem.data, trial_displacement, present_variance),
                trial,
                precision,
            )
            if value >= present_value:
                break
        coefficients, displacement = trial, trial_displacement
        step_size = np.sqrt(2 * (step**2).mean())
        if np.abs(step).max() < options.tolerance or step_size < NEGLIGIBLE_STEP * error:
            break
    return Fit(problem, coefficients, prior, likelihood, error, aligned, posterior)


def likelihood_at(data: TileData, aligned: AlignedTiles, error: float) -> Likelihood:
    """The likelihood with the spectrum that the aligned tiles show.

    ``error``: `posterior.stated_error` of the displacements, binned pixels. The fit makes |R|² larger than it is at the
    true field: L grows by half the trace of information times covariance. That is a factor 1 + k² error² / 2 of the
    signal's power, since the displacements of two frames differ by error² along an axis.
    """
    excess = 1 + 0.5 * squared_wave_numbers(data.tiles) * error**2
    spectrum = estimate_spectrum(aligned, independent_counts(data.tiles, data.rings), excess)
    return make_likelihood(aligned, data.tiles, data.rings, spectrum, data.signal)


def quadratic_likelihood(
    problem: Problem, likelihood: Likelihood, gradient: FloatArray, coefficients: FloatArray
) -> QuadraticLikelihood:
    """The likelihood's quadratic form in the coefficients; ``gradient``: by displacement, (p, t, 2)."""
    information = coefficient_information(problem.assembly, likelihood.information)
    return QuadraticLikelihood(information, problem.model.coefficient_gradient(gradient), coefficients)


def position_variance_after(step: FloatArray, error: float) -> FloatArray:
    """Variance along an axis of the error of the displacements after a ``step`` (p, t, 2), (p, t).

    It is the posterior's variance plus the square of the step: where a tile still moves far, its high frequencies are
    not yet in phase.
    """
    by_axis = np.ascontiguousarray(np.moveaxis(step, 2, 0))  # sums over frames are ten times as fast on this layout
    step_x, step_y = by_axis - by_axis.mean(2, keepdims=True)
    return np.asarray(np.minimum(0.5 * (error**2 + step_x**2 + step_y**2), MAX_POSITION_SD**2))


def _align(kernels: Kernels, data: TileData, displacement: FloatArray, position_variance: FloatArray) -> AlignedTiles:
    return align_tiles(kernels, data.tiles, data.rings, data.signal.amplitude, displacement, position_variance)


def _log_posterior(
    kernels: Kernels,
    likelihood: Likelihood,
    aligned: AlignedTiles,
    coefficients: FloatArray,
    precision: FloatArray,
) -> float:
    """Log likelihood at ``aligned`` plus the log prior of ``coefficients`` (n, 2), up to a constant."""
    log_prior = -0.5 * float((coefficients**2).sum(1) @ precision)
    return log_likelihood(kernels, likelihood, aligned) + log_prior
