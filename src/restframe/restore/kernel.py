"""The resampling kernel: four-tap Kaiser-Bessel weights, and their transfer function.

w(s) = I0(b sqrt(1 - s²/4)) - 1 for |s| < 2, b = 6.75, divided by the sum over the four taps. I0 is the modified Bessel
function of the first kind. The kernel does not interpolate. Its transfer is undone once, after the frames are summed
(`fourier.py`), so that only aliasing counts. Kaiser-Bessel weights suppress aliasing best for their width (Jackson et
al., IEEE Trans. Med. Imaging 10, 473, 1991).
"""

from __future__ import annotations

import numpy as np

from restframe.arrays import ComplexArray, FloatArray

KAISER_BESSEL_SHAPE = 6.75  # b
TAP_POSITIONS = np.arange(-1, 3)  # of the four samples, relative to the sample at or before the position
TABLE_STEPS = 2048  # offsets at which the weights are tabulated, interpolated linearly in between (error below 1e-6)
OFFSET_BINS = 32  # sub-pixel offsets, per axis, for which the transfer is computed


def weights(offset: FloatArray) -> FloatArray:
    """Weights of the four samples around a position that lies ``offset`` in [0, 1] beyond a sample.

    (..., 4); each row sums to 1.
    """
    distance = TAP_POSITIONS - np.asarray(offset, float)[..., None]
    values = np.i0(KAISER_BESSEL_SHAPE * np.sqrt(np.clip(1 - distance**2 / 4, 0, None))) - 1
    normalized: FloatArray = values / values.sum(-1, keepdims=True)
    return normalized


def table() -> FloatArray:
    """Weights at offsets 0 ... 1, (TABLE_STEPS + 2, 4) float32. The last row is there twice, for rounding to 1."""
    offsets = np.minimum(np.arange(TABLE_STEPS + 2) / TABLE_STEPS, 1)
    return weights(offsets).astype(np.float32)


def transfer(offset: FloatArray, frequency: FloatArray) -> ComplexArray:
    """G(k) = sum_m w(m - d) exp(i k (m - d)), (len(offset), len(frequency)) complex.

    ``offset``: d, (n,); ``frequency``: k in radians per pixel, (m,). A wave exp(i k x) that is sampled at position x
    with offset d becomes G(k) exp(i k x).
    """
    offset = np.asarray(offset, float)
    phase = np.exp(1j * frequency[None, None, :] * (TAP_POSITIONS[None, :, None] - offset[:, None, None]))
    summed: ComplexArray = np.einsum("dm,dmk->dk", weights(offset), phase)
    return summed
