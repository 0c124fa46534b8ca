"""Likelihood and derivatives against numbers, and the fit against the truth."""

import numpy as np
import pytest

from restframe.ctf.bins import Folding, expected_power, fit_noise, folded, make_bins, phase_at, spline_basis
from restframe.ctf.model import CtfShape, Microscope, SignalStrength
from restframe.ctf.refine import (
    BFACTOR,
    LOG_STRENGTH,
    NOISE_START,
    SHAPE_NAMES,
    THICKNESS,
    Freedom,
    Posterior,
    cramer_rao_covariance,
    refine,
)
from restframe.ctf.spectrum import polar_spectrum

MICROSCOPE = Microscope(300, 2.7, 0.07)


@pytest.fixture(scope="module")
def bins():
    image = np.random.default_rng(1).standard_normal((256, 256)).astype(np.float32)
    bins = make_bins(polar_spectrum(image, 1.2, 0.33), 1 / 30)
    place = np.random.default_rng(2).uniform(-100, 100, (2, len(bins.power)))
    bins.x[:], bins.y[:] = 0, 0
    return bins.__class__(**{**bins.__dict__, "x": place[0], "y": place[1], "visibility": np.full(len(place[0]), 0.8)})


def parameters_of(bins):
    parameters = np.zeros(NOISE_START + bins.noise_basis.shape[1])
    parameters[: len(SHAPE_NAMES)] = [12000, 300, -200, 0.3, 600**2, 0.1, -0.2]
    parameters[LOG_STRENGTH], parameters[BFACTOR] = -0.7, 90
    parameters[NOISE_START:] = np.linspace(0.1, -0.2, len(parameters) - NOISE_START)
    return parameters


def slow_value(bins, parameters):
    """The log posterior, bin by bin, from the formulas of the model."""
    total = 0.0
    defocus, first, second, phase_shift, squared_thickness, slope_x, slope_y, log_strength, bfactor = parameters[:9]
    wavelength = MICROSCOPE.wavelength
    for index, (power, count) in enumerate(zip(bins.power, bins.count, strict=True)):
        squared, angle = bins.squared_frequency[index], bins.angle[index]
        local = defocus + 0.5 * (first * np.cos(2 * angle) + second * np.sin(2 * angle))
        local += slope_x * bins.x[index] + slope_y * bins.y[index]
        chi = np.pi * wavelength * squared * (local - wavelength**2 * squared * 2.7e7 / 2)
        chi += np.arcsin(0.07) + phase_shift
        depth = np.pi * wavelength * squared * np.sqrt(squared_thickness)
        contrast = 0.5 * (1 - bins.visibility[index] * np.sin(depth) / depth * np.cos(2 * chi))
        signal = np.exp(log_strength - bfactor * squared / 2)
        log_noise = spline_basis(bins.position[index : index + 1], len(parameters) - NOISE_START)[0]
        expected = np.exp(log_noise @ parameters[NOISE_START:]) * (1 + signal * contrast)
        total -= count * (np.log(expected) + power / expected)
    prior = (first**2 + second**2) / 700**2 + (slope_x**2 + slope_y**2) + (np.log(bfactor / 110) / 0.5) ** 2
    return total - 0.5 * prior - (np.sqrt(squared_thickness + 100**2) - 100) / 500


def test_the_log_posterior_is_the_sum_over_bins(bins):
    used = np.arange(len(bins.power)) % 50 == 0
    few = bins.chosen(used)
    parameters = parameters_of(few)
    posterior = Posterior(few, MICROSCOPE)
    assert posterior.value(parameters) == pytest.approx(slow_value(few, parameters), rel=1e-9)
    assert posterior.evaluate(parameters).value == pytest.approx(posterior.value(parameters), rel=1e-12)


def test_the_gradient_is_the_derivative(bins):
    posterior, parameters = Posterior(bins, MICROSCOPE), parameters_of(bins)
    gradient = posterior.evaluate(parameters).gradient
    steps = np.r_[1, 1, 1, 1e-3, 100, 1e-3, 1e-3, 1e-3, 0.1, np.full(len(parameters) - NOISE_START, 1e-3)]
    for index, step in enumerate(steps):
        change = np.zeros_like(parameters)
        change[index] = step
        numeric = (posterior.value(parameters + change) - posterior.value(parameters - change)) / (2 * step)
        assert gradient[index] == pytest.approx(numeric, rel=2e-3, abs=1e-4), index


