"""Whole images, against the readable kernels."""

import numpy as np
import pytest
from random_data import on_cpu

from restframe.detector.defects import find_defects


@pytest.mark.parametrize("shape", [(3, 40, 66), (1, 5, 4), (9, 51, 73), (9, 301, 517)])
def test_nyquist_power(kernels, reference, shape):
    images = np.random.default_rng(6).integers(-127, 128, shape).astype(np.int8)
    found = kernels.nyquist_power(kernels.to_device(images))
    np.testing.assert_allclose(found, reference.nyquist_power(images), rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 40, 66), (1, 5, 4), (9, 51, 72), (9, 512, 720)])
def test_correlation_peaks(kernels, reference, shape):
    rng = np.random.default_rng(6)
    surfaces = rng.normal(3, 2, shape).astype(np.float32)
    surfaces[0, 3:, 2] = 50  # several equal ones: the first counts
    fast = kernels.correlation_peaks(kernels.to_device(surfaces))
    for found, expected in zip(fast, reference.correlation_peaks(surfaces), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((41, 53), 15),
        ((150, 31), 31),
        ((9, 7), 15),
        ((70, 33), 5),
        *((shape, size) for shape in ((70, 91), (9, 300), (130, 5)) for size in (4, 15, 31)),
    ],
)
@pytest.mark.parametrize("half_bad", [False, True])
def test_local_means_and_clusters(kernels, reference, shape, size, half_bad):
    rng = np.random.default_rng(10)
    image = rng.normal(5, 1, shape).astype(np.float32)
    bad = rng.random(shape) < 0.05
    bad[: min(size, 8), :9] = True
    if half_bad:
        bad[:, : shape[1] // 2] = True
    image[bad] = np.nan
    there, mask = kernels.to_device(image), kernels.to_device(bad)
    fast = kernels.to_host(kernels.local_mean(there, mask, size, 7.0))
    slow = reference.local_mean(image, bad, size, 7.0)
    np.testing.assert_allclose(fast, slow, rtol=1e-6 if on_cpu(kernels) and not half_bad else 1e-4)
    assert fast.dtype == np.float32 and (size > 5 or (fast == 7).any())
    mean = reference.mean_of_good_pixels(image, bad)
    assert kernels.mean_of_good_pixels(there, mask) == pytest.approx(mean, rel=1e-9)
    all_bad = kernels.to_device(bad | True)
    assert kernels.mean_of_good_pixels(there, all_bad) == reference.mean_of_good_pixels(image, bad | True) == 0
    sparse = rng.random(shape) < 0.05
    for some_bad in (bad, sparse):
        found = kernels.to_host(kernels.defect_cluster_mask(kernels.to_device(some_bad)))
        np.testing.assert_array_equal(found, reference.defect_cluster_mask(some_bad))
    assert half_bad or reference.defect_cluster_mask(bad).any()


@pytest.mark.parametrize("shape", [(1, 1), (37, 51), (1001, 1003)])
def test_mean_of_good_pixels(kernels, reference, shape):
    rng = np.random.default_rng(3)
    image, bad = rng.normal(5, 2, shape).astype(np.float32), rng.random(shape) < 0.3
    image[bad] = 1e9
    there = kernels.to_device(image)
    for mask in (bad, bad | True, bad & False):
        found = kernels.mean_of_good_pixels(there, kernels.to_device(mask))
        assert found == pytest.approx(reference.mean_of_good_pixels(image, mask), rel=1e-9)
        assert found == kernels.mean_of_good_pixels(there, kernels.to_device(mask))


@pytest.mark.parametrize("count", [1, 2, 255, 257, 300_001])
@pytest.mark.parametrize("kind", ["normal", "ties", "wide"])
def test_order_statistics(kernels, reference, count, kind):
    rng = np.random.default_rng(count)
    values = rng.normal(size=count).astype(np.float32)
    if kind == "ties":
        values = rng.poisson(2, count).astype(np.float32) - 2
    elif kind == "wide":
        values *= np.float32(10) ** rng.integers(-30, 30, count).astype(np.float32)
        values[: count // 9] = [0, -0.0, np.inf, -np.inf][count % 4]
    ranks = sorted({0, count - 1, count // 2, (count - 1) // 2, int(0.999 * (count - 1))})
    found = kernels.order_statistics(kernels.to_device(values), ranks)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, reference.order_statistics(values, ranks))
    np.testing.assert_array_equal(found, np.sort(values)[ranks])
    every_other = kernels.to_device(np.repeat(values, 2))[::2]
    np.testing.assert_array_equal(kernels.order_statistics(every_other, ranks), found)


def test_standard_deviation(kernels, reference):
    values = np.random.default_rng(3).normal(5, 2, 10_001).astype(np.float32)
    found = kernels.standard_deviation(kernels.to_device(values))
    assert found == pytest.approx(reference.standard_deviation(values), rel=1e-5)


def test_the_same_defects_are_found(kernels, reference):
    rng = np.random.default_rng(4)
    total = rng.poisson(40, (200, 311)).astype(np.float32)
    total[rng.integers(0, 200, 30), rng.integers(0, 311, 30)] = 900
    total[50:53, 60:63] = 95
    total[0, :40] = 0
    known = rng.random(total.shape) < 1e-3
    slow = find_defects(reference, total, known)
    assert 30 < slow.sum() < 2000
    fast = find_defects(kernels, kernels.to_device(total), kernels.to_device(known))
    np.testing.assert_array_equal(kernels.to_host(fast), slow)
