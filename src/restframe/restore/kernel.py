"""The resampling kernel: four-tap Kaiser-Bessel weights and what they do to each frequency.

w(s) = I0(b sqrt(1 - s²/4)) - 1 for |s| < 2, b = 6.75, divided by the sum over the four taps. It does not interpolate;
its transfer is undone once, after the frames are summed (`fourier.py`), so that only aliasing counts, and that it
suppresses best for its width.
"""

from __future__ import annotations

import numpy as np

SHAPE = 6.75
TAPS = 4  # samples floor(x) - 1 ... floor(x) + 2
TABLE = 2048  # offsets at which the weights are tabulated, interpolated linearly between (error below 1e-6)


def weights(offset: np.ndarray) -> np.ndarray:
    """Weights of the four samples around a position ``offset`` in [0, 1] beyond a sample.

    (..., 4), each row sums to 1.
    """
    s = np.arange(-1, 3) - np.asarray(offset, float)[..., None]
    w = np.i0(SHAPE * np.sqrt(np.clip(1 - s**2 / 4, 0, None))) - 1
    return w / w.sum(-1, keepdims=True)


def table() -> np.ndarray:
    """(TABLE + 2, 4) float32: weights at offsets 0 ... 1, the last row twice for offsets that round to 1."""
    return weights(np.minimum(np.arange(TABLE + 2) / TABLE, 1)).astype(np.float32)


def transfer(offset: np.ndarray, k: np.ndarray) -> np.ndarray:
    """G(k) = sum_m w(m - d) exp(i k (m - d)), (len(offset), len(k)) complex; ``k`` in radians per pixel.

    A wave exp(i k x) sampled at position x with offset d comes out as G(k) exp(i k x).
    """
    d = np.asarray(offset, float)
    m = np.arange(-1, 3)
    phase = np.exp(1j * k[None, None, :] * (m[None, :, None] - d[:, None, None]))
    return np.einsum("dm,dmk->dk", weights(d), phase)
