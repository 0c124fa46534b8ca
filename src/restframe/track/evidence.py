"""How well a prior's scales explain the data, fast: `fit.settle` says the same for one prior at a time.

Every mode's coefficients are turned so that both penalties on its course in time become diagonal (their generalised
eigenvectors). The prior's precision is then a diagonal, whatever its scales. It is large for whatever changes quickly:
of 585 coefficients the data say more than a hundredth of what the prior says about a hundred. Among the others, what
the data say of two together is left out, so that only those hundred need a Cholesky factor; the log evidence of a
movie changes by 5e-4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, lapack

from restframe.track.prior import Prior

NEGLIGIBLE = 1e-2  # of the prior's precision: less information than this is that of one coefficient alone


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The log likelihood linear·x - x·data·x / 2 of each axis, in those coordinates."""

    data: np.ndarray  # (n, n)
    linear: np.ndarray  # (n, 2)
    degree: np.ndarray  # (n,) of the mode that a coefficient belongs to
    coarse: np.ndarray  # data in float32
    rough: np.ndarray  # (n,) the roughness penalty where the speed penalty is one

    def evidence(self, speed: np.ndarray, roughness: np.ndarray) -> tuple[float, np.ndarray]:
        """Log evidence for prior variances by degree, and its slopes (2, degrees) by their logarithms."""
        n = len(speed)
        by_speed, by_roughness = 1 / speed[self.degree], self.rough / roughness[self.degree]
        q = by_speed + by_roughness
        seen, log_det, gain = self._posterior(q)
        value = 0.5 * gain - log_det + float(np.log(q).sum())
        slopes = [0.5 * np.bincount(self.degree, k * (seen - 2 / q), n) for k in (by_speed, by_roughness)]
        return value, np.array(slopes)

    def _posterior(self, q: np.ndarray) -> tuple[np.ndarray, float, float]:
        """For the precision data + diag(q): of each coefficient its squares' expectation over both axes, (n,); the log
        determinant; linear·x.
        """
        own = self.data.diagonal()
        n = int(np.flatnonzero(own > NEGLIGIBLE * q).max(initial=0)) + 1
        a, b = slice(0, n), slice(n, None)
        d = q[b] + own[b]  # the others are as good as independent of each other
        between = self.coarse[a, b]  # what it leads to is small: 32 bits are enough
        factor = np.asfortranarray(self.data[a, a] - (between / d.astype(np.float32)) @ between.T)
        factor[np.diag_indices_from(factor)] += q[a]
        factor, failed = lapack.dpotrf(factor, lower=1, clean=1, overwrite_a=1)
        if failed or d.min(initial=1) <= 0:
            raise np.linalg.LinAlgError("the posterior's precision is not positive definite")
        x = np.empty_like(self.linear)
        x[a], _ = lapack.dpotrs(factor, self.linear[a] - between @ (self.linear[b] / d[:, None]), lower=1)
        x[b] = (self.linear[b] - between.T @ x[a]) / d[:, None]
        log_det = 2 * float(np.log(np.diag(factor)).sum()) + float(np.log(d).sum())
        inverse, _ = lapack.dtrtri(factor, lower=1, overwrite_c=1)
        variance = np.empty_like(q)
        variance[a] = np.einsum("ij,ij->j", inverse, inverse)
        passed_on = inverse.astype(np.float32) @ between
        variance[b] = 1 / d + np.einsum("ij,ij->j", passed_on, passed_on) / d**2
        return (x**2).sum(1) + 2 * variance, log_det, float(np.sum(self.linear * x))


def quadratic(problem, data: np.ndarray, linear: np.ndarray, prior: Prior) -> Quadratic:
    """``data`` (n, n) and ``linear`` (n, 2) of a `fit.Problem`, for priors near ``prior``."""
    turns: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for basis in problem.time:
        if id(basis) not in turns:
            rough, vectors = eigh(basis.roughness, basis.speed)
            turns[id(basis)] = np.maximum(rough, 0), vectors
    own = [turns[id(basis)] for basis in problem.time]
    turned, right = np.empty_like(data), np.empty_like(linear)
    for a, (_, v) in zip(problem.slices, own, strict=True):
        turned[a] = v.T @ data[a]
        right[a] = v.T @ linear[a]
    for a, (_, v) in zip(problem.slices, own, strict=True):
        turned[:, a] = turned[:, a] @ v
    degree = np.repeat(problem.degrees, [len(rough) for rough, _ in own])
    rough = np.concatenate([rough for rough, _ in own])
    # what the data know best comes first
    order = np.argsort(-turned.diagonal() / (1 / prior.speed[degree] + rough / prior.roughness[degree]), kind="stable")
    turned = np.ascontiguousarray(turned[np.ix_(order, order)])
    return Quadratic(turned, right[order], degree[order], turned.astype(np.float32), rough[order])
