"""How well a prior's scales explain the data, fast: `fit.settle` says the same for one prior at a time.

Every mode's coefficients are turned so that both penalties on its course in time become diagonal (their generalised
eigenvectors). The prior's precision is then a diagonal, whatever its scales, and the evidence and its slopes need one
Cholesky factor and the diagonal of an inverse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh, lapack


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The log likelihood linear·x - x·data·x / 2 of each axis, in those coordinates."""

    data: np.ndarray  # (n, n)
    linear: np.ndarray  # (n, 2)
    degree: np.ndarray  # (n,) of the mode that a coefficient belongs to
    rough: np.ndarray  # (n,) the roughness penalty where the speed penalty is one

    def evidence(self, speed: np.ndarray, roughness: np.ndarray) -> tuple[float, np.ndarray]:
        """Log evidence for prior variances by degree, and its slopes (2, degrees) by their logarithms."""
        n = len(speed)
        by_speed, by_roughness = 1 / speed[self.degree], self.rough / roughness[self.degree]
        q = by_speed + by_roughness
        factor = self.data.copy(order="F")
        factor[np.diag_indices_from(factor)] += q
        factor, failed = lapack.dpotrf(factor, lower=1, clean=1, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError("the posterior's precision is not positive definite")
        x, _ = lapack.dpotrs(factor, self.linear, lower=1)
        value = 0.5 * float(np.sum(self.linear * x)) - 2 * float(np.log(np.diag(factor)).sum())
        value += float(np.log(q).sum())
        inverse, _ = lapack.dtrtri(factor, lower=1, overwrite_c=1)
        seen = (x**2).sum(1) + 2 * np.einsum("ij,ij->j", inverse, inverse)
        slopes = [0.5 * np.bincount(self.degree, k * (seen - 2 / q), n) for k in (by_speed, by_roughness)]
        return value, np.array(slopes)


def quadratic(problem, data: np.ndarray, linear: np.ndarray) -> Quadratic:
    """``data`` (n, n) and ``linear`` (n, 2) of a `fit.Problem`."""
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
    return Quadratic(
        turned,
        right,
        np.repeat(problem.degrees, [len(rough) for rough, _ in own]),
        np.concatenate([rough for rough, _ in own]),
    )