def test_the_gradient_is_finite_without_thickness(bins):
    posterior, parameters = Posterior(bins, MICROSCOPE), parameters_of(bins)
    parameters[THICKNESS] = 0
    change = np.zeros_like(parameters)
    change[THICKNESS] = 400.0
    numeric = (posterior.value(parameters + change) - posterior.value(parameters)) / 400
    assert posterior.evaluate(parameters).gradient[THICKNESS] == pytest.approx(numeric, rel=0.05)


def test_the_information_is_the_mean_curvature(bins):
    """At the expected power the information is minus the second derivative of the mean log likelihood."""
    parameters = parameters_of(bins)
    shape = CtfShape(*parameters[:7])
    signal = SignalStrength(parameters[LOG_STRENGTH], parameters[BFACTOR])
    mean = bins.__class__(
        **{**bins.__dict__, "power": expected_power(bins, MICROSCOPE, shape, signal, parameters[NOISE_START:])}
    )
    posterior = Posterior(mean, MICROSCOPE)
    posterior.prior_precision[:] = 0
    information = posterior.evaluate(parameters).information
    for index, step in ((0, 20.0), (1, 20.0), (3, 1e-2), (5, 0.05), (LOG_STRENGTH, 1e-2)):
        change = np.zeros_like(parameters)
        change[index] = step
        values = [posterior.value(parameters + sign * change) for sign in (-1, 0, 1)]
        curvature = -(values[0] - 2 * values[1] + values[2]) / step**2
        assert information[index, index] == pytest.approx(curvature, rel=0.05), index


def test_folding_keeps_coefficients_and_phases(bins):
    shape = CtfShape(12000, 300, -200)
    level = bins.__class__(**{**bins.__dict__, "x": 0 * bins.x, "y": 0 * bins.y})
    few = folded(level, MICROSCOPE, shape, Folding(24, 18, 8))
    assert few.count.sum() == pytest.approx(bins.count.sum())
    assert (few.count * few.power).sum() == pytest.approx((bins.count * bins.power).sum())
    everything = np.sum(level.count * np.exp(2j * phase_at(level, MICROSCOPE, shape)))
    kept = np.sum(few.count * np.exp(2j * phase_at(few, MICROSCOPE, shape)))
    assert abs(kept - everything) < 0.03 * bins.count.sum()


def test_noise_alone_is_fitted_with_a_spline(bins):
    basis = bins.noise_basis
    np.testing.assert_allclose(basis.sum(1), 1)
    fitted = np.exp(basis @ fit_noise(bins, basis))
    assert np.abs(fitted - 1).max() < 0.15


def test_the_fit_finds_the_model_that_made_the_power(bins):
    """From the expected power, without noise: the truth to a small part of its error."""
    level = bins.__class__(
        **{**bins.__dict__, "x": 0 * bins.x, "y": 0 * bins.y, "visibility": np.ones(len(bins.power))}
    )
    truth, signal = CtfShape(12000, 300, -200), SignalStrength(0.0, 120.0)
    power = expected_power(level, MICROSCOPE, truth, signal, np.zeros(level.noise_basis.shape[1]))
    exact = level.__class__(**{**level.__dict__, "power": power})
    fit = refine(exact, MICROSCOPE, CtfShape(12100, 200, -100), SignalStrength(-1.0, 100.0), Freedom(thickness=False))
    assert fit.shape.defocus == pytest.approx(12000, abs=5)
    assert fit.shape.astigmatism_x == pytest.approx(300, abs=0.2 * fit.error("astigmatism_x"))
    assert fit.signal.bfactor == pytest.approx(120, abs=3)
    bound = cramer_rao_covariance(exact, MICROSCOPE, truth, signal, Freedom(thickness=False))
    assert fit.covariance[0, 0] == pytest.approx(bound[0, 0], rel=0.1)
    assert fit.covariance[1, 1] <= 1.001 * bound[1, 1]  # a prior on the astigmatism
