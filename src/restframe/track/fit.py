"""The most probable motion field: Fisher scoring on likelihood and prior, the prior's scales learned on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement, pairwise
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from scipy import linalg

from restframe.kernels.reference import to_host
from restframe.track import likelihood as lk
from restframe.track.evidence import maximize_evidence, mode_evidence, together
from restframe.track.groups import Groups
from restframe.track.pattern import FixedPattern
from restframe.track.prior import AXES, Prior, TimeAxis, roughness_penalty, speed_penalty
from restframe.track.tiles import Tiles

UNSURE = 1.0  # small pixels, sd of the displacements along an axis before the first round
MOST_UNSURE = 3.0  # then a tenth is left of waves of 9 small pixels, and something of the shortest ones
SETTLED = 0.05  # of the stated error: steps smaller than that, rms, don't matter
COURSES = 24  # in time, of each local mode
NEGLIGIBLE = 1e-2  # of the prior's precision: coefficients with less information are found one by one
LEARNING_STEPS = 3  # of the search for the prior's scales, each round and for each time axis


@dataclass(frozen=True, eq=False)
class TimeBasis:
    """Functions of time, zero in the reference frame, so that both of the prior's penalties are diagonal."""

    values: np.ndarray  # (t, n)
    rough: np.ndarray  # (n,) the roughness penalty where the speed penalty is one, ascending

    @cached_property
    def inverse(self) -> np.ndarray:
        """(n, t): the coefficients of a course, least squares."""
        return np.linalg.pinv(self.values)


@dataclass(frozen=True)
class ModeGroup:
    """Modes with the same functions of time."""

    time: TimeBasis
    modes: slice
    coefficients: slice


@dataclass(frozen=True, eq=False)
class Assembly:
    """Where the tiles are: how what they tell of each course in time becomes what is told of the coefficients."""

    courses: list[tuple[Any, bool]]  # of each kind, (t, n), and whether it is that of one mode only
    pairs: list[tuple[int, int, Any]]  # two kinds, and the products of their modes (pairs, p)
    places: Any  # (n, n) where each number lies among those of all pairs


def time_basis(dose: np.ndarray, axis: TimeAxis, reference: int, groups: Groups) -> TimeBasis:
    """Free in every frame, or, where ``groups`` are fewer, in every group's middle, straight lines between and beyond.

    ``dose``: (t,) e/A² at the middle of each frame, counted from the first.
    """
    return _time_basis(tuple(dose.tolist()), axis, reference, groups)


