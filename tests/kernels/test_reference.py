"""The readable kernels by hand: single values by their definition."""

import numpy as np
import pytest

from restframe.detector.calibration import Calibration, compressed_rows
from restframe.kernels.reference import decimate


def test_corrected_by_hand(reference):
    frames = np.array([[[1, 2, 90], [0, 1, 3]]], np.uint8)
    bad = np.array([[False, True, False], [False, False, False]])
    local = np.full((2, 3), 0.5, np.float32)
    calibration = Calibration(
        np.full((2, 3), 2, np.float32),
        np.zeros((1, 1), np.float32),
        np.array([4], np.float32),
        np.array([50], np.float32),
        *compressed_rows(*bad.nonzero(), local[bad], len(bad)), local, np.full((2, 2), 0.5, np.float32),
    )  # fmt: skip
    assert reference.corrected_frame(frames, calibration, 0).tolist() == [[-2, 2, 0], [-4, -2, 2]]


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(41, 53), (64, 48), (12, 7)])
def test_decimate(factor, shape):
    rng = np.random.default_rng(factor)
    frame = rng.normal(size=shape).astype(np.float32)
    taps = rng.normal(size=4 * factor + factor % 2).astype(np.float32) if factor > 1 else np.ones(1, np.float32)
    binned = decimate(frame, taps, factor)
    # one pixel by hand: symmetric about the middle of its factor x factor block
    row, column = shape[0] // factor // 2, shape[1] // factor // 2
    first = (factor - 1) // 2 - (len(taps) - 1) // 2
    exact = 0.0
    for tap_y, weight_y in enumerate(taps):
        for tap_x, weight_x in enumerate(taps):
            y, x = row * factor + first + tap_y, column * factor + first + tap_x
            if 0 <= y < shape[0] and 0 <= x < shape[1]:
                exact += float(weight_y) * float(weight_x) * float(frame[y, x])
    assert binned[row, column] == pytest.approx(exact, rel=1e-4, abs=1e-5)


def test_gradient_is_the_derivative(reference):
    """d/du of sum_k W |R|², by central differences in float64."""
    rng = np.random.default_rng(4)
    p, t, m = 2, 4, 5
    real, imaginary = rng.normal(size=(2, p, t, 2 * m + 1, m + 1))
    steps, variance = rng.normal(0, 0.3, (p, t, 2)), rng.uniform(0, 0.1, (p, t))
    weight = rng.random((p, 2 * m + 1, m + 1))
    ky, kx = np.arange(-m, m + 1)[:, None], np.arange(m + 1)[None]

    def value(steps):
        phase = np.exp(1j * (steps[:, :, 1, None, None] * ky + steps[:, :, 0, None, None] * kx))
        phase *= np.exp(-variance[:, :, None, None] / 2 * (ky**2 + kx**2))
        return float(np.sum(weight * np.abs(np.sum((real + 1j * imaginary) * phase, axis=1)) ** 2))

    total = reference.align_spectra(real, imaginary, steps, variance)
    weighted = weight * total[0], weight * total[1]
    gradient = 2 * reference.shift_gradient(real, imaginary, steps, variance, *weighted)
    for index in [(0, 0, 0), (1, 2, 1), (0, 3, 1)]:
        change = np.zeros_like(steps)
        change[index] = 1e-4
        assert gradient[index] == pytest.approx((value(steps + change) - value(steps - change)) / 2e-4, rel=1e-4)


def test_sums_over_rings(reference):
    rng = np.random.default_rng(9)
    values, weight = rng.normal(size=(3, 13, 7)).astype(np.float32), rng.random((13, 7))
    ring = rng.integers(-1, 7, (13, 7))
    sums = reference.ring_sums(values, ring, weight)
    assert sums[1, 2] == pytest.approx(np.sum((values[1] * weight)[ring == 2]))
    filtered, _ = reference.filter_spectra(values, values, rng.random((3, 7)), ring, weight)
    assert not filtered[:, ring < 0].any()
