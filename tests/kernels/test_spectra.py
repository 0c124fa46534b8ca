"""Spectra of tiles, against the readable kernels."""

import numpy as np
import pytest
from random_data import close, in_band, on_cpu, random_pattern, ring_mask, stored

# pixels of a tile, cells along an axis, highest frequency that is kept
TILES = [
    (8, 4, 3),
    (30, 6, 9),
    (30, 3, 9),
    (62, 31, 20),
    (96, 12, 38),
    (256, 16, 102),
    (192, 16, 76),
    (160, 16, 64),
    (128, 16, 51),
    (64, 8, 25),
]


@pytest.mark.parametrize(("size", "cells", "band"), TILES)
def test_tile_spectra(kernels, reference, size, cells, band):
    rng = np.random.default_rng(8)
    frames = rng.integers(-127, 128, (3, 123, 131)).astype(np.int8)
    taper = rng.random(size).astype(np.float32)
    weights = rng.random((6, cells + 1, cells + 1)).astype(np.float32)
    origins = np.array([(-3, 4), (5, 9), (115, 98), (123, -size), (140, 2), (2, -4)]) + rng.integers(-9, 9, (3, 1, 2))
    slow = np.full((2, 6, 3, 2 * band + 1, band + 1), np.nan, np.float32)
    reference.tile_spectra(frames, origins, taper, weights, *slow)
    fast = [stored(kernels, np.full((6, 4, 2 * band + 1, band + 1), 7, np.float32)) for _ in "ab"]
    for first in (0, 2):
        block = slice(first, min(first + 2, 3))
        parts = (part[:, block] for part in fast)
        kernels.tile_spectra(kernels.to_device(frames[block]), origins[block], taper, weights, *parts)
    for part, expected in zip(fast, slow, strict=True):
        found = kernels.to_host(part)
        assert (found[:, 3] == 7).all()
        close(found[:, :3], expected, 1e-6 if on_cpu(kernels) else 5e-4)  # a GPU keeps 16 bits
        if not on_cpu(kernels):
            rounded = expected.astype(np.float16).astype(np.float32)
            elsewhere = np.abs(found[:, :3] - rounded).mean()
            assert elsewhere < 0.02 * np.abs(expected - rounded).mean()  # rarely rounded to the other side


@pytest.mark.parametrize(("p", "t", "m"), [(3, 5, 7), (1, 37, 20), (2, 3, 102)])
@pytest.mark.parametrize("largest_variance", [0.01, 0.1])
def test_sums_over_tiles(kernels, reference, p, t, m, largest_variance):
    rng = np.random.default_rng(3)
    halves = rng.normal(size=(2, p, t, 2 * m + 1, m + 1)).astype(np.float16)
    real, imaginary = halves.astype(np.float32)
    device = tuple(kernels.to_device(part) for part in ((real, imaginary) if on_cpu(kernels) else halves))
    steps = rng.normal(0, 0.3, (p, t, 2)).astype(np.float32)
    phases = steps, rng.uniform(0, largest_variance, (p, t)).astype(np.float32)
    fast, slow = kernels.align_spectra(*device, *phases), reference.align_spectra(real, imaginary, *phases)
    for total, expected in zip(map(kernels.to_host, fast), slow, strict=True):
        assert np.isfinite(total).all()
        close(in_band(total), in_band(expected))
        if on_cpu(kernels):
            assert np.array_equal(total, in_band(total))
    ring = np.where(ring_mask(m), rng.integers(-1, m + 1, real.shape[2:]), -1)
    weight, ring_filter = rng.random(ring.shape), rng.random((p, m + 1))
    close(kernels.ring_sums(fast[2], ring, weight), reference.ring_sums(slow[2], ring, weight), 1e-6)
    powers = reference.ring_power_sums(*slow[:2], ring, weight)
    close(kernels.ring_power_sums(*fast[:2], ring, weight), powers, 1e-6)
    weighted = reference.filter_spectra(*slow[:2], ring_filter, ring, weight)
    filtered = kernels.filter_spectra(*fast[:2], ring_filter, ring, weight)
    for part, expected in zip(filtered, weighted, strict=True):
        close(kernels.to_host(part), expected)
    gradient = reference.shift_gradient(real, imaginary, *phases, *weighted)
    close(kernels.shift_gradient(*device, *phases, *filtered), gradient)


