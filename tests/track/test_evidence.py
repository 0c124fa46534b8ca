"""The evidence for a prior's scales: the fast form against the plain one."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import linalg

from restframe.track import fit as ft
from restframe.track.evidence import NEGLIGIBLE, by_degree
from restframe.track.prior import AXES, Prior


def random_problem(rng, axis, t=9):
    """What `settle` reads of a problem: a whole-frame mode, free in every frame, and local modes in groups."""
    dose = np.cumsum(rng.uniform(0.5, 1.5, t))
    free = ft.time_basis(dose, axis, 3, tuple(range(t)))
    grouped = ft.time_basis(dose, axis, 3, (0, 3, 6))
    degrees = np.array([0, 1, 1, 2])
    time = (free, grouped, grouped, grouped)
    ends = np.cumsum([0] + [b.values.shape[1] for b in time])
    slices = [slice(a, b) for a, b in pairwise(ends)]
    return SimpleNamespace(degrees=degrees, time=time, slices=slices)


def evidence_slope(problem, settled, prior):
    """Of the evidence by the log of the prior's speed and roughness, (2, degrees), after MacKay (1992)."""
    slope = np.zeros((2, len(prior.speed)))
    for s, d, basis in zip(problem.slices, problem.degrees, problem.time, strict=True):
        x, posterior = settled.x[s], settled.covariance[s, s]
        believed = linalg.inv(prior.precision(d, basis.speed, basis.roughness))
        for i, k in enumerate((basis.speed / prior.speed[d], basis.roughness / prior.roughness[d])):
            slope[i, d] += 0.5 * (float(np.sum(x * (k @ x))) + 2 * float(np.sum((posterior - believed) * k)))
    return slope


def separate(problem, full):
    """A matrix (n, n) without what it says of two modes together."""
    out = np.zeros_like(full)
    for s in problem.slices:
        out[s, s] = full[s, s]
    return out


def total_evidence(parts, prior):
    found = {d: part.evidence(prior.speed[d], prior.roughness[d]) for d, part in parts.items()}
    slopes = np.array([[found[d][i] for d in sorted(found)] for i in (1, 2)])
    return sum(f[0] for f in found.values()), slopes


@pytest.mark.parametrize("axis", AXES[:3])
def test_evidence_and_its_slopes_of_modes_that_do_not_meet(axis):
    rng = np.random.default_rng(1)
    problem = random_problem(rng, axis)
    n = problem.slices[-1].stop
    root = rng.normal(size=(n, n + 5)) * 3
    data, linear = separate(problem, root @ root.T), 10 * rng.normal(size=(n, 2))
    for _ in range(5):
        prior = Prior(np.exp(rng.normal(size=3)), np.exp(rng.normal(-3, 1, size=3)))
        plain = ft.settle(problem, data, linear, prior)
        x = rng.normal(size=(n, 2))  # where other modes are does not matter then
        value, slope = total_evidence(by_degree(problem, data, linear, x), prior)
        assert value == pytest.approx(plain.evidence, rel=1e-9)
        np.testing.assert_allclose(slope, evidence_slope(problem, plain, prior), rtol=1e-6, atol=1e-7)


def test_other_modes_are_held_where_they_are():
    """At the most probable field, each mode by itself is most probable where it is."""
    rng = np.random.default_rng(5)
    problem = random_problem(rng, AXES[0])
    n = problem.slices[-1].stop
    root = rng.normal(size=(n, n + 5))
    data, linear = root @ root.T, 10 * rng.normal(size=(n, 2))
    prior = Prior(np.exp(rng.normal(size=3)), np.exp(rng.normal(size=3)))
    x = ft.settle(problem, data, linear, prior).x
    own = linear - data @ x + separate(problem, data) @ x
    np.testing.assert_allclose(ft.settle(problem, separate(problem, data), own, prior).x, x, rtol=1e-6, atol=1e-9)
    value, _ = total_evidence(by_degree(problem, data, linear, x), prior)
    assert value == pytest.approx(ft.settle(problem, separate(problem, data), own, prior).evidence, rel=1e-9)


def test_a_precision_that_is_none_is_an_error():
    rng = np.random.default_rng(2)
    problem = random_problem(rng, AXES[0])
    n = problem.slices[-1].stop
    nothing = np.zeros((n, 2))
    with pytest.raises(np.linalg.LinAlgError):
        by_degree(problem, -1e6 * np.eye(n), nothing, nothing)[0].evidence(1.0, 1.0)


def test_data_that_say_nothing():
    problem = random_problem(np.random.default_rng(4), AXES[0])
    n = problem.slices[-1].stop
    nothing = np.zeros((n, 2))
    for part in by_degree(problem, np.zeros((n, n)), nothing, nothing).values():
        np.testing.assert_allclose(part.evidence(1.0, 1.0), 0, atol=1e-9)


def test_the_prior_rules_most_coefficients():
    """As in a movie: rough courses in time, of which the data say nothing, are treated by themselves."""
    rng = np.random.default_rng(3)
    problem = random_problem(rng, AXES[0], t=60)
    n = problem.slices[-1].stop
    root = rng.normal(size=(n, n))
    data, linear = separate(problem, root @ root.T / n), 3 * rng.normal(size=(n, 2))
    prior = Prior(np.array([0.5, 0.01, 0.01]), np.array([1e-3, 1e-4, 1e-4]))
    parts = by_degree(problem, data, linear, np.zeros((n, 2)))
    q = 1 / prior.speed[0] + parts[0].rough / prior.roughness[0]
    assert 0.1 < (parts[0].data[0].diagonal() > NEGLIGIBLE * q).mean() < 0.8
    plain = ft.settle(problem, data, linear, prior)
    value, slope = total_evidence(parts, prior)
    assert value == pytest.approx(plain.evidence, abs=3e-3)
    np.testing.assert_allclose(slope, evidence_slope(problem, plain, prior), atol=3e-3)
    for degree, part in parts.items():  # slopes are those of the values
        for way in (0, 1):
            scales = np.log([prior.speed[degree], prior.roughness[degree]])
            values = []
            for step in (-1e-2, 1e-2):
                moved = scales.copy()
                moved[way] += step
                values.append(part.evidence(*np.exp(moved))[0])
            assert slope[way, degree] == pytest.approx((values[1] - values[0]) / 2e-2, abs=1e-3)
