"""The evidence for a prior's scales, mode by mode, against all matrices written out."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import optimize

from restframe.kernels.cpu import Cpu
from restframe.track import evidence
from restframe.track import fit as ft
from restframe.track.evidence import NEGLIGIBLE, SCALE_SPREAD, maximize_evidence, mode_evidence, together
from restframe.track.prior import AXES, Prior

cpu = Cpu(2)

DEGREES = np.array([0, 1, 1, 2])


def random_problem(rng, axis, t=9):
    """What `mode_evidence` reads of a problem: a whole-frame mode, free in every frame, and local modes in groups."""
    return on_axis(np.cumsum(rng.uniform(0.5, 1.5, t)), axis)


def on_axis(dose, axis):
    free = ft.time_basis(dose, axis, 3, tuple(range(len(dose))))
    grouped = ft.time_basis(dose, axis, 3, (0, 3, 6))
    time = (free, grouped, grouped, grouped)
    ends = np.cumsum([0] + [b.values.shape[1] for b in time])
    kinds = [
        ft.ModeGroup(free, slice(0, 1), slice(0, ends[1])),
        ft.ModeGroup(grouped, slice(1, 4), slice(ends[1], ends[-1])),
    ]
    slices = [slice(a, b) for a, b in pairwise(ends)]
    return SimpleNamespace(degrees=DEGREES, time=time, slices=slices, kinds=kinds, dose=dose)


def modes_of(problem, data, linear, x, other=None):
    """`mode_evidence` of the log likelihood linear·x - x·data·x / 2 about x."""
    return together(mode_evidence(problem, data, linear - data @ x, x, other))


def random_form(rng, problem, strength=1.0):
    """A quadratic log likelihood: data (n, n), linear (n, 2)."""
    n = problem.slices[-1].stop
    root = strength * rng.normal(size=(n, n + 5))
    return root @ root.T, 10 * rng.normal(size=(n, 2))


def random_logs(rng):
    return rng.normal([0, -3], 1, size=(3, 2))


def parts_of_precision(problem, logs):
    """By speed and by roughness, for each degree: matrices (2, degrees, n, n)."""
    n = problem.slices[-1].stop
    out = np.zeros((2, 3, n, n))
    for s, d, basis in zip(problem.slices, problem.degrees, problem.time, strict=True):
        out[0, d, s, s] = np.eye(len(basis.rough)) / np.exp(logs[d, 0])
        out[1, d, s, s] = np.diag(basis.rough) / np.exp(logs[d, 1])
    return out


def plain(problem, data, linear, logs):
    """Evidence of all modes together, its slopes (degrees, 2) and information (degrees, 2, 2); most probable x."""
    parts = parts_of_precision(problem, logs)
    q = parts.sum((0, 1))
    p = data + q
    x = np.linalg.solve(p, linear)
    w = np.linalg.inv(q) - np.linalg.inv(p)
    value = 0.5 * np.sum(linear * x) + np.linalg.slogdet(q)[1] - np.linalg.slogdet(p)[1]
    slope = [[0.5 * np.sum(x * (a @ x)) - np.trace(w @ a) for a in two] for two in parts.swapaxes(0, 1)]
    information = [[[np.trace(w @ a @ w @ b) for b in two] for a in two] for two in parts.swapaxes(0, 1)]
    return value, np.array(slope), np.array(information), x


def assert_derivatives(courses, logs, atol):
    """Slope and curvature are those of the values."""
    found = courses.evidence(cpu, logs)
    for way in (0, 1):
        step = 1e-3 * np.eye(2)[way]
        above, below = courses.evidence(cpu, logs + step), courses.evidence(cpu, logs - step)
        np.testing.assert_allclose(found.slope[:, way], (above.value - below.value) / 2e-3, atol=atol)
        np.testing.assert_allclose(found.curvature[:, way], (below.slope - above.slope) / 2e-3, atol=atol)


def separate(problem, full):
    """A matrix (n, n) without what it says of two modes together."""
    out = np.zeros_like(full)
    for s in problem.slices:
        out[s, s] = full[s, s]
    return out


@pytest.mark.parametrize("axis", AXES[:3])
def test_modes_that_do_not_meet(axis):
    rng = np.random.default_rng(1)
    problem = random_problem(rng, axis)
    data, linear = random_form(rng, problem, 3)
    data = separate(problem, data)
    for _ in range(5):
        logs = random_logs(rng)
        value, slope, information, _ = plain(problem, data, linear, logs)
        x = rng.normal(size=linear.shape)  # where other modes are does not matter then
        found = modes_of(problem, data, linear, x).evidence(cpu, logs)
        assert found.value.sum() == pytest.approx(value, rel=1e-9)
        np.testing.assert_allclose(found.slope, slope, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(found.information, information, rtol=1e-6, atol=1e-7)
        assert_derivatives(modes_of(problem, data, linear, x), logs, 1e-4 * np.abs(found.slope).max())


def test_the_information_is_how_slopes_scatter():
    rng = np.random.default_rng(6)
    problem = random_problem(rng, AXES[4])
    data = separate(problem, random_form(rng, problem)[0])
    logs = random_logs(rng)
    root = np.linalg.cholesky(data)
    sd = 1 / np.sqrt(parts_of_precision(problem, logs).sum((0, 1)).diagonal())[:, None]
    slopes = []
    for _ in range(3000):
        true, noise = sd * rng.normal(size=(len(data), 2)), rng.normal(size=(len(data), 2))
        slopes.append(modes_of(problem, data, data @ true + root @ noise, 0 * true).evidence(cpu, logs).slope)
    information = modes_of(problem, data, 0 * true, 0 * true).evidence(cpu, logs).information
    for degree in range(3):
        found = np.cov(np.array(slopes)[:, degree].T)
        np.testing.assert_allclose(found, information[degree], atol=0.1 * information[degree].max())


def test_other_modes_are_held_where_they_are():
    """At the most probable field, each mode by itself is most probable where it is."""
    rng = np.random.default_rng(5)
    problem = random_problem(rng, AXES[0])
    data, linear = random_form(rng, problem)
    logs = random_logs(rng)
    x = plain(problem, data, linear, logs)[3]
    own = linear - data @ x + separate(problem, data) @ x
    value, slope, _, again = plain(problem, separate(problem, data), own, logs)
    np.testing.assert_allclose(again, x, rtol=1e-6, atol=1e-9)
    found = modes_of(problem, data, linear, x).evidence(cpu, logs)
    assert found.value.sum() == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(found.slope, slope, rtol=1e-6, atol=1e-7)


def test_another_time_axis_is_a_change_of_coefficients():
    rng = np.random.default_rng(8)
    problem = random_problem(rng, AXES[1])
    other = on_axis(problem.dose, AXES[7])
    data, linear = random_form(rng, problem)
    x, logs = rng.normal(size=linear.shape), random_logs(rng)
    into = np.zeros_like(data)
    for s, a, b in zip(problem.slices, problem.time, other.time, strict=True):
        into[s, s] = np.linalg.lstsq(a.values, b.values, rcond=None)[0]
    direct = modes_of(other, into.T @ data @ into, into.T @ linear, np.linalg.solve(into, x)).evidence(cpu, logs)
    found = modes_of(problem, data, linear, x, other).evidence(cpu, logs)
    np.testing.assert_allclose(found.value, direct.value, rtol=1e-9)
    np.testing.assert_allclose(found.slope, direct.slope, rtol=1e-6, atol=1e-7)


def test_a_precision_that_is_none_is_an_error():
    problem = random_problem(np.random.default_rng(2), AXES[0])
    n = problem.slices[-1].stop
    nothing = np.zeros((n, 2))
    with pytest.raises(np.linalg.LinAlgError):
        modes_of(problem, -1e6 * np.eye(n), nothing, nothing).evidence(cpu, np.zeros((3, 2)))


def test_data_that_say_nothing():
    problem = random_problem(np.random.default_rng(4), AXES[0])
    n = problem.slices[-1].stop
    nothing = np.zeros((n, 2))
    courses = modes_of(problem, np.zeros((n, n)), nothing, nothing)
    found = courses.evidence(cpu, np.zeros((3, 2)))
    for part in (found.value, found.slope, found.curvature, found.information):
        np.testing.assert_allclose(part, 0, atol=1e-9)
    usual = random_logs(np.random.default_rng(5))
    np.testing.assert_allclose(maximize_evidence(cpu, courses, usual + 1, usual, 40)[0], usual, atol=0.03)


def test_the_prior_rules_most_coefficients():
    """As in a movie: rough courses in time, of which the data say nothing, are treated by themselves."""
    rng = np.random.default_rng(3)
    problem = random_problem(rng, AXES[0], t=60)
    n = problem.slices[-1].stop
    root = rng.normal(size=(n, n))
    data, linear = separate(problem, root @ root.T / n), 3 * rng.normal(size=(n, 2))
    logs = np.log([[0.5, 3e-4], [0.01, 1e-4], [0.01, 1e-4]])
    courses = modes_of(problem, data, linear, np.zeros((n, 2)))
    q = np.exp(-logs[0, 0]) + courses.rough[0] * np.exp(-logs[0, 1])
    assert 0.1 < (courses.data[0].diagonal() > NEGLIGIBLE * q).mean() < 0.8
    value, slope, information, _ = plain(problem, data, linear, logs)
    found = courses.evidence(cpu, logs)
    assert found.value.sum() == pytest.approx(value, abs=3e-3)
    np.testing.assert_allclose(found.slope, slope, atol=3e-3)
    sd = np.sqrt(np.einsum("gii->gi", information))
    unit = sd[:, :, None] * sd[:, None]
    np.testing.assert_allclose(found.information / unit, information / unit, atol=0.01)
    assert_derivatives(courses, logs, 1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_scales_are_found(seed):
    """Against a general search, from a start far away."""
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, AXES[seed], t=20)
    data, linear = random_form(rng, problem, 0.3)
    courses = modes_of(problem, data, linear, np.zeros_like(linear))
    usual = random_logs(rng)

    def loss(flat):
        logs = flat.reshape(3, 2)
        return -courses.evidence(cpu, logs).value.sum() + 0.5 * np.sum(((logs - usual) / SCALE_SPREAD) ** 2)

    best = optimize.minimize(loss, usual.ravel(), method="Nelder-Mead", options={"maxfev": 6000, "fatol": 1e-6})
    logs, value = maximize_evidence(cpu, courses, usual + rng.normal(0, 2, size=(3, 2)), usual, 40)
    assert value.sum() == pytest.approx(-loss(logs.ravel()), abs=1e-9)
    assert value.sum() > -best.fun - 2e-3


def test_long_courses_are_worked_on_by_themselves(monkeypatch):
    rng = np.random.default_rng(8)
    problem = random_problem(rng, AXES[0], t=20)
    data, linear = random_form(rng, problem, 0.3)
    x = np.zeros_like(linear)
    [all_of_them] = mode_evidence(problem, data, linear, x)
    monkeypatch.setattr(evidence, "LONG", 10)
    parts = mode_evidence(problem, data, linear, x)
    assert [c.rough.shape[1] for c in parts] == [19, 2]
    logs = random_logs(rng)
    found, expected = together(parts).evidence(cpu, logs), all_of_them.evidence(cpu, logs)
    np.testing.assert_allclose(found.value, expected.value)
    usual, start = Prior(*np.exp(random_logs(rng)).T), Prior(*np.exp(logs).T)
    by_part = ft.learn_prior(cpu, problem, data, linear, x, start, usual)
    monkeypatch.setattr(evidence, "LONG", 100)
    at_once = ft.learn_prior(cpu, problem, data, linear, x, start, usual)
    np.testing.assert_allclose(by_part.logs(), at_once.logs())
