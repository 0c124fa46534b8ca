"""The hot loops for the CPU, in Numba. Each does what its namesake in reference.py does.

Every output element is summed by one thread in one order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numba as nb
import numpy as np
from scipy import fft

from restframe import pages
from restframe.kernels.courses import of_courses
from restframe.kernels.cpu.counts import corrected_span
from restframe.kernels.cpu.fixed import put_back, take_off
from restframe.kernels.cpu.gathering import gather, offset_counts
from restframe.kernels.cpu.images import add_frames, corners, crowded, good_mean, local_mean, peaks
from restframe.kernels.cpu.small import small_frames
from restframe.kernels.cpu.spectra import (
    align,
    by_ring,
    cut_spectra,
    empty_spectra,
    filtered,
    gradient,
    ring_power,
    scale_spectra,
)
from restframe.kernels.reference import deviation, lattice, mark_bad, place_courses, ranked

__all__ = [
    "add_frames",
    "align",
    "by_ring",
    "corners",
    "crowded",
    "cut_spectra",
    "deviation",
    "empty_spectra",
    "filtered",
    "gather",
    "good_mean",
    "gradient",
    "lattice",
    "local_mean",
    "mark_bad",
    "of_courses",
    "offset_counts",
    "peaks",
    "place_courses",
    "put_back",
    "ranked",
    "ring_power",
    "scale_spectra",
    "small_frames",
    "take_off",
]

STRIP = 128  # rows
TOGETHER = 1  # frames that a thread transforms at a time, to stay in the cache
MOST_THREADS = nb.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]


COMPILING = "The loops are compiled for this processor, which takes a minute or two. Later runs start at once."


def compiled() -> bool:
    """Whether an earlier process left the compiled loops, the last of them at least, where Numba looks for them."""
    from restframe.kernels.cpu.gathering import _gather

    folder = _gather._cache.cache_path  # type: ignore[attr-defined]
    return os.path.isdir(folder) and any(name.startswith("gathering._gather-") for name in os.listdir(folder))


def to_device(array):
    return array


def device_frames(raw, machine):
    """Raw frames whose blocks lie where these kernels work."""
    return raw


def out_of_memory(error: Exception) -> bool:
    """Whether it says that a device has too little memory."""
    return False


def pixels(frames, rows, columns):
    """Counts of single pixels in every frame, (t, n)."""
    return frames[:, rows, columns]


def to_host(array):
    return array


def zeros(shape, dtype, like):
    return pages.zeros(shape, dtype)


def empty(shape, dtype):
    return np.empty(shape, dtype)


def over(work, items, threads):
    """``work`` of each item, a list in their order; ``threads`` at a time."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        return list(pool.map(work, items))


def rfft2(images, threads, columns=None):
    """Half spectra of images (..., h, w), numbers of any type; ``columns``: only so many."""
    if columns is None:
        across = fft.rfft(images, workers=threads)
    else:  # some rows at a time, to stay in the cache
        across = np.empty((*images.shape[:-1], columns), np.complex64)
        for y in range(0, images.shape[-2], STRIP):
            strip = images[..., y : y + STRIP, :].astype(np.float32, copy=False)
            across[..., y : y + STRIP, :] = fft.rfft(strip, workers=threads)[..., :columns]
    return fft.fft(across, axis=-2, overwrite_x=True, workers=threads)


def irfft2(spectra, size, threads):
    """Images (..., h, w) of half spectra, which are used up; ``size``: (h, w)."""
    down = fft.ifft(spectra, axis=-2, overwrite_x=True, workers=threads)
    return fft.irfft(down, size[1], overwrite_x=True, workers=threads)


@nb.njit(cache=True, parallel=True)
def _corrected(frame, calibration, i, out):
    for y in nb.prange(out.shape[0]):
        corrected_span(frame, y, calibration, i, 0, out[y])


def corrected(frames, calibration, i):
    """Frame i as (raw - dark) * gain less its mean count, bad pixels and outliers filled; (h, w) float32."""
    out = np.empty(frames.shape[1:], np.float32)
    _corrected(frames[i], tuple(calibration), i, out)
    return out


@nb.njit(cache=True, parallel=True)
def add_weighted(total, spectrum, samples, steps):
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
def multiply_smooth(total, grid):
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
