"""The evidence of a prior's scales, mode by mode, compared with full matrices."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import optimize

from restframe.kernels.cpu import Cpu
from restframe.track import prior_scales
from restframe.track.evidence import LOG_SCALE_SD, NEGLIGIBLE_INFORMATION, combine_trajectories, maximize_evidence
from restframe.track.information import ModeGroup
from restframe.track.posterior import QuadraticLikelihood
from restframe.track.prior import TIME_AXES, Prior
from restframe.track.prior_scales import learn_prior, mode_evidence
from restframe.track.time_basis import make_time_basis

cpu = Cpu(2)

DEGREES = np.array([0, 1, 1, 2])


def random_problem(generator, axis, frame_count=9):
    """What `mode_evidence` reads of a problem: a global mode, free in every frame, and local modes in groups."""
    return on_axis(np.cumsum(generator.uniform(0.5, 1.5, frame_count)), axis)


def on_axis(dose, axis):
    free_basis = make_time_basis(dose, axis, 3, tuple(range(len(dose))))
    grouped_basis = make_time_basis(dose, axis, 3, (0, 3, 6))
    time = (free_basis, grouped_basis, grouped_basis, grouped_basis)
    boundaries = np.cumsum([0] + [b.values.shape[1] for b in time])
    mode_groups = [
        ModeGroup(free_basis, slice(0, 1), slice(0, boundaries[1])),
        ModeGroup(grouped_basis, slice(1, 4), slice(boundaries[1], boundaries[-1])),
    ]
    slices = [slice(a, b) for a, b in pairwise(boundaries)]
    return SimpleNamespace(
        degrees=DEGREES, mode_bases=time, coefficient_slices=slices, mode_groups=mode_groups, dose=dose
    )


def modes_of(problem, information, linear, center, other=None):
    """`mode_evidence` of the log likelihood linear·x - x·information·x / 2 at ``center``."""
    return combine_trajectories(
        mode_evidence(problem, QuadraticLikelihood(information, linear - information @ center, center), other)
    )


def random_form(generator, problem, strength=1.0):
    """A quadratic log likelihood: information (n, n), linear (n, 2)."""
    coefficient_count = problem.coefficient_slices[-1].stop
    random_root = strength * generator.normal(size=(coefficient_count, coefficient_count + 5))
    return random_root @ random_root.T, 10 * generator.normal(size=(coefficient_count, 2))


def random_logs(generator):
    return generator.normal([0, -3], 1, size=(3, 2))


def parts_of_precision(problem, log_scales):
    """By speed and by roughness, for each degree: matrices (2, degrees, n, n)."""
    coefficient_count = problem.coefficient_slices[-1].stop
    result = np.zeros((2, 3, coefficient_count, coefficient_count))
    for mode_slice, degree, basis in zip(problem.coefficient_slices, problem.degrees, problem.mode_bases, strict=True):
        result[0, degree, mode_slice, mode_slice] = np.eye(len(basis.roughness)) / np.exp(log_scales[degree, 0])
        result[1, degree, mode_slice, mode_slice] = np.diag(basis.roughness) / np.exp(log_scales[degree, 1])
    return result


def plain(problem, data, linear, log_scales):
    """Evidence of all modes together, its slopes (degrees, 2) and information (degrees, 2, 2); most probable x."""
    parts = parts_of_precision(problem, log_scales)
    prior_precision = parts.sum((0, 1))
    posterior_precision = data + prior_precision
    center = np.linalg.solve(posterior_precision, linear)
    covariance_gain = np.linalg.inv(prior_precision) - np.linalg.inv(posterior_precision)
    value = (
        0.5 * np.sum(linear * center)
        + np.linalg.slogdet(prior_precision)[1]
        - np.linalg.slogdet(posterior_precision)[1]
    )
    slope = [
        [0.5 * np.sum(center * (a @ center)) - np.trace(covariance_gain @ a) for a in degree_parts]
        for degree_parts in parts.swapaxes(0, 1)
    ]
    information = [
        [[np.trace(covariance_gain @ a @ covariance_gain @ b) for b in degree_parts] for a in degree_parts]
        for degree_parts in parts.swapaxes(0, 1)
    ]
    return value, np.array(slope), np.array(information), center


def assert_derivatives(trajectories, log_scales, atol):
    """Slope and curvature are those of the values."""
    computed = trajectories.evidence(cpu, log_scales)
    for scale in (0, 1):
        step = 1e-3 * np.eye(2)[scale]
        above, below = trajectories.evidence(cpu, log_scales + step), trajectories.evidence(cpu, log_scales - step)
        np.testing.assert_allclose(computed.slope[:, scale], (above.value - below.value) / 2e-3, atol=atol)
        np.testing.assert_allclose(computed.curvature[:, scale], (below.slope - above.slope) / 2e-3, atol=atol)


def separate(problem, matrix):
    """A matrix (n, n) with zeros for pairs of different modes."""
    result = np.zeros_like(matrix)
    for mode_slice in problem.coefficient_slices:
        result[mode_slice, mode_slice] = matrix[mode_slice, mode_slice]
    return result


@pytest.mark.parametrize("axis", TIME_AXES[:3])
def test_independent_modes(axis):
    generator = np.random.default_rng(1)
    problem = random_problem(generator, axis)
    data, linear = random_form(generator, problem, 3)
    data = separate(problem, data)
    for _ in range(5):
        log_scales = random_logs(generator)
        value, slope, information, _ = plain(problem, data, linear, log_scales)
        center = generator.normal(size=linear.shape)  # where other modes are does not matter then
        computed = modes_of(problem, data, linear, center).evidence(cpu, log_scales)
        assert computed.value.sum() == pytest.approx(value, rel=1e-9)
        np.testing.assert_allclose(computed.slope, slope, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(computed.information, information, rtol=1e-6, atol=1e-7)
        assert_derivatives(modes_of(problem, data, linear, center), log_scales, 1e-4 * np.abs(computed.slope).max())


def test_information_is_the_covariance_of_slopes():
    generator = np.random.default_rng(6)
    problem = random_problem(generator, TIME_AXES[4])
    data = separate(problem, random_form(generator, problem)[0])
    log_scales = random_logs(generator)
    random_root = np.linalg.cholesky(data)
    standard_deviation = 1 / np.sqrt(parts_of_precision(problem, log_scales).sum((0, 1)).diagonal())[:, None]
    slopes = []
    for _ in range(3000):
        true_coefficients, noise = (
            standard_deviation * generator.normal(size=(len(data), 2)),
            generator.normal(size=(len(data), 2)),
        )
        slopes.append(
            modes_of(problem, data, data @ true_coefficients + random_root @ noise, 0 * true_coefficients)
            .evidence(cpu, log_scales)
            .slope
        )
    information = (
        modes_of(problem, data, 0 * true_coefficients, 0 * true_coefficients).evidence(cpu, log_scales).information
    )
    for degree in range(3):
        computed = np.cov(np.array(slopes)[:, degree].T)
        np.testing.assert_allclose(computed, information[degree], atol=0.1 * information[degree].max())


def test_other_modes_are_fixed():
    """At the most probable field, each mode is most probable with the others fixed."""
    generator = np.random.default_rng(5)
    problem = random_problem(generator, TIME_AXES[0])
    information, linear = random_form(generator, problem)
    log_scales = random_logs(generator)
    center = plain(problem, information, linear, log_scales)[3]
    own_linear = linear - information @ center + separate(problem, information) @ center
    value, slope, _, again = plain(problem, separate(problem, information), own_linear, log_scales)
    np.testing.assert_allclose(again, center, rtol=1e-6, atol=1e-9)
    computed = modes_of(problem, information, linear, center).evidence(cpu, log_scales)
    assert computed.value.sum() == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(computed.slope, slope, rtol=1e-6, atol=1e-7)


def test_another_time_axis_is_a_change_of_coefficients():
    generator = np.random.default_rng(8)
    problem = random_problem(generator, TIME_AXES[1])
    other = on_axis(problem.dose, TIME_AXES[7])
    information, linear = random_form(generator, problem)
    center, log_scales = generator.normal(size=linear.shape), random_logs(generator)
    change_of_basis = np.zeros_like(information)
    for mode_slice, a, b in zip(problem.coefficient_slices, problem.mode_bases, other.mode_bases, strict=True):
        change_of_basis[mode_slice, mode_slice] = np.linalg.lstsq(a.values, b.values, rcond=None)[0]
    direct = modes_of(
        other,
        change_of_basis.T @ information @ change_of_basis,
        change_of_basis.T @ linear,
        np.linalg.solve(change_of_basis, center),
    ).evidence(cpu, log_scales)
    computed = modes_of(problem, information, linear, center, other).evidence(cpu, log_scales)
    np.testing.assert_allclose(computed.value, direct.value, rtol=1e-9)
    np.testing.assert_allclose(computed.slope, direct.slope, rtol=1e-6, atol=1e-7)


def test_a_precision_that_is_not_positive_is_an_error():
    problem = random_problem(np.random.default_rng(2), TIME_AXES[0])
    coefficient_count = problem.coefficient_slices[-1].stop
    nothing = np.zeros((coefficient_count, 2))
    with pytest.raises(np.linalg.LinAlgError):
        modes_of(problem, -1e6 * np.eye(coefficient_count), nothing, nothing).evidence(cpu, np.zeros((3, 2)))


def test_data_without_information():
    problem = random_problem(np.random.default_rng(4), TIME_AXES[0])
    coefficient_count = problem.coefficient_slices[-1].stop
    nothing = np.zeros((coefficient_count, 2))
    trajectories = modes_of(problem, np.zeros((coefficient_count, coefficient_count)), nothing, nothing)
    computed = trajectories.evidence(cpu, np.zeros((3, 2)))
    for part in (computed.value, computed.slope, computed.curvature, computed.information):
        np.testing.assert_allclose(part, 0, atol=1e-9)
    default_scales = random_logs(np.random.default_rng(5))
    np.testing.assert_allclose(
        maximize_evidence(cpu, trajectories, default_scales + 1, default_scales, 40)[0], default_scales, atol=0.03
    )


def test_most_coefficients_are_determined_by_the_prior():
    """As in a movie: fast functions of time, without information from the data, are treated one by one."""
    generator = np.random.default_rng(3)
    problem = random_problem(generator, TIME_AXES[0], frame_count=60)
    coefficient_count = problem.coefficient_slices[-1].stop
    random_root = generator.normal(size=(coefficient_count, coefficient_count))
    data, linear = (
        separate(problem, random_root @ random_root.T / coefficient_count),
        3 * generator.normal(size=(coefficient_count, 2)),
    )
    log_scales = np.log([[0.5, 3e-4], [0.01, 1e-4], [0.01, 1e-4]])
    trajectories = modes_of(problem, data, linear, np.zeros((coefficient_count, 2)))
    prior_precision = np.exp(-log_scales[0, 0]) + trajectories.roughness[0] * np.exp(-log_scales[0, 1])
    assert 0.1 < (trajectories.information[0].diagonal() > NEGLIGIBLE_INFORMATION * prior_precision).mean() < 0.8
    value, slope, information, _ = plain(problem, data, linear, log_scales)
    computed = trajectories.evidence(cpu, log_scales)
    assert computed.value.sum() == pytest.approx(value, abs=3e-3)
    np.testing.assert_allclose(computed.slope, slope, atol=3e-3)
    standard_deviation = np.sqrt(np.einsum("gii->gi", information))
    unit = standard_deviation[:, :, None] * standard_deviation[:, None]
    np.testing.assert_allclose(computed.information / unit, information / unit, atol=0.01)
    assert_derivatives(trajectories, log_scales, 1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_scales_are_found(seed):
    """Compared with a general search; the start is far away."""
    generator = np.random.default_rng(seed)
    problem = random_problem(generator, TIME_AXES[seed], frame_count=20)
    information, linear = random_form(generator, problem, 0.3)
    trajectories = modes_of(problem, information, linear, np.zeros_like(linear))
    default_scales = random_logs(generator)

    def loss(flat):
        log_scales = flat.reshape(3, 2)
        return -trajectories.evidence(cpu, log_scales).value.sum() + 0.5 * np.sum(
            ((log_scales - default_scales) / LOG_SCALE_SD) ** 2
        )

    best = optimize.minimize(
        loss, default_scales.ravel(), method="Nelder-Mead", options={"maxfev": 6000, "fatol": 1e-6}
    )
    log_scales, value = maximize_evidence(
        cpu, trajectories, default_scales + generator.normal(0, 2, size=(3, 2)), default_scales, 40
    )
    assert value.sum() == pytest.approx(-loss(log_scales.ravel()), abs=1e-9)
    assert value.sum() > -best.fun - 2e-3


def test_long_trajectories_are_kept_apart(monkeypatch):
    generator = np.random.default_rng(8)
    problem = random_problem(generator, TIME_AXES[0], frame_count=20)
    information, linear = random_form(generator, problem, 0.3)
    center = np.zeros_like(linear)
    [all_of_them] = mode_evidence(problem, QuadraticLikelihood(information, linear, center))
    monkeypatch.setattr(prior_scales, "LONG_TRAJECTORY", 10)
    parts = mode_evidence(problem, QuadraticLikelihood(information, linear, center))
    assert [c.roughness.shape[1] for c in parts] == [19, 2]
    log_scales = random_logs(generator)
    computed, expected = combine_trajectories(parts).evidence(cpu, log_scales), all_of_them.evidence(cpu, log_scales)
    np.testing.assert_allclose(computed.value, expected.value)
    default_scales, start = Prior(*np.exp(random_logs(generator)).T), Prior(*np.exp(log_scales).T)
    by_part = learn_prior(cpu, problem, QuadraticLikelihood(information, linear, center), start, default_scales)
    monkeypatch.setattr(prior_scales, "LONG_TRAJECTORY", 100)
    at_once = learn_prior(cpu, problem, QuadraticLikelihood(information, linear, center), start, default_scales)
    np.testing.assert_allclose(by_part.log_scales(), at_once.log_scales())
