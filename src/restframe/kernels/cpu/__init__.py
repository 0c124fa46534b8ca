"""The hot loops for the CPU, in Numba. Each does what its namesake in reference.py does.

Every output element is summed by one thread in one order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numba as nb
import numpy as np
from scipy import fft

from restframe import pages
from restframe.kernels.courses import log_evidence
from restframe.kernels.cpu import gathering
from restframe.kernels.cpu.counts import corrected_span
from restframe.kernels.cpu.fixed import pattern_bias, subtract_fixed_pattern
from restframe.kernels.cpu.gathering import gather, subpixel_histogram
from restframe.kernels.cpu.images import (
    add_frames,
    correlation_peaks,
    defect_cluster_mask,
    local_mean,
    mean_of_good_pixels,
    nyquist_power,
)
from restframe.kernels.cpu.small import make_binned_frames
from restframe.kernels.cpu.spectra import (
    align_spectra,
    empty_spectra,
    filter_spectra,
    ring_power_sums,
    ring_sums,
    scale_spectra,
    shift_gradient,
    tile_spectra,
)
from restframe.kernels.reference import (
    displacement_grid,
    mark_bad_pixels,
    order_statistics,
    standard_deviation,
    trajectories_to_device,
)

STRIP = 128  # rows
MOST_THREADS = nb.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]


COMPILING_NOTICE = "The loops are compiled for this processor, which takes a minute or two. Later runs start at once."


@nb.njit(cache=True, parallel=True)
def _corrected(frame, calibration, i, out):
    for y in nb.prange(out.shape[0]):
        corrected_span(frame, y, calibration, i, 0, out[y])


def corrected_frame(frames, calibration, i):
    """Frame i as (raw - dark) * gain less its mean count, bad pixels and outliers filled; (h, w) float32."""
    out = np.empty(frames.shape[1:], np.float32)
    _corrected(frames[i], tuple(calibration), i, out)
    return out


@nb.njit(cache=True, parallel=True)
def add_weighted_spectrum(total, spectrum, samples, steps):
    """total += samples(|k|) * the middle of the half spectrum; ``steps``: samples per row and column."""
    rows, columns = total.shape
    h = len(spectrum)
    last = len(samples) - 2
    sy, sx = np.float32(steps[0]), np.float32(steps[1])
    for j in nb.prange(rows):
        row = np.int64(j)
        ky = row if row < (rows + 1) // 2 else row - rows
        y2 = np.float32((ky * sy) ** 2)
        weight = np.empty(columns, np.float32)  # by itself, so that both loops run in vectors
        for i in range(columns):
            x = np.float32(np.int32(i)) * sx
            at = np.sqrt(y2 + x * x)
            n = min(np.int32(at), np.int32(last))
            part = at - np.float32(n)
            weight[i] = samples[n] + part * (samples[n + 1] - samples[n])
        from_row, to_row = spectrum[ky % h], total[j]
        for i in range(columns):
            to_row[i] += weight[i] * from_row[i]


@nb.njit(cache=True, parallel=True)
def multiply_interpolated(total, grid):
    """total *= grid, given at frequencies from -Nyquist to Nyquist and from 0 to Nyquist, linear between."""
    rows, columns = total.shape
    ny, nx = grid.shape
    for j in nb.prange(rows):
        row = np.int64(j)
        ky = row if row < (rows + 1) // 2 else row - rows
        at = (ky / rows + 0.5) * (ny - 1)
        n = min(int(at), ny - 2)
        fy = np.float32(at - n)
        for i in range(columns):
            across = np.float32(i) / np.float32(columns - 1) * (nx - 1)
            m = min(int(across), nx - 2)
            fx = across - m
            low = grid[n, m] + fx * (grid[n, m + 1] - grid[n, m])
            high = grid[n + 1, m] + fx * (grid[n + 1, m + 1] - grid[n + 1, m])
            total[j, i] *= low + fy * (high - low)


class Cpu:
    """The kernels in Numba, with at most ``threads`` threads; see `interface.Kernels`."""

    frames_per_block = 1  # frames that a thread transforms at a time, to stay in the cache
    compiling_notice = COMPILING_NOTICE

    def __init__(self, threads: int = 1) -> None:
        self.threads = max(1, threads)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Numba counts threads for each calling thread by itself."""
        before = nb.get_num_threads()
        nb.set_num_threads(min(self.threads, MOST_THREADS))
        try:
            yield
        finally:
            nb.set_num_threads(before)

    def single_threaded(self) -> Cpu:
        return Cpu(1)

    def parallel_map(self, work, items):
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(work, items))

    def is_compiled(self) -> bool:
        """Whether an earlier process left the compiled loops, the last of them at least, where Numba looks for them."""
        folder = gathering._gather._cache.cache_path  # type: ignore[attr-defined]
        return os.path.isdir(folder) and any(name.startswith("gathering._gather-") for name in os.listdir(folder))

    def is_out_of_memory(self, error: Exception) -> bool:
        return False

    def device_frames(self, raw, memory_share: float):
        return raw

    def to_device(self, array):
        return array

    def to_host(self, array):
        return array

    def zeros(self, shape, dtype):
        return pages.zeros(shape, dtype)

    def empty(self, shape, dtype):
        return np.empty(shape, dtype)

    def pixel_counts(self, frames, rows, columns):
        return frames[:, rows, columns]

    def rfft2(self, images, columns=None):
        """Half spectra of images (..., h, w), numbers of any type; ``columns``: only so many."""
        if columns is None:
            across = fft.rfft(images, workers=self.threads)
        else:  # some rows at a time, to stay in the cache
            across = np.empty((*images.shape[:-1], columns), np.complex64)
            for y in range(0, images.shape[-2], STRIP):
                strip = images[..., y : y + STRIP, :].astype(np.float32, copy=False)
                across[..., y : y + STRIP, :] = fft.rfft(strip, workers=self.threads)[..., :columns]
        return fft.fft(across, axis=-2, overwrite_x=True, workers=self.threads)

    def irfft2(self, spectra, size):
        """Images (..., h, w) of half spectra, which are used up; ``size``: (h, w)."""
        down = fft.ifft(spectra, axis=-2, overwrite_x=True, workers=self.threads)
        return fft.irfft(down, size[1], overwrite_x=True, workers=self.threads)

    add_frames = staticmethod(add_frames)
    corrected_frame = staticmethod(corrected_frame)
    mark_bad_pixels = staticmethod(mark_bad_pixels)
    mean_of_good_pixels = staticmethod(mean_of_good_pixels)
    local_mean = staticmethod(local_mean)
    defect_cluster_mask = staticmethod(defect_cluster_mask)
    order_statistics = staticmethod(order_statistics)
    standard_deviation = staticmethod(standard_deviation)
    nyquist_power = staticmethod(nyquist_power)
    correlation_peaks = staticmethod(correlation_peaks)
    make_binned_frames = staticmethod(make_binned_frames)
    tile_spectra = staticmethod(tile_spectra)
    scale_spectra = staticmethod(scale_spectra)
    subtract_fixed_pattern = staticmethod(subtract_fixed_pattern)
    pattern_bias = staticmethod(pattern_bias)
    ring_sums = staticmethod(ring_sums)
    ring_power_sums = staticmethod(ring_power_sums)
    filter_spectra = staticmethod(filter_spectra)
    align_spectra = staticmethod(align_spectra)
    shift_gradient = staticmethod(shift_gradient)
    trajectories_to_device = staticmethod(trajectories_to_device)
    log_evidence = staticmethod(log_evidence)
    displacement_grid = staticmethod(displacement_grid)
    subpixel_histogram = staticmethod(subpixel_histogram)
    gather = staticmethod(gather)
    add_weighted_spectrum = staticmethod(add_weighted_spectrum)
    multiply_interpolated = staticmethod(multiply_interpolated)
    empty_spectra = staticmethod(empty_spectra)