@pytest.mark.parametrize(("p", "m"), [(3, 6), (2, 102)])
def test_rings_of_the_same_spectra(kernels, reference, p, m):
    rng = np.random.default_rng(9)
    real, imaginary = rng.normal(size=(2, p, 2 * m + 1, m + 1)).astype(np.float32)
    ring = rng.integers(-1, m + 1, real.shape[1:])
    weight, ring_filter = rng.random(real.shape[1:]), rng.random((p, m + 1))
    device = kernels.to_device(real), kernels.to_device(imaginary)
    tolerance = 1e-12 if on_cpu(kernels) else 1e-6
    np.testing.assert_allclose(
        kernels.ring_sums(device[0], ring, weight),
        reference.ring_sums(real, ring, weight),
        rtol=tolerance,
        atol=1e-8 if on_cpu(kernels) else 1e-5,
    )
    filtered = kernels.filter_spectra(*device, ring_filter, ring, weight)
    for part, expected in zip(
        filtered, reference.filter_spectra(real, imaginary, ring_filter, ring, weight), strict=True
    ):
        found = kernels.to_host(part)
        assert not found[:, ring < 0].any()
        close(found, expected, 1e-6)
        if on_cpu(kernels):
            assert np.array_equal(found, expected)


def test_scaled_spectra(kernels, reference):
    rng = np.random.default_rng(3)
    for p, t, m in [(3, 5, 7), (1, 37, 20), (2, 3, 102)]:
        spectra = rng.normal(size=(2, p, t, 2 * m + 1, m + 1)).astype(np.float16).astype(np.float32)
        scale = rng.random((t, 2 * m + 1, m + 1)).astype(np.float32)
        own = [stored(kernels, part) for part in spectra]
        kernels.scale_spectra(*own, kernels.to_device(scale))
        reference.scale_spectra(*spectra, scale)
        for part, expected in zip(own, spectra, strict=True):
            close(kernels.to_host(part), expected, 1e-6 if on_cpu(kernels) else 5e-4)  # a GPU keeps 16 bits


@pytest.mark.parametrize(("p", "t", "m"), [(3, 6, 7), (3, 1, 7)])
def test_subtracted_fixed_pattern(kernels, reference, p, t, m):
    rng = np.random.default_rng(14)
    real, imaginary = rng.normal(size=(2, p, t, 2 * m + 1, m + 1)).astype(np.float32)
    factors = np.exp(1j * rng.uniform(0, 6, (t, 2 * m + 1, m + 1))).astype(np.complex64)
    exact = real + 1j * imaginary
    exact = exact - 0.1 * factors.conj() * (exact * factors).sum(1, keepdims=True)
    for implementation in (reference, kernels):
        parts = [real.copy(), imaginary.copy()]
        if implementation is kernels:
            parts = [stored(kernels, part) for part in parts]
        implementation.subtract_fixed_pattern(*parts, implementation.to_device(factors), np.float32(0.1))
        for part, expected in zip(map(implementation.to_host, parts), (exact.real, exact.imag), strict=True):
            if implementation is reference or on_cpu(kernels):
                close(part, expected)
            else:
                np.testing.assert_allclose(part, expected, atol=6e-3)  # a GPU keeps 16 bits


@pytest.mark.parametrize("shape", [(1, 2, 1), (3, 17, 40), (5, 300, 103)])
def test_bias_of_the_subtracted_pattern(kernels, reference, shape):
    arguments = random_pattern(np.random.default_rng(2), *shape)
    value, gradient = kernels.pattern_bias(*arguments)
    exact = reference.pattern_bias(*arguments)
    assert value == pytest.approx(exact[0], rel=1e-5)
    close(gradient, exact[1])
    same_value, no_gradient = kernels.pattern_bias(*arguments, with_gradient=False)
    assert same_value == value
    assert no_gradient.shape == gradient.shape
    assert not no_gradient.any()
