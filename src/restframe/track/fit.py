"""The most probable motion field: Fisher scoring on the likelihood plus the prior, the prior's scales learned on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from restframe.track import likelihood as lk
from restframe.track.prior import Prior, roughness_penalty, speed_penalty
from restframe.track.tiles import Tiles


@dataclass(frozen=True)
class TimeBasis:
    """Functions of time (t, n) that are zero in the reference frame, and the prior's penalties on their coefficients (n, n)."""

    values: np.ndarray
    speed: np.ndarray
    roughness: np.ndarray


def time_basis(s: np.ndarray, reference: int, group: int) -> TimeBasis:
    """Free in every frame, or (``group`` > 1) in every group's middle, straight lines between and beyond.

    ``s``: (t,) the prior's time axis.
    """
    t = len(s)
    if group > 1 and t > 1:
        parts = np.array_split(np.arange(t), max(2, -(-t // group))) if t < 2 * group else [np.arange(t)[i : i + group] for i in range(0, t, group)]
        nodes = np.array([s[p].mean() for p in parts])
        b = np.stack([straight_lines(s, nodes, e) for e in np.eye(len(nodes))], axis=1)
        b = b - b[reference]
        u, d, _ = np.linalg.svd(b, full_matrices=False)
        values = u[:, d > 1e-9 * d[0]]
    else:
        values = np.delete(np.eye(t), reference, axis=1)
    return TimeBasis(values, values.T @ speed_penalty(s) @ values, values.T @ roughness_penalty(s) @ values)


def straight_lines(x: np.ndarray, nodes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Linear interpolation, continued beyond the first and last node along the outer pieces."""
    i = np.clip(np.searchsorted(nodes, x) - 1, 0, len(nodes) - 2)
    f = (x - nodes[i]) / (nodes[i + 1] - nodes[i])
    return values[i] * (1 - f) + values[i + 1] * f


@dataclass(frozen=True)
class Problem:
    """All that stays the same while the field is sought. Unknowns: coefficients (n, 2), mode by mode."""

    tiles: Tiles
    basis: np.ndarray  # (modes, p): each mode at the tiles' centres; the first is the whole frame
    degrees: np.ndarray  # (modes,)
    time: tuple[TimeBasis, ...]  # (modes,)
    amplitude: np.ndarray  # (t, rings): the signal's amplitude by frame
    ring: np.ndarray
    weight: np.ndarray
    count: np.ndarray  # independent coefficients a ring

    @property
    def slices(self) -> list[slice]:
        ends = np.cumsum([0] + [b.values.shape[1] for b in self.time])
        return [slice(a, b) for a, b in zip(ends, ends[1:], strict=False)]

    def amplitudes(self, x: np.ndarray) -> np.ndarray:
        """(n, 2) -> (modes, t, 2)"""
        return np.stack([b.values @ x[s] for b, s in zip(self.time, self.slices, strict=True)])

    def coefficients(self, amplitudes: np.ndarray) -> np.ndarray:
        """(some modes, t, 2) -> (n, 2), least squares; modes that are not given are at rest."""
        out = np.zeros((self.slices[-1].stop, 2))
        for b, s, a in zip(self.time, self.slices, amplitudes, strict=False):
            out[s] = np.linalg.lstsq(b.values, a, rcond=None)[0]
        return out

    def displacement(self, x: np.ndarray) -> np.ndarray:
        """(n, 2) -> (p, t, 2), small pixels."""
        return np.einsum("mp,mtc->ptc", self.basis, self.amplitudes(x))

    def to_coefficients(self, gradient: np.ndarray) -> np.ndarray:
        """Derivatives by displacement (p, t, 2) -> by coefficient (n, 2)."""
        by_mode = np.einsum("mp,ptc->mtc", self.basis, gradient)
        return np.concatenate([b.values.T @ g for b, g in zip(self.time, by_mode, strict=True)])


@dataclass(frozen=True)
class Fit:
    amplitudes: np.ndarray  # (modes, t, 2) small pixels
    prior: Prior
    likelihood: lk.Likelihood
    covariance: np.ndarray  # (n, n) of the coefficients, per axis
    value: float  # L at the field, for this fit's own spectrum
    evidence: float  # log, likewise


def prior_matrix(problem: Problem, prior: Prior) -> np.ndarray:
    """Precision of the coefficients before the data, (n, n), block diagonal."""
    return linalg.block_diag(*(prior.precision(d, b.speed, b.roughness) for d, b in zip(problem.degrees, problem.time, strict=True)))


def information(problem: Problem, like: lk.Likelihood) -> np.ndarray:
    """Fisher information of the coefficients, per axis, (n, n)."""
    slices = problem.slices
    out = np.zeros((slices[-1].stop,) * 2)
    kinds = list({id(b): b for b in problem.time}.values())
    for a in kinds:
        for b in kinds:
            rows = [m for m, k in enumerate(problem.time) if k is a]
            columns = [m for m, k in enumerate(problem.time) if k is b]
            j = a.values.T @ like.information @ b.values  # (p, na, nb)
            outer = problem.basis[rows, None] * problem.basis[None, columns]
            block = outer.reshape(-1, outer.shape[-1]) @ j.reshape(len(j), -1)
            block = block.reshape(len(rows), len(columns), *j.shape[1:])
            for i, m in enumerate(rows):
                for k, n in enumerate(columns):
                    out[slices[m], slices[n]] = block[i, k]
    return out


def scoring(kernels, problem: Problem, like: lk.Likelihood, prior: Prior, x: np.ndarray, steps: int, tolerance: float):
    """Up to ``steps`` Fisher scoring steps, each shortened until it climbs.

    Returns coefficients, the Cholesky factor of the posterior's precision, the log posterior and the aligned totals.
    """
    believed = prior_matrix(problem, prior)
    factor = linalg.cho_factor(information(problem, like) + believed, lower=True)

    def look(x):
        u = problem.displacement(x)
        totals = lk.aligned(kernels, problem.tiles, u)
        return u, totals, lk.value(like, *totals[:2]) - 0.5 * float(np.sum(x * (believed @ x)))

    u, totals, best = look(x)
    for _ in range(steps):
        g = problem.to_coefficients(lk.gradient(kernels, like, u, *totals[:2])) - believed @ x
        step = linalg.cho_solve(factor, g)
        for scale in (1.0, 0.5, 0.25, 0.1):
            seen = look(x + scale * step)
            if seen[-1] > best:
                break
        else:
            break
        x = x + scale * step
        u, totals, best = seen
        if np.abs(problem.displacement(scale * step)).max() < tolerance:
            break
    return x, factor, best, totals


def spectrum_at(problem: Problem, totals) -> lk.Spectrum:
    re, im, auto = totals
    n = len(problem.count)
    power = lk.by_ring(re**2 + im**2, problem.ring, problem.weight, n)
    return lk.estimate_spectrum(power, lk.by_ring(auto, problem.ring, problem.weight, n), problem.amplitude, problem.count)


def learn_prior(problem: Problem, prior: Prior, x: np.ndarray, covariance: np.ndarray) -> Prior:
    """One fixed-point step (MacKay 1992) for each degree: the expected penalty under the posterior is made that under the prior."""
    speed, roughness = prior.speed.copy(), prior.roughness.copy()
    for d in np.unique(problem.degrees):
        modes = np.flatnonzero(problem.degrees == d)
        basis = problem.time[modes[0]]
        believed = np.linalg.inv(prior.precision(d, basis.speed, basis.roughness))
        for k, v in ((basis.speed, speed), (basis.roughness, roughness)):
            expected = 2 * len(modes) * float(np.sum(believed * k))
            if expected <= 0:
                continue
            seen = 0.0
            for m in modes:
                s = problem.slices[m]
                seen += float(np.sum(x[s] * (k @ x[s]))) + 2 * float(np.sum(covariance[s, s] * k))
            v[d] *= np.clip(seen / expected, 0.2, 5.0)
    return Prior(np.clip(speed, 1e-8, 1e4), np.clip(roughness, 1e-9, 1e4))


def log_evidence(problem: Problem, prior: Prior, factor, best: float) -> float:
    """Laplace approximation for both axes, up to a constant of the data and spectrum."""
    logdet = 2 * float(np.log(np.diag(factor[0])).sum())
    return best + float(np.linalg.slogdet(prior_matrix(problem, prior))[1]) - logdet


def fit(kernels, problem: Problem, prior: Prior, start: np.ndarray, rounds: int, tolerance: float, steps: int = 3) -> Fit:
    """Alternate spectrum, field and prior until the field rests. ``start``: amplitudes (some modes, t, 2), small pixels."""
    x = problem.coefficients(start)
    totals = lk.aligned(kernels, problem.tiles, problem.displacement(x))
    for i in range(rounds):
        like = lk.make_likelihood(problem.tiles, spectrum_at(problem, totals), problem.amplitude, problem.ring, problem.weight, problem.count)
        before = x
        x, factor, best, totals = scoring(kernels, problem, like, prior, x, steps, tolerance)
        covariance = linalg.cho_solve(factor, np.eye(len(x)))
        if i + 1 < rounds:
            new = learn_prior(problem, prior, x, covariance)
            settled = np.allclose(np.log(new.speed), np.log(prior.speed), atol=0.1) and np.allclose(
                np.log(new.roughness), np.log(prior.roughness), atol=0.2
            )
            if settled and np.abs(problem.displacement(x - before)).max() < tolerance:
                break
            prior = new
    return Fit(
        problem.amplitudes(x), prior, like, covariance, lk.value(like, *totals[:2]), log_evidence(problem, prior, factor, best)
    )