@lru_cache(4 * len(AXES))  # movies of one batch share them
def _time_basis(doses: tuple[float, ...], axis: TimeAxis, reference: int, groups: Groups) -> TimeBasis:
    dose, t = np.array(doses), len(doses)
    if len(groups) < t:
        nodes = np.array([part.mean() for part in np.split(dose, groups[1:])])
        b = np.stack([straight_lines(dose, nodes, e) for e in np.eye(len(nodes))], axis=1)
        u, d, _ = np.linalg.svd(b - b[reference], full_matrices=False)
        values = u[:, d > 1e-9 * d[0]]
    else:
        values = np.delete(np.eye(t), reference, axis=1)
    s = axis.of(dose)
    rough, turn = linalg.eigh(values.T @ roughness_penalty(s) @ values, values.T @ speed_penalty(s) @ values)
    return TimeBasis(values @ turn, np.maximum(rough, 0))


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
    weight: np.ndarray  # of each coefficient of a tile
    count: np.ndarray  # (rings,) coefficients of a tile
    frequency: np.ndarray  # (rings,) cycles per pixel of the image whose short side is 2048
    dose: np.ndarray  # (t,) e/A² at the middle of each frame, counted from the first
    reference: int
    damping: np.ndarray | None = None  # (rings,) MotionCor's filter instead of the data's weights
    pattern: FixedPattern | None = None  # what was taken off the tiles

    @property
    def degrees(self) -> np.ndarray:
        return np.array([sum(m) for m in self.modes])

    @property
    def independent(self) -> np.ndarray:
        """(p, rings) independent coefficients."""
        return self.tiles.windows.share[:, None] * self.count

    @cached_property
    def whole_time(self) -> TimeBasis:
        """Of the whole frame."""
        return time_basis(self.dose, self.axis, self.reference, self.groups[0])

    @cached_property
    def local_time(self) -> TimeBasis:
        """Of local motion: the smoothest courses."""
        whole, local = self.groups
        time = self.whole_time if local == whole else time_basis(self.dose, self.axis, self.reference, local)
        return time if len(time.rough) <= COURSES else TimeBasis(time.values[:, :COURSES], time.rough[:COURSES])

    @cached_property
    def time(self) -> tuple[TimeBasis, ...]:
        """Of each mode."""
        return tuple(self.local_time if d else self.whole_time for d in self.degrees)

    @cached_property
    def slices(self) -> list[slice]:
        ends = np.cumsum([0] + [b.values.shape[1] for b in self.time])
        return [slice(a, b) for a, b in pairwise(ends)]

    def precision(self, prior: Prior) -> np.ndarray:
        """Of the coefficients before the data, (n,)."""
        return np.concatenate([prior.precision(d, b.rough) for d, b in zip(self.degrees, self.time, strict=True)])

    @cached_property
    def kinds(self) -> list[ModeGroup]:
        """In the order of modes: the whole frame, which may be like all others, and local ones."""
        first = [m for m, b in enumerate(self.time) if m == 0 or b is not self.time[m - 1]]
        spans = pairwise([*first, len(self.time)])
        ends = [s.start for s in self.slices] + [self.slices[-1].stop]
        return [ModeGroup(self.time[a], slice(a, b), slice(ends[a], ends[b])) for a, b in spans]

    @cached_property
    def assembly(self) -> Assembly:
        """For `information`."""
        places = np.empty((self.slices[-1].stop,) * 2, np.int32)
        xp, parts, done = array_namespace(self.tiles.re), [], 0
        for i, j in combinations_with_replacement(range(len(self.kinds)), 2):
            a, b = self.kinds[i], self.kinds[j]
            one, other = self.basis[a.modes], self.basis[b.modes]
            first, second = np.triu_indices(len(one)) if i == j else np.indices((len(one), len(other))).reshape(2, -1)
            number = np.empty((len(one), len(other)), np.int32)
            number[first, second] = np.arange(len(first))
            if i == j:
                number[second, first] = np.arange(len(first))
            size = a.time.values.shape[1], b.time.values.shape[1]
            at = number[:, None, :, None] * (size[0] * size[1]) + np.arange(size[0] * size[1]).reshape(size)[:, None]
            block = done + at.reshape(len(one) * size[0], -1)
            places[b.coefficients, a.coefficients] = block.T
            places[a.coefficients, b.coefficients] = block
            done += len(first) * size[0] * size[1]
            parts.append((i, j, xp.asarray(one[first] * other[second])))
        courses = [(xp.asarray(k.time.values), k.modes.stop - k.modes.start == 1) for k in self.kinds]
        return Assembly(courses, parts, xp.asarray(places))

    @cached_property
    def norm(self) -> np.ndarray:
        """(n, n): x·norm·x is the mean square, over tiles and frames, of the displacement less its mean over time."""
        overlap = self.basis @ self.basis.T / self.basis[0].size / len(self.dose)
        values = [k.time.values - k.time.values.mean(0) for k in self.kinds]
        return np.block(
            [
                [np.kron(overlap[k.modes, l.modes], a.T @ b) for l, b in zip(self.kinds, values, strict=True)]
                for k, a in zip(self.kinds, values, strict=True)
            ]
        )

    def amplitudes(self, x: np.ndarray) -> np.ndarray:
        """(n, 2) -> (modes, t, 2)"""
        return np.concatenate(
            [k.time.values @ x[k.coefficients].reshape(-1, k.time.values.shape[1], 2) for k in self.kinds]
        )

    def coefficients(self, amplitudes: np.ndarray) -> np.ndarray:
        """(some modes, t, 2) -> (n, 2), least squares; modes that are not given are at rest."""
        out = np.zeros((self.slices[-1].stop, 2))
        for k in self.kinds:
            found = (k.time.inverse @ amplitudes[k.modes]).reshape(-1, 2)
            out[k.coefficients][: len(found)] = found
        return out

    def displacement(self, x: np.ndarray) -> np.ndarray:
        """(n, 2) -> (p, t, 2), small pixels."""
        return np.tensordot(self.basis.T, self.amplitudes(x), 1)

    def to_coefficients(self, gradient: np.ndarray) -> np.ndarray:
        """Derivatives by displacement (p, t, 2) -> by coefficient (n, 2)."""
        by_mode = np.tensordot(self.basis, gradient, 1)
        return np.concatenate([(k.time.values.T @ by_mode[k.modes]).reshape(-1, 2) for k in self.kinds])


