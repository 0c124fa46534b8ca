"""Sums and ranks of values on the GPU against the readable ones."""

import numpy as np
import pytest
from with_gpu import cupy

from restframe.kernels import cuda
from restframe.kernels.reference import Reference

reference = Reference()


@pytest.mark.parametrize("n", [1, 2, 255, 257, 300_001])
@pytest.mark.parametrize("kind", ["normal", "ties", "wide"])
def test_ranks(n, kind):
    rng = np.random.default_rng(n)
    values = rng.normal(size=n).astype(np.float32)
    if kind == "ties":
        values = rng.poisson(2, n).astype(np.float32) - 2
    elif kind == "wide":
        values *= np.float32(10) ** rng.integers(-30, 30, n).astype(np.float32)
        values[: n // 9] = [0, -0.0, np.inf, -np.inf][n % 4]
    ranks = sorted({0, n - 1, n // 2, (n - 1) // 2, int(0.999 * (n - 1))})
    found = cuda.order_statistics(cupy.asarray(values), ranks)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, reference.order_statistics(values, ranks))
    np.testing.assert_array_equal(found, np.sort(values)[ranks])
    every_other = cupy.asarray(np.repeat(values, 2))[::2]
    np.testing.assert_array_equal(cuda.order_statistics(every_other, ranks), found)


@pytest.mark.parametrize("shape", [(1, 1), (37, 51), (1001, 1003)])
def test_mean_of_good_pixels(shape):
    rng = np.random.default_rng(3)
    image, bad = rng.normal(5, 2, shape).astype(np.float32), rng.random(shape) < 0.3
    image[bad] = 1e9
    there = cupy.asarray(image)
    for mask in (bad, bad | True, bad & False):
        found = cuda.mean_of_good_pixels(there, cupy.asarray(mask))
        assert found == pytest.approx(reference.mean_of_good_pixels(image, mask), rel=1e-9)
        assert found == cuda.mean_of_good_pixels(there, cupy.asarray(mask))
