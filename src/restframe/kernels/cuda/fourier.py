"""Fourier transforms of images on the GPU, and factors of their half spectra."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from restframe.arrays import AnyArray, Array, FloatArray
from restframe.kernels.cuda.arrays import THREADS_PER_BLOCK, block_count, contiguous_on_device, empty, to_device
from restframe.kernels.cuda.modules import launch


def rfft2(images: Array, columns: int | None = None) -> Array:
    import cupy

    images = _int8_as_float(images) if images.dtype == np.int8 else images.astype(np.float32, copy=False)
    if columns is None:
        return cupy.fft.rfft2(images)
    return cupy.fft.fft(cupy.fft.rfft(images)[..., :columns], axis=-2)


def _int8_as_float(images: Array) -> Array:
    """Images of int8 as float32; four numbers per thread where that is possible."""
    if images.data.ptr % 4 or images.size % 4 or not images.flags.c_contiguous:
        return images.astype(np.float32)
    converted = empty(images.shape, np.float32)
    count = images.size // 4
    launch("images", "int8_to_float", (block_count(count),), THREADS_PER_BLOCK, (images, count, converted))
    return converted


def irfft2(spectra: Array, image_shape: tuple[int, int]) -> Array:
    import cupy

    return cupy.fft.irfft2(spectra, s=image_shape)


def add_weighted_spectrum(
    total: Array, spectrum: Array, samples: FloatArray, sample_steps: Sequence[float] | AnyArray
) -> None:
    spectra = total, *total.shape, spectrum, *spectrum.shape
    arguments = *spectra, to_device(samples), len(samples), *map(float, sample_steps)
    grid = block_count(total.shape[1]), total.shape[0]
    launch("images", "add_weighted_spectrum", grid, THREADS_PER_BLOCK, arguments)


def multiply_interpolated(total: Array, factors: AnyArray) -> None:
    device_factors = contiguous_on_device(factors, np.complex64)
    arguments = total, *total.shape, device_factors, *factors.shape
    grid = block_count(total.shape[1]), total.shape[0]
    launch("images", "multiply_interpolated", grid, THREADS_PER_BLOCK, arguments)
