"""Fourier transforms of images and factors of their spectra, against the readable kernels."""

import numpy as np
import pytest
from random_data import close


@pytest.mark.parametrize(
    ("shape", "columns", "tolerance"),
    [
        ((3, 40, 66), None, 1e-6),
        ((3, 40, 66), 7, 1e-6),
        ((2, 62, 51), None, 1e-6),
        ((2, 62, 51), 7, 1e-6),
        ((300, 26), 9, 1e-5),
        ((2, 129, 31), 16, 1e-5),
        ((5, 8), 1, 1e-5),
    ],
)
def test_spectra_of_images(kernels, reference, shape, columns, tolerance):
    images = np.random.default_rng(6).integers(-127, 128, shape).astype(np.int8)
    fast = kernels.to_host(kernels.rfft2(kernels.to_device(images), columns))
    assert columns is None or fast.dtype == np.complex64
    exact = reference.rfft2(images, columns)
    close(fast.real, exact.real, tolerance)
    close(fast.imag, exact.imag, tolerance)


@pytest.mark.parametrize("size", [(30, 26), (3, 12, 31)])
def test_images_of_spectra(kernels, reference, size):
    spectra = np.fft.rfft2(np.random.default_rng(9).normal(size=size)).astype(np.complex64)
    exact = reference.irfft2(spectra, size[-2:])
    close(kernels.to_host(kernels.irfft2(kernels.to_device(spectra.copy()), size[-2:])), exact)


@pytest.mark.parametrize(
    ("padded", "cropped"),
    [((36, 42), (36, 42)), ((36, 42), (24, 28)), ((30, 40), (18, 24)), ((30, 640), (18, 600))],
)
def test_weighted_and_interpolated_spectra(kernels, reference, padded, cropped):
    rng = np.random.default_rng(7)
    spectrum = np.fft.rfft2(rng.normal(size=padded)).astype(np.complex64)
    samples = rng.normal(size=33).astype(np.float32)
    factors = (rng.normal(size=(9, 5)) + 1j * rng.normal(size=(9, 5))).astype(np.complex64)
    steps = 32 / np.sqrt(0.5) / np.array(padded)
    start = rng.normal(size=(cropped[0], cropped[1] // 2 + 1)).astype(np.complex64)
    slow, fast = start.copy(), kernels.to_device(start)
    reference.add_weighted_spectrum(slow, spectrum, samples, steps)
    reference.multiply_interpolated(slow, factors)
    kernels.add_weighted_spectrum(fast, kernels.to_device(spectrum), samples, steps)
    kernels.multiply_interpolated(fast, factors)
    assert np.abs(kernels.to_host(fast) - slow).max() < 1e-4 * np.abs(slow).max()
