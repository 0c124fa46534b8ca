"""What the tests of all kernels share."""

import numpy as np

from restframe.detector.calibration import Calibration, compressed_rows


def random_calibration(rng, t, h, w, dark):
    bad = rng.random((h, w)) < 0.02
    local = rng.normal(0, 0.1, (h, w)).astype(np.float32)
    return Calibration(
        rng.normal(1, 0.1, (h, w)).astype(np.float32),
        rng.normal(0, 0.1, (h, w)).astype(np.float32) if dark else np.zeros((1, 1), np.float32),
        rng.uniform(1, 3, t).astype(np.float32),
        np.full(t, 6, np.float32),
        *compressed_rows(*bad.nonzero(), local[bad], h),
        local[[0, -1]],
        np.ascontiguousarray(local[:, [0, -1]].T),
    )


def close(a, b, tolerance=1e-5):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert a.shape == b.shape
    assert np.sqrt(np.mean((a - b) ** 2)) <= tolerance * np.sqrt(np.mean(b**2))
