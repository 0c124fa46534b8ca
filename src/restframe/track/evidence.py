"""How well a prior's scales explain the data, and the scales that do it best.

Courses in time, of a mode or of a tile by itself, have coefficients whose precision before the data is diagonal,
whatever the scales (`fit.TimeBasis`). They are taken one by one, the others held where they are: products of Legendre
polynomials are all but orthogonal on the tiles, so the scales that a movie leads to give motion as good
(docs/accuracy.md). What changes quickly in time is ruled by the prior; there, what the data say of two coefficients
together is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

NEGLIGIBLE = 1e-3  # of the prior's precision: less information than this is that of one coefficient alone
SCALE_SPREAD = 2.0  # sd of the log of the scales about the usual ones
LONGEST = 2.0  # step of a log of a scale
CLOSE = 0.03  # steps of the logs that no longer matter
LONG = 64  # coefficients: courses of which more are not worth filling up others to their length
CONCAVE = 0.1  # of Fisher's information: as much curvature as Newton's step needs


@dataclass(frozen=True, eq=False)
class Evidence:
    """By pair of scales: log evidence and its derivatives by their logs."""

    value: np.ndarray  # (g,)
    slope: np.ndarray  # (g, 2)
    curvature: np.ndarray  # (g, 2, 2) minus the second derivatives
    information: np.ndarray  # (g, 2, 2) what the curvature is on average


@dataclass(frozen=True, eq=False)
class Trajectories:
    """The log likelihood linear·x - x·data·x / 2 of each axis, for each course."""

    data: np.ndarray  # (m, n, n)
    linear: np.ndarray  # (m, n, 2)
    rough: np.ndarray  # (m, n) as in `fit.TimeBasis`
    pair: np.ndarray  # (m,) which of g pairs of scales each has, ascending

    @property
    def n_pairs(self) -> int:
        return int(self.pair[-1]) + 1

    def on_device(self, kernels) -> Trajectories:
        """The same, with the log likelihood where the kernels work."""
        data, linear = kernels.trajectories_to_device(self.data, self.linear)
        return replace(self, data=data, linear=linear)

    def evidence(self, kernels, logs: np.ndarray) -> Evidence:
        """For the prior's variances of speed and roughness, ``logs``: (g, 2). Raises LinAlgError where the
        posterior has no most probable coefficients.
        """
        by_speed, by_roughness = np.exp(-logs[self.pair]).T[..., None]
        a = np.stack([np.broadcast_to(by_speed, self.rough.shape), self.rough * by_roughness], axis=1)  # (m, 2, n)
        first = np.flatnonzero(np.diff(self.pair, prepend=-1))
        return Evidence(
            *(np.add.reduceat(v, first) for v in kernels.log_evidence(self.data, self.linear, a, NEGLIGIBLE))
        )


def maximize_evidence(
    kernels, courses: Trajectories, start: np.ndarray, usual: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Logs of the scales with the highest evidence, (g, 2), within an order of magnitude or so of the ``usual`` ones;
    and that evidence, (g,).

    At most ``steps`` of Newton's, by Fisher's information where the evidence is not concave; those that lead down are
    taken back and shortened.
    """
    courses = courses.on_device(kernels)
    logs, scale = start, np.ones((len(start), 1))
    value, slope, curvature = _posterior(kernels, courses, logs, usual)
    for _ in range(steps):
        step = scale * np.clip(np.linalg.solve(curvature, slope[..., None])[..., 0], -LONGEST, LONGEST)
        if np.abs(step).max() < CLOSE:
            break
        trial = _posterior(kernels, courses, logs + step, usual)
        up = trial[0] >= value
        logs = np.where(up[:, None], logs + step, logs)
        value, slope, curvature = (
            np.where(up.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
            for new, old in zip(trial, (value, slope, curvature), strict=True)
        )
        scale = np.where(up[:, None], 1, scale / 4)
    return logs, value


def _posterior(
    kernels, courses: Trajectories, logs: np.ndarray, usual: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evidence, slope and curvature with what is believed of the scales before any data."""
    found, away, believed = courses.evidence(kernels, logs), (logs - usual) / SCALE_SPREAD, np.eye(2) / SCALE_SPREAD**2
    lowest = [np.linalg.eigvalsh(c + believed)[:, 0] for c in (found.curvature, found.information)]
    curvature = np.where((lowest[0] > CONCAVE * lowest[1])[:, None, None], found.curvature, found.information)
    return found.value - 0.5 * (away**2).sum(1), found.slope - away / SCALE_SPREAD, curvature + believed


def together(parts: list[Trajectories]) -> Trajectories:
    """All of them, each with scales of its own; shorter ones get coefficients of which the data say nothing."""
    m, n = sum(len(c.pair) for c in parts), max(c.rough.shape[1] for c in parts)
    data, linear = np.zeros((m, n, n)), np.zeros((m, n, 2))
    rough, pair = np.empty((m, n)), np.empty(m, int)
    first = pairs = 0
    for c in parts:
        these, k = slice(first, first + len(c.pair)), c.rough.shape[1]
        data[these, :k, :k], linear[these, :k] = c.data, c.linear
        rough[these, :k], rough[these, k:] = c.rough, c.rough[:, -1:]
        pair[these] = c.pair + pairs
        first, pairs = these.stop, pairs + c.n_pairs
    return Trajectories(data, linear, rough, pair)


def mode_evidence(problem, data: np.ndarray, slope: np.ndarray, x: np.ndarray, other=None) -> list[Trajectories]:
    """The log likelihood of a `fit.Problem` about its coefficients ``x`` (n, 2), slope (n, 2) and curvature -``data``
    (n, n), for each mode with the others there; a pair of scales for each degree. ``other``: the same problem on
    another time axis, whose coefficients to use. All together, or, where they are long, the whole frame by itself.
    """
    parts = []
    for kind, new in zip(problem.kinds, (other or problem).kinds, strict=True):
        n = len(kind.time.rough)
        spans = [slice(i, i + n) for i in range(kind.coefficients.start, kind.coefficients.stop, n)]
        blocks = np.stack([data[s, s] for s in spans])
        linear = slope[kind.coefficients].reshape(-1, n, 2) + blocks @ x[kind.coefficients].reshape(-1, n, 2)
        if other is not None:
            into = kind.time.inverse @ new.time.values
            blocks, linear = into.T @ blocks @ into, into.T @ linear
        degrees = problem.degrees[kind.modes]
        rough = np.broadcast_to(new.time.rough, linear.shape[:2])
        parts.append(Trajectories(blocks, linear, rough, degrees - degrees[0]))
    return parts if max(c.rough.shape[1] for c in parts) > LONG else [together(parts)]
