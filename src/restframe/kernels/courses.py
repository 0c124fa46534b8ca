"""The evidence for a prior's scales on the host: courses in time of about as many coefficients together."""

from __future__ import annotations

import numpy as np

ALIKE = 16  # numbers of coefficients that are treated as one number


def log_evidence(data: np.ndarray, linear: np.ndarray, a: np.ndarray, negligible: float) -> tuple[np.ndarray, ...]:
    """As in reference.py, with up to `ALIKE` coefficients more together."""
    own = np.einsum("mii->mi", data)
    among = own > negligible * a.sum(1)
    last = among.shape[1] - np.argmax(among[:, ::-1], axis=1) * among.any(1)
    alike = np.where(among.any(1), -(-last // ALIKE), 1)
    found = tuple(np.empty((len(own), *shape)) for shape in ((), (2,), (2, 2), (2, 2)))
    for size in np.unique(alike):
        these = alike == size
        n = min(int(size) * ALIKE, own.shape[1])
        parts = _by_course(data[these, :n, :n], own[these], linear[these], a[these])
        for whole, part in zip(found, parts, strict=True):
            whole[these] = part
    return found


def _by_course(data: np.ndarray, own: np.ndarray, linear: np.ndarray, a: np.ndarray) -> tuple[np.ndarray, ...]:
    """``data`` (m, k, k): of the first coefficients, the others have ``own`` (m, n) alone."""
    n = data.shape[1]
    i = np.arange(n)
    q = a.sum(1)
    data[:, i, i] += q[:, :n]
    factor, inverse = np.linalg.cholesky(data), np.linalg.inv(data)
    alone = own[:, n:] + q[:, n:]
    x = np.concatenate([inverse @ linear[:, :n], linear[:, n:] / alone[..., None]], axis=1)
    variance = np.concatenate([inverse[:, i, i], 1 / alone], axis=1)
    w = 1 / q - variance
    log_det = 2 * np.log(factor[:, i, i]).sum(1) + np.log(alone).sum(1)
    value = 0.5 * (linear * x).sum((1, 2)) - log_det + np.log(q).sum(1)
    slope = (a @ (0.5 * (x**2).sum(2) - w)[..., None])[..., 0]

    def both(of_known, of_quick):
        """a M a' for M symmetric, diagonal beyond the first n coefficients."""
        known, quick = a[..., :n], a[..., n:]
        return known @ of_known @ known.swapaxes(1, 2) + (quick * of_quick[:, None]) @ quick.swapaxes(1, 2)

    pull = inverse * (inverse + x[:, :n] @ x[:, :n].swapaxes(1, 2))
    curvature = (a / q[:, None] ** 2) @ a.swapaxes(1, 2) - both(pull, (1 / alone + (x[:, n:] ** 2).sum(2)) / alone)
    curvature[:, [0, 1], [0, 1]] += slope
    inverse *= -1
    inverse[:, i, i] = w[:, :n]
    return value, slope, curvature, both(inverse**2, w[:, n:] ** 2)
