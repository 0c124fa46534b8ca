"""The evidence for a prior's scales: the fast form against the plain one."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from restframe.track import fit as ft
from restframe.track.evidence import NEGLIGIBLE, quadratic
from restframe.track.prior import AXES, Prior

ONES = Prior(np.ones(3), np.ones(3))


def random_problem(rng, axis, t=9):
    """What `settle` reads of a problem: a whole-frame mode, free in every frame, and local modes in groups."""
    dose = np.cumsum(rng.uniform(0.5, 1.5, t))
    free = ft.time_basis(dose, axis, 3, np.arange(t))
    grouped = ft.time_basis(dose, axis, 3, np.array([0, 3, 6]))
    degrees = np.array([0, 1, 1, 2])
    time = (free, grouped, grouped, grouped)
    ends = np.cumsum([0] + [b.values.shape[1] for b in time])
    slices = [slice(a, b) for a, b in pairwise(ends)]
    return SimpleNamespace(degrees=degrees, time=time, slices=slices)


@pytest.mark.parametrize("axis", AXES[:3])
def test_evidence_and_its_slopes(axis):
    rng = np.random.default_rng(1)
    problem = random_problem(rng, axis)
    n = problem.slices[-1].stop
    root = rng.normal(size=(n, n + 5)) * 3
    data, linear = root @ root.T, 10 * rng.normal(size=(n, 2))
    for _ in range(5):
        prior = Prior(np.exp(rng.normal(size=3)), np.exp(rng.normal(-3, 1, size=3)))
        plain = ft.settle(problem, data, linear, prior)
        value, slope = quadratic(problem, data, linear, prior).evidence(prior.speed, prior.roughness)
        assert value == pytest.approx(plain.evidence, rel=1e-9)
        np.testing.assert_allclose(slope, ft.evidence_slope(problem, plain, prior), rtol=1e-6, atol=1e-7)


def test_a_precision_that_is_none_is_an_error():
    rng = np.random.default_rng(2)
    problem = random_problem(rng, AXES[0])
    n = problem.slices[-1].stop
    with pytest.raises(np.linalg.LinAlgError):
        quadratic(problem, -1e6 * np.eye(n), np.zeros((n, 2)), ONES).evidence(np.ones(3), np.ones(3))


def test_data_that_say_nothing():
    problem = random_problem(np.random.default_rng(4), AXES[0])
    n = problem.slices[-1].stop
    value, slope = quadratic(problem, np.zeros((n, n)), np.zeros((n, 2)), ONES).evidence(np.ones(3), np.ones(3))
    assert value == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(slope, 0, atol=1e-9)


def test_the_prior_rules_most_coefficients():
    """As in a movie: rough courses in time, of which the data say nothing, are treated by themselves."""
    rng = np.random.default_rng(3)
    problem = random_problem(rng, AXES[0], t=60)
    n = problem.slices[-1].stop
    root = rng.normal(size=(n, n))
    data, linear = root @ root.T / n, 3 * rng.normal(size=(n, 2))
    prior = Prior(np.array([0.5, 0.01, 0.01]), np.array([1e-3, 1e-4, 1e-4]))
    turned = quadratic(problem, data, linear, prior)
    q = 1 / prior.speed[turned.degree] + turned.rough / prior.roughness[turned.degree]
    assert 0.1 < (turned.data.diagonal() > NEGLIGIBLE * q).mean() < 0.8
    plain = ft.settle(problem, data, linear, prior)
    value, slope = turned.evidence(prior.speed, prior.roughness)
    assert value == pytest.approx(plain.evidence, abs=3e-3)
    np.testing.assert_allclose(slope, ft.evidence_slope(problem, plain, prior), atol=3e-3)
    for way in ("speed", "roughness"):  # slopes are those of the values
        for degree in range(3):
            values = []
            for step in (-1e-2, 1e-2):
                scales = {"speed": prior.speed.copy(), "roughness": prior.roughness.copy()}
                scales[way][degree] *= np.exp(step)
                values.append(turned.evidence(**scales)[0])
            found = slope[("speed", "roughness").index(way), degree]
            assert found == pytest.approx((values[1] - values[0]) / 2e-2, abs=1e-3)
