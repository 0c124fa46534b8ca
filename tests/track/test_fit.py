"""The linear algebra of the fit, compared with full matrices."""

import numpy as np
import pytest
from plain import plain_windows

from restframe.track import problem as problem_module
from restframe.track.information import coefficient_information
from restframe.track.likelihood import SignalModel
from restframe.track.posterior import QuadraticLikelihood, solve_posterior, stated_error
from restframe.track.prior import TIME_AXES, Prior
from restframe.track.problem import FieldModel, Problem, TileData
from restframe.track.rings import RingGeometry
from restframe.track.tiles import Tiles

MODES = ((0, 0), (1, 0), (0, 1), (2, 0))


def random_problem(generator, tile_count=12, frame_count=10, grouped=False):
    dose = np.cumsum(generator.uniform(0.5, 1.5, frame_count))
    groups = tuple(range(frame_count)), (0, 2, 3, 6) if grouped else tuple(range(frame_count))
    empty, rings = np.zeros((1, 1)), np.ones(3)
    tiles = Tiles(
        empty, empty, 16, np.zeros((tile_count, 2)), np.zeros((frame_count, 2)), 1, plain_windows(16, tile_count)
    )
    basis = np.concatenate([np.ones((1, tile_count)), generator.normal(size=(3, tile_count))])
    information = TileData(tiles, RingGeometry(empty, empty, rings), SignalModel(np.ones((frame_count, 3))))
    return Problem(information, FieldModel(MODES, basis, dose, frame_count // 2, *groups, TIME_AXES[2]))


def written_out(problem):
    """(p, t, n): displacement of tile and frame by coefficient."""
    unit_vectors = np.eye(problem.model.coefficient_count)
    return np.stack([problem.model.displacement(np.stack([one, one], 1))[..., 0] for one in unit_vectors], axis=-1)


def of_tiles(generator, tile_count, frame_count):
    root = generator.normal(size=(tile_count, frame_count, frame_count))
    return root @ root.swapaxes(1, 2)


@pytest.mark.parametrize("grouped", [False, True])
def test_information_of_the_coefficients(grouped):
    generator = np.random.default_rng(1)
    problem = random_problem(generator, grouped=grouped)
    tile_information, tile_weights = of_tiles(generator, 12, 10), generator.uniform(size=12)
    by_coefficient = written_out(problem)
    expected = np.einsum("ptn,p,pts,psm->nm", by_coefficient, tile_weights, tile_information, by_coefficient)
    np.testing.assert_allclose(
        coefficient_information(problem.assembly, tile_information, tile_weights),
        expected,
        atol=1e-10 * np.abs(expected).max(),
    )


def test_local_motion_has_the_smoothest_functions_of_time(monkeypatch):
    monkeypatch.setattr(problem_module, "LOCAL_TRAJECTORIES", 5)
    generator = np.random.default_rng(6)
    problem = random_problem(generator)
    whole, local = problem.model.global_basis, problem.model.local_basis
    assert [b.values.shape[1] for b in problem.model.mode_bases] == [9, 5, 5, 5]
    np.testing.assert_array_equal(local.values, whole.values[:, :5])
    np.testing.assert_array_equal(local.roughness, whole.roughness[:5])
    tile_information, by_coefficient = of_tiles(generator, 12, 10), written_out(problem)
    expected = np.einsum("ptn,pts,psm->nm", by_coefficient, tile_information, by_coefficient)
    np.testing.assert_allclose(
        coefficient_information(problem.assembly, tile_information), expected, atol=1e-10 * np.abs(expected).max()
    )


@pytest.mark.parametrize("grouped", [False, True])
def test_norm_is_the_mean_square_of_the_displacement(grouped):
    generator = np.random.default_rng(2)
    problem = random_problem(generator, grouped=grouped)
    coefficients = generator.normal(size=(problem.model.coefficient_count, 2))
    displacement = problem.model.displacement(coefficients)
    expected = ((displacement - displacement.mean(1, keepdims=True)) ** 2).sum(2).mean()
    assert np.sum(coefficients * (problem.model.displacement_norm @ coefficients)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("grouped", [False, True])
def test_repeated_solutions_converge(grouped):
    """Whichever coefficients are solved together, the result converges to the most probable ones."""
    generator = np.random.default_rng(3)
    problem = random_problem(generator, grouped=grouped)
    information = coefficient_information(problem.assembly, 0.03 * of_tiles(generator, 12, 10))
    linear = 5 * generator.normal(size=(len(information), 2))
    precision = problem.model.prior_precision(Prior(np.array([1.0, 0.1, 0.1]), np.array([0.03, 1e-3, 1e-3])))
    posterior = information + np.diag(precision)
    best, covariance = np.linalg.solve(posterior, linear), np.linalg.inv(posterior)
    stated = np.sqrt(2 * np.sum(covariance * problem.model.displacement_norm))

    start = generator.normal(size=linear.shape)
    at_once = solve_posterior(QuadraticLikelihood(information, linear - information @ start, start), precision, 0.0)
    np.testing.assert_allclose(at_once.coefficients, best, rtol=1e-8)
    assert stated_error(problem.model, at_once) == pytest.approx(stated, rel=1e-9)

    coefficients = np.zeros_like(linear)
    for _ in range(60):
        posterior_solution = solve_posterior(
            QuadraticLikelihood(information, linear - information @ coefficients, coefficients), precision, 0.1
        )
        coefficients = posterior_solution.coefficients
    assert 2 < posterior_solution.joint.sum() < len(coefficients) - 2
    np.testing.assert_allclose(coefficients, best, atol=1e-6 * np.abs(best).max())
    assert stated_error(problem.model, posterior_solution) == pytest.approx(stated, rel=0.03)


def test_data_without_information_leave_the_prior():
    problem = random_problem(np.random.default_rng(4))
    precision = problem.model.prior_precision(Prior(np.ones(3), np.ones(3)))
    nothing = np.zeros((len(precision), 2))
    posterior_solution = solve_posterior(
        QuadraticLikelihood(np.zeros((len(precision),) * 2), nothing, nothing + 1), precision
    )
    np.testing.assert_allclose(posterior_solution.coefficients, 0, atol=1e-12)
    expected = np.sqrt(2 * np.sum(problem.model.displacement_norm.diagonal() / precision))
    assert stated_error(problem.model, posterior_solution) == pytest.approx(expected, rel=1e-9)