@dataclass(frozen=True)
class Fit:
    amplitudes: np.ndarray  # (modes, t, 2) small pixels
    prior: Prior
    likelihood: lk.Likelihood
    x: np.ndarray  # (n, 2) the same as coefficients
    error: float  # posterior sd (`stated_error`), small pixels
    axis: TimeAxis
    at: lk.Aligned  # the tiles, brought to rest by the field


def information(problem: Problem, of_tiles, keep: np.ndarray | None = None) -> np.ndarray:
    """Fisher information of the coefficients, per axis, (n, n), from that of each tile's displacements (p, t, t).

    ``keep``: (p,) how much each tile counts.
    """
    xp, a = array_namespace(of_tiles), problem.assembly
    if keep is not None:
        of_tiles = of_tiles * xp.asarray(keep)[:, None, None]
    # where a kind has one mode, tiles are summed before frames, which are many more than courses of local motion
    on_right = [of_tiles if alone else of_tiles @ courses for courses, alone in a.courses]
    blocks = []
    for i, j, both in a.pairs:
        (left, left_alone), (right, right_alone) = a.courses[i], a.courses[j]
        each = on_right[j] if left_alone else left.T @ on_right[j]
        block = (both @ each.reshape(len(each), -1)).reshape(-1, *each.shape[1:])
        block = block @ right if right_alone else block
        blocks.append((left.T @ block if left_alone else block).reshape(-1))
    return to_host(xp.concat(blocks)[a.places])


def aligned(kernels, problem: Problem, displacement: np.ndarray, spread: np.ndarray) -> lk.Aligned:
    """The tiles, brought to rest by ``displacement`` (p, t, 2) whose variance is ``spread`` (p, t)."""
    return lk.aligned(kernels, problem.tiles, displacement, spread, problem.amplitude, problem.ring, problem.weight)


def spread_after(step: np.ndarray, error: float) -> np.ndarray:
    """Variance along an axis of what is not known of the displacements, (p, t): the posterior's, and as much as the
    last ``step`` (p, t, 2) moved them, since where a tile still goes far its high frequencies do not line up yet.
    """
    along = np.ascontiguousarray(np.moveaxis(step, 2, 0))  # where frames follow each other sums take a tenth as long
    x, y = along - along.mean(2, keepdims=True)
    return np.minimum(0.5 * (error**2 + x**2 + y**2), MOST_UNSURE**2)


def likelihood_at(problem: Problem, at: lk.Aligned, error: float) -> lk.Likelihood:
    """The likelihood with the spectrum that the tiles, brought to rest, show.

    ``error``: what is not known of the displacement (`stated_error`, small pixels). The fit makes |R|² larger than
    it is at the true field: L grows by half the trace of information times covariance. That is a factor
    1 + k² error² / 2 of the signal's power, since the displacements of two frames differ by error² along an axis.
    """
    k2 = (2 * np.pi * np.arange(len(problem.count)) / problem.tiles.size) ** 2
    spectrum = lk.estimate_spectrum(at, problem.independent, 1 + 0.5 * k2 * error**2)
    return lk.make_likelihood(
        at,
        problem.tiles,
        spectrum,
        problem.amplitude,
        problem.ring,
        problem.weight,
        problem.independent,
        problem.damping,
        problem.pattern,
    )


@dataclass(frozen=True, eq=False)
class Posterior:
    """The posterior of a quadratic likelihood."""

    x: np.ndarray  # (n, 2) most probable coefficients
    free: np.ndarray  # (n,) those of which the data say something
    factor: np.ndarray  # lower Cholesky factor of their posterior precision
    alone: np.ndarray  # posterior precision of each of the others


