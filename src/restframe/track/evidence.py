"""How well a prior's scales explain the data, fast: `fit.settle` says the same for one prior at a time.

Every mode's coefficients are turned so that both penalties on its course in time become diagonal (their generalised
eigenvectors): the prior's precision is then a diagonal, whatever its scales. Modes are taken one by one, the others
held where they are: products of Legendre polynomials are all but orthogonal on the tiles, so the scales that a movie
leads to give motion as good (docs/accuracy.md). What changes quickly in time is ruled by the prior; there, what the
data say of two coefficients together is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

NEGLIGIBLE = 1e-4  # of the prior's precision: less information than this is that of one coefficient alone


@dataclass(frozen=True, eq=False)
class Degree:
    """The log likelihood linear·x - x·data·x / 2 of each axis, for the modes of one degree, in those coordinates."""

    data: np.ndarray  # (m, n, n)
    linear: np.ndarray  # (m, n, 2)
    rough: np.ndarray  # (n,) the roughness penalty where the speed penalty is one, ascending

    def evidence(self, speed: float, roughness: float) -> tuple[float, float, float]:
        """Log evidence for the prior's variances, and its slopes by their logarithms.

        Raises LinAlgError where data and prior together are not positive definite.
        """
        by_speed, by_roughness = 1 / speed, self.rough / roughness
        q = by_speed + by_roughness
        own = np.einsum("mii->mi", self.data)
        n = int(np.flatnonzero((own > NEGLIGIBLE * q).any(0)).max(initial=0)) + 1
        precision = self.data[:, :n, :n].copy()
        precision[:, np.arange(n), np.arange(n)] += q[:n]
        factor, inverse = np.linalg.cholesky(precision), np.linalg.inv(precision)
        alone = own[:, n:] + q[n:]
        x = np.concatenate([inverse @ self.linear[:, :n], self.linear[:, n:] / alone[..., None]], axis=1)
        variance = np.concatenate([np.einsum("mii->mi", inverse), 1 / alone], axis=1)
        log_det = 2 * np.log(np.einsum("mii->mi", factor)).sum() + np.log(alone).sum()
        value = 0.5 * np.sum(self.linear * x) - log_det + len(x) * np.log(q).sum()
        seen = (x**2).sum(2) + 2 * (variance - 1 / q)
        return float(value), 0.5 * float(np.sum(seen * by_speed)), 0.5 * float(np.sum(seen * by_roughness))


def by_degree(problem, data: np.ndarray, linear: np.ndarray, x: np.ndarray) -> dict[int, Degree]:
    """``data`` (n, n) and ``linear`` (n, 2) of a `fit.Problem`, for each mode with the others at ``x`` (n, 2)."""
    turns: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for basis in problem.time:
        if id(basis) not in turns:
            rough, vectors = eigh(basis.roughness, basis.speed)
            turns[id(basis)] = np.maximum(rough, 0), vectors
    left = linear - data @ x
    out = {}
    for degree in np.unique(problem.degrees):
        modes = np.flatnonzero(problem.degrees == degree)
        rough, v = turns[id(problem.time[modes[0]])]
        parts = [problem.slices[m] for m in modes]
        blocks = np.stack([v.T @ data[s, s] @ v for s in parts])
        slopes = np.stack([v.T @ (left[s] + data[s, s] @ x[s]) for s in parts])
        out[int(degree)] = Degree(blocks, slopes, rough)
    return out
