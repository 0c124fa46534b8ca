"""Raw frames: sums, calibration and binning, against the readable kernels."""

import numpy as np
import pytest
from random_data import RAW_TYPES, close, on_cpu, on_device, random_calibration, random_counts

from restframe.kernels.reference import decimate


@pytest.mark.parametrize("dtype", RAW_TYPES)
@pytest.mark.parametrize("shape", [(3, 37, 51), (9, 64, 40), (2, 7, 300)])
@pytest.mark.parametrize("dark", [False, True])
def test_corrected_frames_and_sums(kernels, reference, dtype, shape, dark):
    rng = np.random.default_rng(1)
    frames = random_counts(rng, shape, dtype)
    calibration = random_calibration(rng, *shape, dark)
    start = rng.integers(0, 9, shape[1:])
    total_type = {"u": np.uint32, "i": np.int64, "f": np.float64}[frames.dtype.kind]
    slow, fast = start.astype(total_type), kernels.to_device(start.astype(total_type))
    device, own = kernels.to_device(frames), on_device(kernels, calibration)
    gain, dark_image = kernels.to_device(calibration.gain), kernels.to_device(calibration.dark)
    exact_sums = reference.add_frames(frames, calibration.gain, calibration.dark, slow)
    sums = kernels.add_frames(device, gain, dark_image, fast)
    for total in (kernels.to_host(fast), slow):
        np.testing.assert_array_equal(total, start + frames.astype(np.int64).sum(0))
    tolerance = {"rtol": 1e-5, "atol": 0 if on_cpu(kernels) else 1e-3}
    np.testing.assert_allclose(sums, exact_sums, **tolerance)
    direct_sums = ((frames.astype(float) - calibration.dark) * calibration.gain).sum((1, 2))
    np.testing.assert_allclose(sums, direct_sums, **tolerance)
    for index in range(len(frames)):
        corrected = kernels.to_host(kernels.corrected_frame(device, own, index))
        close(corrected, reference.corrected_frame(frames, calibration, index), 1e-6)
    rows, columns = np.array([1, 5, 6]), np.array([0, 39, 2])
    np.testing.assert_array_equal(kernels.pixel_counts(device, rows, columns), frames[:, rows, columns])


@pytest.mark.parametrize(
    ("shape", "factor"),
    [((41, 53), 1), ((64, 50), 2), ((35, 47), 3), ((70, 66), 4), *(((117, 150), factor) for factor in (1, 2, 3, 4, 9))],
)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_binned_frames(kernels, reference, shape, factor, dtype):
    rng = np.random.default_rng(factor)
    frames = random_counts(rng, (11, *shape), dtype)
    calibration = random_calibration(rng, 11, *shape, False)
    taps = rng.normal(size=6 * factor + factor % 2).astype(np.float32) if factor > 1 else np.ones(1, np.float32)
    slow = np.zeros((11, shape[0] // factor, shape[1] // factor), np.int8)
    reference.make_binned_frames(frames, calibration, taps, factor, 12, slow)
    fast = kernels.to_device(np.full_like(slow, 99))
    kernels.make_binned_frames(kernels.to_device(frames), on_device(kernels, calibration), taps, factor, 12, fast)
    difference = np.abs(kernels.to_host(fast).astype(int) - slow)
    assert difference.max() <= 1  # values that differ by 1e-6 may be rounded either way
    assert (difference > 0).mean() < (0.01 if on_cpu(kernels) else 1e-3)
    exact = decimate(reference.corrected_frame(frames, calibration, 1), taps, factor)
    np.testing.assert_allclose(slow[1], np.clip(12 * exact / exact.std(), -127, 127), atol=0.51)
