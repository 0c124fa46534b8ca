"""Signal by ring: averaged over rings where its error is large."""

import numpy as np
import pytest

from restframe.track.spectrum import smooth_positive


def ring_by_ring(signal, standard_error):
    """The same as `smooth_positive`, ring by ring."""
    result = np.zeros_like(signal)
    for width in (0, 1, 2, 4, 8):
        for ring in range(len(signal)):
            if result[ring] > 0 or not np.isfinite(standard_error[ring]):
                continue
            near = [
                k
                for k in range(ring - width, ring + width + 1)
                if 0 <= k < len(signal) and np.isfinite(standard_error[k])
            ]
            weights = 1 / standard_error[near] ** 2
            mean = np.sum(weights * signal[near]) / np.sum(weights)
            if mean > 3 / np.sqrt(np.sum(weights)):
                result[ring] = mean
    return result


@pytest.mark.parametrize("seed", range(20))
def test_means_over_as_few_rings_as_needed(seed):
    generator = np.random.default_rng(seed)
    ring_count = int(generator.integers(1, 60))
    standard_error = np.exp(generator.normal(0, 1, ring_count))
    standard_error[generator.random(ring_count) < 0.1] *= 1e12  # rings without coefficients
    standard_error[generator.random(ring_count) < 0.1] = [np.inf, np.nan][seed % 2]
    signal = 5 * np.exp(-np.arange(ring_count) / 12) + np.where(
        np.isfinite(standard_error), standard_error, 0
    ) * generator.normal(size=ring_count)
    smoothed = smooth_positive(signal, standard_error)
    np.testing.assert_allclose(smoothed, ring_by_ring(signal, standard_error), rtol=1e-9)
    assert (smoothed >= 0).all() and not smoothed[~np.isfinite(standard_error)].any()


def test_noise_alone_gives_no_signal():
    generator = np.random.default_rng(1)
    smoothed = np.array([smooth_positive(generator.normal(size=100), np.ones(100)) for _ in range(50)])
    assert (smoothed > 0).mean() < 0.02
