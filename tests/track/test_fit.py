"""The fit's linear algebra against all matrices written out."""

import numpy as np
import pytest
from plain import plain_windows

from restframe.track import fit as ft
from restframe.track.prior import AXES, Prior
from restframe.track.tiles import Tiles

MODES = ((0, 0), (1, 0), (0, 1), (2, 0))


def random_problem(rng, p=12, t=10, grouped=False):
    dose = np.cumsum(rng.uniform(0.5, 1.5, t))
    groups = tuple(range(t)), (0, 2, 3, 6) if grouped else tuple(range(t))
    none, rings = np.zeros((1, 1)), np.ones(3)
    tiles = Tiles(none, none, 16, np.zeros((p, 2)), np.zeros((t, 2)), 1, plain_windows(16, p))
    basis = np.concatenate([np.ones((1, p)), rng.normal(size=(3, p))])
    return ft.Problem(tiles, MODES, basis, groups, AXES[2], np.ones((t, 3)), none, none, rings, rings, dose, t // 2)


def written_out(problem):
    """(p, t, n): displacement of tile and frame by coefficient."""
    e = np.eye(problem.slices[-1].stop)
    return np.stack([problem.displacement(np.stack([one, one], 1))[..., 0] for one in e], axis=-1)


def of_tiles(rng, p, t):
    root = rng.normal(size=(p, t, t))
    return root @ root.swapaxes(1, 2)


@pytest.mark.parametrize("grouped", [False, True])
def test_information_of_the_coefficients(grouped):
    rng = np.random.default_rng(1)
    problem = random_problem(rng, grouped=grouped)
    j, keep = of_tiles(rng, 12, 10), rng.uniform(size=12)
    a = written_out(problem)
    expected = np.einsum("ptn,p,pts,psm->nm", a, keep, j, a)
    np.testing.assert_allclose(ft.information(problem, j, keep), expected, atol=1e-10 * np.abs(expected).max())


def test_local_motion_takes_the_smoothest_courses(monkeypatch):
    monkeypatch.setattr(ft, "COURSES", 5)
    rng = np.random.default_rng(6)
    problem = random_problem(rng)
    whole, local = problem.whole_time, problem.local_time
    assert [b.values.shape[1] for b in problem.time] == [9, 5, 5, 5]
    np.testing.assert_array_equal(local.values, whole.values[:, :5])
    np.testing.assert_array_equal(local.rough, whole.rough[:5])
    j, a = of_tiles(rng, 12, 10), written_out(problem)
    expected = np.einsum("ptn,pts,psm->nm", a, j, a)
    np.testing.assert_allclose(ft.information(problem, j), expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("grouped", [False, True])
def test_norm_is_the_mean_square_of_the_displacement(grouped):
    rng = np.random.default_rng(2)
    problem = random_problem(rng, grouped=grouped)
    x = rng.normal(size=(problem.slices[-1].stop, 2))
    u = problem.displacement(x)
    expected = ((u - u.mean(1, keepdims=True)) ** 2).sum(2).mean()
    assert np.sum(x * (problem.norm @ x)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("grouped", [False, True])
def test_settling_again_and_again(grouped):
    """Wherever the line between free coefficients and others is drawn, the most probable ones are found."""
    rng = np.random.default_rng(3)
    problem = random_problem(rng, grouped=grouped)
    data = ft.information(problem, 0.03 * of_tiles(rng, 12, 10))
    linear = 5 * rng.normal(size=(len(data), 2))
    precision = problem.precision(Prior(np.array([1.0, 0.1, 0.1]), np.array([0.03, 1e-3, 1e-3])))
    posterior = data + np.diag(precision)
    best, covariance = np.linalg.solve(posterior, linear), np.linalg.inv(posterior)
    stated = np.sqrt(2 * np.sum(covariance * problem.norm))

    start = rng.normal(size=linear.shape)
    at_once = ft.solve_posterior(data, linear - data @ start, precision, start, 0.0)
    np.testing.assert_allclose(at_once.x, best, rtol=1e-8)
    assert ft.stated_error(problem, at_once) == pytest.approx(stated, rel=1e-9)

    x = np.zeros_like(linear)
    for _ in range(60):
        settled = ft.solve_posterior(data, linear - data @ x, precision, x, 0.1)
        x = settled.x
    assert 2 < settled.free.sum() < len(x) - 2
    np.testing.assert_allclose(x, best, atol=1e-6 * np.abs(best).max())
    assert ft.stated_error(problem, settled) == pytest.approx(stated, rel=0.03)


def test_data_that_say_nothing_leave_the_prior():
    problem = random_problem(np.random.default_rng(4))
    precision = problem.precision(Prior(np.ones(3), np.ones(3)))
    nothing = np.zeros((len(precision), 2))
    settled = ft.solve_posterior(np.zeros((len(precision),) * 2), nothing, precision, nothing + 1)
    np.testing.assert_allclose(settled.x, 0, atol=1e-12)
    expected = np.sqrt(2 * np.sum(problem.norm.diagonal() / precision))
    assert ft.stated_error(problem, settled) == pytest.approx(expected, rel=1e-9)
