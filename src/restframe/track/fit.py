"""The most probable motion field: Fisher scoring on likelihood and prior, the prior's scales learned on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from scipy import linalg

from restframe.track import likelihood as lk
from restframe.track.evidence import best_scales, of_modes, together
from restframe.track.groups import Groups
from restframe.track.prior import AXES, Prior, TimeAxis, roughness_penalty, speed_penalty
from restframe.track.tiles import Tiles

UNSURE = 1.0  # small pixels, sd of the displacements along an axis before the first round
MOST_UNSURE = 3.0  # then a tenth is left of waves of 9 small pixels, and something of the shortest ones
SETTLED = 0.05  # of the stated error: steps smaller than that, rms, don't matter
LEARNING_STEPS = 12  # of the search for the prior's scales, each round


@dataclass(frozen=True, eq=False)
class TimeBasis:
    """Functions of time (t, n), zero in the reference frame, and the prior's penalties on their coefficients (n, n)."""

    values: np.ndarray
    speed: np.ndarray
    roughness: np.ndarray

    @cached_property
    def turn(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates in which the speed penalty is one and the other diagonal: its diagonal (n,), ascending, and the
        matrix (n, n) from them to the coefficients.
        """
        rough, v = linalg.eigh(self.roughness, self.speed)
        return np.maximum(rough, 0), v


def time_basis(dose: np.ndarray, axis: TimeAxis, reference: int, groups: Groups) -> TimeBasis:
    """Free in every frame, or, where ``groups`` are fewer, in every group's middle, straight lines between and beyond.

    ``dose``: (t,) e/A² at the middle of each frame, counted from the first.
    """
    t = len(dose)
    if len(groups) < t:
        nodes = np.array([part.mean() for part in np.split(dose, groups[1:])])
        b = np.stack([straight_lines(dose, nodes, e) for e in np.eye(len(nodes))], axis=1)
        u, d, _ = np.linalg.svd(b - b[reference], full_matrices=False)
        values = u[:, d > 1e-9 * d[0]]
    else:
        values = np.delete(np.eye(t), reference, axis=1)
    s = axis.of(dose)
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
    modes: tuple[tuple[int, int], ...]
    basis: np.ndarray  # (modes, p): each mode at the tiles' centres; the first is the whole frame
    groups: tuple[Groups, Groups]  # frames aligned together: whole frame, local modes
    axis: TimeAxis
    amplitude: np.ndarray  # (t, rings): the signal's amplitude by frame
    ring: np.ndarray  # of each coefficient of a tile
    weight: np.ndarray  # of each coefficient of a tile, as independent observations
    count: np.ndarray  # (rings,) independent coefficients
    frequency: np.ndarray  # (rings,) cycles per pixel of the image whose short side is 2048
    dose: np.ndarray  # (t,) e/A² at the middle of each frame, counted from the first
    reference: int
    damping: np.ndarray | None = None  # (rings,) MotionCor's filter instead of the data's weights

    @property
    def degrees(self) -> np.ndarray:
        return np.array([sum(m) for m in self.modes])

    def up_to(self, degree: int) -> Problem:
        """The same with fewer modes."""
        keep = np.flatnonzero(self.degrees <= degree)
        return replace(self, modes=tuple(self.modes[m] for m in keep), basis=self.basis[keep])

    @cached_property
    def time(self) -> tuple[TimeBasis, ...]:
        """Of each mode."""
        kinds = [time_basis(self.dose, self.axis, self.reference, g) for g in dict.fromkeys(self.groups)]
        return tuple(kinds[-1] if d else kinds[0] for d in self.degrees)

    @cached_property
    def slices(self) -> list[slice]:
        ends = np.cumsum([0] + [b.values.shape[1] for b in self.time])
        return [slice(a, b) for a, b in pairwise(ends)]

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
    x: np.ndarray  # (n, 2) the same as coefficients
    covariance: np.ndarray  # (n, n) of the coefficients, per axis
    axis: TimeAxis
    at: lk.Aligned  # the tiles, brought to rest by the field


def prior_matrix(problem: Problem, prior: Prior) -> np.ndarray:
    """Precision of the coefficients before the data, (n, n), block diagonal."""
    return linalg.block_diag(
        *(prior.precision(d, b.speed, b.roughness) for d, b in zip(problem.degrees, problem.time, strict=True))
    )


def information(problem: Problem, of_tiles: np.ndarray) -> np.ndarray:
    """Fisher information of the coefficients, per axis, (n, n), from that of each tile's displacements (p, t, t)."""
    slices = problem.slices
    out = np.zeros((slices[-1].stop,) * 2)
    kinds = list({id(b): b for b in problem.time}.values())
    for a in kinds:
        for b in kinds:
            rows = [m for m, k in enumerate(problem.time) if k is a]
            columns = [m for m, k in enumerate(problem.time) if k is b]
            j = a.values.T @ of_tiles @ b.values  # (p, na, nb)
            outer = problem.basis[rows, None] * problem.basis[None, columns]
            block = outer.reshape(-1, outer.shape[-1]) @ j.reshape(len(j), -1)
            block = block.reshape(len(rows), len(columns), *j.shape[1:])
            for i, m in enumerate(rows):
                for k, n in enumerate(columns):
                    out[slices[m], slices[n]] = block[i, k]
    return out


def aligned(kernels, problem: Problem, displacement: np.ndarray, spread: np.ndarray) -> lk.Aligned:
    """The tiles, brought to rest by ``displacement`` (p, t, 2) whose variance is ``spread`` (p, t)."""
    return lk.aligned(kernels, problem.tiles, displacement, spread, problem.ring, problem.weight)


def spread_after(step: np.ndarray, error: float) -> np.ndarray:
    """Variance along an axis of what is not known of the displacements, (p, t): the posterior's, and as much as the
    last ``step`` (p, t, 2) moved them, since where a tile still goes far its high frequencies do not line up yet.
    """
    return np.minimum(0.5 * (error**2 + ((step - step.mean(1, keepdims=True)) ** 2).sum(2)), MOST_UNSURE**2)


def likelihood_at(problem: Problem, at: lk.Aligned, error: float) -> lk.Likelihood:
    """The likelihood with the spectrum that the tiles, brought to rest, show.

    ``error``: what is not known of the displacement (`stated_error`, small pixels). The fit makes |R|² larger than
    it is at the true field: L grows by half the trace of information times covariance. That is a factor
    1 + k² error² / 2 of the signal's power, since the displacements of two frames differ by error² along an axis.
    """
    k2 = (2 * np.pi * np.arange(len(problem.count)) / problem.tiles.size) ** 2
    spectrum = lk.estimate_spectrum(at, problem.amplitude, problem.count, 1 + 0.5 * k2 * error**2)
    return lk.make_likelihood(
        at, problem.tiles, spectrum, problem.amplitude, problem.ring, problem.weight, problem.count, problem.damping
    )


def data_gradient(kernels, problem: Problem, result: Fit) -> np.ndarray:
    """Derivative of the log likelihood by the displacement of each tile and frame at the fitted field, (p, t, 2), per
    small pixel.
    """
    u = problem.displacement(result.x)
    return lk.gradient(kernels, result.likelihood, u, result.at)


def stated_error(problem: Problem, covariance: np.ndarray) -> float:
    """Posterior sd of the displacement, both axes together, rms over tiles and frames less the mean over time.

    Small pixels.
    """
    values = [b.values - b.values.mean(0) for b in problem.time]
    overlap = problem.basis @ problem.basis.T / problem.basis.shape[1]
    total = 0.0
    for m, a in enumerate(problem.slices):
        for n, b in enumerate(problem.slices):
            total += overlap[m, n] * float(np.sum((values[m] @ covariance[a, b]) * values[n]))
    return float(np.sqrt(2 * total / len(values[0])))


@dataclass(frozen=True, eq=False)
class Settled:
    """The posterior of a quadratic likelihood."""

    x: np.ndarray  # (n, 2) most probable coefficients
    precision: np.ndarray  # (n, n) of the prior
    factor: np.ndarray  # (n, n) lower Cholesky factor of the posterior's precision
    evidence: float  # log, up to a constant of the data

    @cached_property
    def covariance(self) -> np.ndarray:
        """(n, n) of the posterior, per axis."""
        lower, _ = linalg.lapack.dpotri(self.factor, lower=1)
        return np.tril(lower) + np.tril(lower, -1).T


def settle(problem: Problem, data: np.ndarray, linear: np.ndarray, prior: Prior) -> Settled:
    """Most probable coefficients for the log likelihood linear·x - x·data·x / 2 of each axis, and the evidence for
    the prior's scales.

    log evidence = sum over both axes of (linear·x + log det Q - log det (data + Q)) / 2, Q the prior's precision.
    """
    q = prior_matrix(problem, prior)
    factor, _ = linalg.cho_factor(data + q, lower=True)
    x = linalg.cho_solve((factor, True), linear)
    believed = [
        linalg.cholesky(prior.precision(d, b.speed, b.roughness), lower=True)
        for d, b in zip(problem.degrees, problem.time, strict=True)
    ]
    log_det = [2 * float(np.log(np.diag(f)).sum()) for f in (factor, *believed)]
    return Settled(x, q, factor, 0.5 * float(np.sum(linear * x)) + sum(log_det[1:]) - log_det[0])


def learn_prior(
    problem: Problem, data: np.ndarray, linear: np.ndarray, x: np.ndarray, prior: Prior, usual: Prior
) -> Prior:
    """The prior's scales with the highest evidence, each mode's with the others at ``x`` (`evidence.py`)."""
    n = int(problem.degrees.max()) + 1
    courses = of_modes(problem, data, linear, x)
    logs, _ = best_scales(courses, prior.logs()[:n], usual.logs()[:n], LEARNING_STEPS)
    return Prior(*np.exp(np.concatenate([logs, prior.logs()[n:]])).T)


def choose_axis(
    problem: Problem, data: np.ndarray, linear: np.ndarray, x: np.ndarray, prior: Prior, usual: Prior
) -> Problem:
    """The problem on the time axis with the highest evidence, each with its own best scales."""
    n = int(problem.degrees.max()) + 1
    each = together([of_modes(replace(problem, axis=axis), data, linear, x) for axis in AXES])
    start, center = (np.tile(p.logs()[:n], (len(AXES), 1)) for p in (prior, usual))
    evidence = best_scales(each, start, center, LEARNING_STEPS)[1].reshape(len(AXES), n).sum(1)
    return replace(problem, axis=AXES[int(evidence.argmax())])


def fit(
    kernels,
    problem: Problem,
    usual: Prior,
    prior: Prior,
    start: np.ndarray,
    rounds: int,
    tolerance: float,
    try_axes: bool = False,
) -> Fit:
    """Fisher scoring until the field moves by less than ``tolerance`` small pixels anywhere, or by less than matters
    (`SETTLED`), or ``rounds`` are used up.

    Each round estimates the spectrum at the present field, takes the likelihood's gradient and expected curvature
    there, settles prior and field on that quadratic and goes there, less far if the posterior does not rise. Tiles
    that moved far count by their low frequencies until they are found (`spread_after`).
    ``start``: amplitudes (some modes, t, 2), small pixels. ``usual``: the prior's scales before any data, ``prior``:
    those to begin with. ``try_axes``: choose the prior's time axis in the second round.
    """
    x = problem.coefficients(start)
    u = problem.displacement(x)
    at = aligned(kernels, problem, u, np.full(u.shape[:2], UNSURE**2))
    error = 0.0
    for i in range(max(rounds, 1)):
        like = likelihood_at(problem, at, error)
        data = information(problem, like.information)
        linear = data @ x + problem.to_coefficients(lk.gradient(kernels, like, u, at))
        if try_axes and i == 1:
            problem = choose_axis(problem, data, linear, x, prior, usual)
        prior = learn_prior(problem, data, linear, x, prior, usual)
        settled = settle(problem, data, linear, prior)
        error = stated_error(problem, settled.covariance)

        def posterior(x, at, like=like, precision=settled.precision):
            return lk.value(like, at) - 0.5 * float(np.sum(x * (precision @ x)))

        here, before = posterior(x, at), at.spread
        for scale in (1.0, 0.5, 0.2, 0.05, 0.0):
            trial = x + scale * (settled.x - x)
            step = problem.displacement(trial) - u
            at = aligned(kernels, problem, u + step, spread_after(step, error))
            # less is sure after a long step, which may hide that the posterior rose
            if posterior(trial, at) >= here or posterior(trial, aligned(kernels, problem, u + step, before)) >= here:
                break
        x, u = trial, u + step
        if np.abs(step).max() < tolerance or np.sqrt((step**2).sum(2).mean()) < SETTLED * error:
            break
    return Fit(problem.amplitudes(x), prior, like, x, settled.covariance, problem.axis, at)