def solve_posterior(
    data: np.ndarray, slope: np.ndarray, precision: np.ndarray, start: np.ndarray, negligible: float = NEGLIGIBLE
) -> Posterior:
    """Most probable coefficients for the log likelihood of each axis whose slope at ``start`` (n, 2) is ``slope`` and
    whose curvature is -``data`` (n, n), and the prior's ``precision`` (n,).

    Coefficients of which the data say less than ``negligible`` of what the prior says are held at ``start``
    while the others are found, then found one by one: what is settled again and again comes to rest where all together
    are most probable.
    """
    own = data.diagonal()
    free = own > negligible * precision
    among, rest = np.flatnonzero(free), np.flatnonzero(~free)
    up = slope - precision[:, None] * start
    rows = data[among]
    p = rows[:, among]
    p[np.diag_indices_from(p)] += precision[among]
    factor = linalg.cholesky(p, lower=True, overwrite_a=True, check_finite=False)
    step = np.empty_like(start)
    step[among] = linalg.cho_solve((factor, True), up[among], check_finite=False)
    alone = own[rest] + precision[rest]
    step[rest] = (up - rows.T @ step[among])[rest] / alone[:, None]
    return Posterior(start + step, free, factor, alone)


def stated_error(problem: Problem, settled: Posterior) -> float:
    """Posterior sd of the displacement, both axes together, rms over tiles and frames less the mean over time.

    Small pixels.
    """
    lower = linalg.lapack.dpotri(settled.factor, lower=1)[0] if settled.free.any() else settled.factor
    among, rest = np.flatnonzero(settled.free), np.flatnonzero(~settled.free)
    norm = problem.norm[among][:, among]
    total = 2 * np.vdot(lower.T, norm) - lower.diagonal() @ norm.diagonal()  # above the diagonal, ``lower`` is zero
    return float(np.sqrt(2 * (total + (problem.norm[rest, rest] / settled.alone).sum())))


def learn_prior(
    kernels, problem: Problem, data: np.ndarray, slope: np.ndarray, x: np.ndarray, prior: Prior, usual: Prior
) -> Prior:
    """The prior's scales with the highest evidence, each mode's with the others at ``x`` (`evidence.py`)."""
    found, first = prior.logs(), 0
    for courses in mode_evidence(problem, data, slope, x):
        these = slice(first, first + courses.n_pairs)
        found[these], _ = maximize_evidence(kernels, courses, found[these], usual.logs()[these], LEARNING_STEPS)
        first = these.stop
    return Prior(*np.exp(found).T)


def choose_axis(
    kernels, problem: Problem, data: np.ndarray, slope: np.ndarray, x: np.ndarray, prior: Prior, usual: Prior
) -> Problem:
    """The problem on the time axis with the highest evidence, each with its own best scales."""
    others = [replace(problem, axis=axis) for axis in AXES]
    evidence, first = np.zeros(len(AXES)), 0
    for parts in zip(*(mode_evidence(problem, data, slope, x, other) for other in others), strict=True):
        these = slice(first, first + parts[0].n_pairs)
        start, center = (np.tile(p.logs()[these], (len(AXES), 1)) for p in (prior, usual))
        found = maximize_evidence(kernels, together(list(parts)), start, center, LEARNING_STEPS)[1]
        evidence += found.reshape(len(AXES), -1).sum(1)
        first = these.stop
    return others[int(evidence.argmax())]


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
        slopes = lk.gradient(kernels, like, at)
        data, slope = information(problem, like.information), problem.to_coefficients(slopes)
        if try_axes and i == 1:
            amplitudes, problem = problem.amplitudes(x), choose_axis(kernels, problem, data, slope, x, prior, usual)
            x = problem.coefficients(amplitudes)
            data, slope = information(problem, like.information), problem.to_coefficients(slopes)
        prior = learn_prior(kernels, problem, data, slope, x, prior, usual)
        precision = problem.precision(prior)
        settled = solve_posterior(data, slope, precision, x)
        error = stated_error(problem, settled)

        def posterior(x, at, like=like, precision=precision):
            return lk.value(kernels, like, at) - 0.5 * float((x**2).sum(1) @ precision)

        here, before = posterior(x, at), at.spread
        del at  # the next ones take its memory
        for scale in (1.0, 0.5, 0.2, 0.05, 0.0):
            trial = x + scale * (settled.x - x)
            step = problem.displacement(trial) - u
            at = aligned(kernels, problem, u + step, spread_after(step, error))
            # less is sure after a long step, which may hide that the posterior rose
            if posterior(trial, at) >= here or posterior(trial, aligned(kernels, problem, u + step, before)) >= here:
                break
        x, u = trial, u + step
        if np.abs(step).max() < tolerance or np.sqrt(2 * (step**2).mean()) < SETTLED * error:
            break
    return Fit(problem.amplitudes(x), prior, like, x, error, problem.axis, at)
