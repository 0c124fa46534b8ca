"""What only the kernels for CUDA do: spectra in 16-bit floating point numbers with padded rows, all types of frames."""

import threading

import numpy as np
import pytest
from random_data import RAW_TYPES, random_counts
from test_gather import compare_gather
from test_spectra import TILES
from with_gpu import require_gpu

from restframe.kernels.cuda import Cuda
from restframe.kernels.cuda.spectra import padded
from restframe.movie import RawFrames, open_movie

cupy = require_gpu()
cuda = Cuda(0)


@pytest.mark.parametrize("dtype", [name for name in RAW_TYPES if name not in ("uint8", "float32")])
@pytest.mark.parametrize(("shape", "size"), [((45, 61), (70, 96)), ((64, 140), (96, 172)), ((300, 9), (310, 30))])
@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("slope", [0.02, 3.0])
def test_gather_of_other_types(reference, dtype, shape, size, images, slope):
    frames = random_counts(np.random.default_rng(7), (3, *shape), dtype)
    compare_gather(cuda, reference, frames, size, images, slope)


@pytest.mark.parametrize(("size", "cells", "band"), TILES)
def test_rows_of_spectra_end_with_zeros(size, cells, band):
    rng = np.random.default_rng(8)
    frames = rng.integers(-127, 128, (3, 123, 131)).astype(np.int8)
    origins = rng.integers(-9, 90, (3, 6, 2))
    spectra = [cuda.empty_spectra((6, 3, 2 * band + 1, band + 1)) for _ in "ab"]
    for part in spectra:
        padded(part)[0].base[...] = 7
    window = rng.random(size), rng.random((6, cells + 1, cells + 1))
    cuda.tile_spectra(cuda.to_device(frames), origins, *window, *spectra)
    for part in spectra:
        assert (padded(part)[0].base[..., band + 1 :].get() == 0).all()


def test_spectra_too_large_for_16_bits():
    frames = cuda.to_device(np.tile(100 * np.cos(2 * np.pi * np.arange(8) / 8), (1, 8, 1)).astype(np.int8))
    real, imaginary = cuda.empty_spectra((1, 1, 3, 2)), cuda.empty_spectra((1, 1, 3, 2))
    cuda.tile_spectra(frames, np.zeros((1, 1, 2)), np.ones(8), np.full((1, 3, 3), 1e3), real, imaginary)
    assert real.get()[0, 0, 1, 1] == 65504


def test_kernels_in_another_thread():
    """Each thread is on the device of the kernels, whatever device was current where they were made."""
    last = Cuda(cupy.cuda.runtime.getDeviceCount() - 1)
    frames = np.random.default_rng(1).poisson(1, (4, 33, 21)).astype(np.uint8)
    raw = last.device_frames(RawFrames(open_movie(frames)), 0.5)
    results = []

    def work():
        with last.active():
            results.append(last.empty((3,), np.float32).device.id)
        results.append(int(next(iter(raw.blocks()))[1].device.id))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [last.device, last.device]


def test_memory_is_released_on_the_device_of_the_kernels():
    last = Cuda(cupy.cuda.runtime.getDeviceCount() - 1)
    with last.active():
        pool = cupy.get_default_memory_pool()
        cupy.empty(1 << 28, np.uint8)  # goes back to the pool at once
        assert pool.free_bytes() >= 1 << 28
    assert last.is_out_of_memory(cupy.cuda.memory.OutOfMemoryError(1 << 40, 0, 0))
    with last.active():
        assert pool.free_bytes() < 1 << 28
    assert not last.is_out_of_memory(ValueError("something else"))
