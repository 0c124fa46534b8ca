"""Signal by ring: smooth where it drowns in its error."""

import numpy as np
import pytest

from restframe.track.likelihood import smooth_positive


def ring_by_ring(signal, sd):
    """The same, written out."""
    out = np.zeros_like(signal)
    for width in (0, 1, 2, 4, 8):
        for r in range(len(signal)):
            if out[r] > 0 or not np.isfinite(sd[r]):
                continue
            near = [k for k in range(r - width, r + width + 1) if 0 <= k < len(signal) and np.isfinite(sd[k])]
            w = 1 / sd[near] ** 2
            mean = np.sum(w * signal[near]) / np.sum(w)
            if mean > 3 / np.sqrt(np.sum(w)):
                out[r] = mean
    return out


@pytest.mark.parametrize("seed", range(20))
def test_means_over_as_few_rings_as_needed(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    sd = np.exp(rng.normal(0, 1, n))
    sd[rng.random(n) < 0.1] *= 1e12  # rings without coefficients
    sd[rng.random(n) < 0.1] = [np.inf, np.nan][seed % 2]
    signal = 5 * np.exp(-np.arange(n) / 12) + np.where(np.isfinite(sd), sd, 0) * rng.normal(size=n)
    found = smooth_positive(signal, sd)
    np.testing.assert_allclose(found, ring_by_ring(signal, sd), rtol=1e-9)
    assert (found >= 0).all() and not found[~np.isfinite(sd)].any()


def test_nothing_but_noise_is_no_signal():
    rng = np.random.default_rng(1)
    found = np.array([smooth_positive(rng.normal(size=100), np.ones(100)) for _ in range(50)])
    assert (found > 0).mean() < 0.02
