"""The weights of the resampling kernel as polynomials of the sub-pixel offset: the fast gathers need no table."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from restframe.arrays import FloatArray

TERMS = 4  # coefficients of each polynomial: error 1e-6
MAX_ERROR = 1e-5  # of a weight


def weight_polynomials(table: FloatArray) -> FloatArray:
    """Coefficients of the four weights (w0, w1, w2, w3) at an offset d in [0, 1], from their table: (4, TERMS) float32.

    With s = d - 1/2 and polynomials p0 ... p3 in s², whose coefficients are the rows of the result:
    w0 = p0 + s p1, w3 = p0 - s p1, w1 = p2 + s p3, w2 = p2 - s p3. Least squares. ``table``: as in
    `interface.Resampling`. Raises ValueError where these weights are not such polynomials to `MAX_ERROR`.
    """
    return _fitted(np.ascontiguousarray(table, np.float32).tobytes())


@lru_cache(maxsize=4)
def _fitted(table: bytes) -> FloatArray:
    weights = np.frombuffer(table, np.float32).reshape(-1, 4)[:-1].astype(np.float64)
    offsets = np.linspace(-0.5, 0.5, len(weights))
    even_powers = offsets[:, None] ** (2 * np.arange(TERMS))
    odd_powers = even_powers * offsets[:, None]
    polynomials = []
    for left, right in ((0, 3), (1, 2)):
        for values, powers in (
            ((weights[:, left] + weights[:, right]) / 2, even_powers),
            ((weights[:, left] - weights[:, right]) / 2, odd_powers),
        ):
            coefficients = np.linalg.lstsq(powers, values, rcond=None)[0]
            if np.abs(powers @ coefficients - values).max() > MAX_ERROR / 2:
                raise ValueError("these weights are not polynomials of low order, symmetric about 1/2")
            polynomials.append(coefficients)
    return np.array(polynomials, np.float32)
