"""The gather and the displacements that it needs, against the readable kernels."""

from dataclasses import replace

import numpy as np
import pytest
from random_data import close, on_cpu, on_device, random_calibration, random_counts

from restframe.kernels.interface import Resampling
from restframe.kernels.polynomials import weight_polynomials
from restframe.restore import kernel
from restframe.simulate import PRESETS
from restframe.simulate.motion import make_truth
from restframe.track.field import MotionField, modes_up_to


def compare_gather(kernels, reference, frames, size, images, slope):
    """``slope``: of the displacement, in pixels from one grid point to the next."""
    rng = np.random.default_rng(5)
    t, *shape = frames.shape
    calibration = random_calibration(rng, t, *shape, images == 2)
    spacing, origin = 8, -10
    points = t, size[0] // spacing + 2, size[1] // spacing + 2, 2
    grid = (rng.normal(0, 3, (t, 1, 1, 2)) + rng.normal(0, slope, points)).astype(np.float32)
    resampling = Resampling(grid, spacing, origin, kernel.table())
    coefficients = rng.normal(size=(images, t)).astype(np.float32)
    start = rng.normal(size=(images, *size)).astype(np.float32)
    slow, fast, again = start.copy(), kernels.to_device(start.copy()), kernels.to_device(start.copy())
    reference.gather(frames, calibration, resampling, coefficients, slow)
    device, own = kernels.to_device(frames), on_device(kernels, calibration)
    for result in (fast, again):
        kernels.gather(device, own, resampling, coefficients, result)
    found = kernels.to_host(fast)
    assert kernels.to_host(again).tobytes() == found.tobytes()
    close(found, slow, 1e-5)
    return found - start, slow - start


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(
    ("shape", "size"), [((45, 61), (70, 96)), ((64, 40), (96, 72)), ((64, 140), (96, 172)), ((300, 9), (310, 30))]
)
@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("slope", [0.02, 0.4, 3.0])  # 3 px: on a GPU the pixels of a block do not fit
def test_gather(kernels, reference, dtype, shape, size, images, slope):
    frames = random_counts(np.random.default_rng(7), (7, *shape), dtype)
    found, expected = compare_gather(kernels, reference, frames, size, images, slope)
    if on_cpu(kernels) and slope < 1:
        close(found, expected, 3e-6)


def test_weight_polynomials():
    table = kernel.table()
    outer_even, outer_odd, inner_even, inner_odd = weight_polynomials(table).astype(np.float64)
    offset = np.linspace(0, 1, len(table) - 1) - 0.5
    powers = offset[:, None] ** (2 * np.arange(4))
    for even, odd, (left, right) in ((outer_even, outer_odd, (0, 3)), (inner_even, inner_odd, (1, 2))):
        np.testing.assert_allclose(powers @ even + offset * (powers @ odd), table[:-1, left], atol=5e-6)
        np.testing.assert_allclose(powers @ even - offset * (powers @ odd), table[:-1, right], atol=5e-6)
    with pytest.raises(ValueError, match="polynomials"):
        weight_polynomials(np.random.default_rng(1).random((50, 4)).astype(np.float32))


@pytest.mark.parametrize(("t", "count", "bins"), [(1, 7, 4), (5, 1000, 32), (3, 17, 32), (2, 40_001, 32), (1, 1000, 5)])
def test_subpixel_histogram(kernels, reference, t, count, bins):
    displacements = np.random.default_rng(count).normal(0, 8, (t, count, 2)).astype(np.float32)
    displacements[0, :3] = [[-1e-9, 2], [0.999999, -3], [5, -1e-9]]
    fast = kernels.subpixel_histogram(kernels.to_device(displacements), bins)
    slow = reference.subpixel_histogram(displacements, bins)
    assert fast.dtype == np.float64
    if on_cpu(kernels):
        np.testing.assert_allclose(fast, slow, atol=1e-12)
        assert fast.sum() == pytest.approx(t)
    else:
        np.testing.assert_allclose(fast, slow, atol=1e-5 * slow.max())
        assert abs(fast.sum() - t) < 1e-4


@pytest.mark.parametrize("degree", [0, 1, 4, 15, 17])
def test_displacement_grid(kernels, reference, degree):
    rng = np.random.default_rng(degree)
    modes = modes_up_to(degree, degree, degree)
    field = MotionField(modes, rng.normal(0, 9, (len(modes), 7, 2)), (310, 477))
    x, y = rng.uniform(0, 477, (9, 41)), rng.uniform(0, 310, (9, 41))
    offset = rng.normal(size=(9, 41, 2))
    fast = kernels.displacement_grid(field, x, y, offset)
    assert fast.dtype == np.float32
    close(kernels.to_host(fast), reference.displacement_grid(field, x, y, offset), 1e-6)


def test_displacement_grid_of_motion_that_is_no_polynomial(kernels):
    truth = make_truth(replace(PRESETS["bubble"], shape=(37, 300, 400)))
    x, y = np.meshgrid(np.arange(0, 400, 16), np.arange(0, 300, 16))
    offset = np.random.default_rng(2).normal(size=(*x.shape, 2))
    slow = np.stack([truth(x, y, t) for t in range(37)]) + offset
    close(kernels.to_host(kernels.displacement_grid(truth, x, y, offset)), slow, 1e-6)
