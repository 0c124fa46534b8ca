"""The hot loops for the CPU, in Numba. Each does what its namesake in reference.py does.

Every output element is summed by one thread in one order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from scipy import fft

from restframe.kernels.cpu.counts import corrected_span
from restframe.kernels.cpu.gathering import gather
from restframe.kernels.cpu.images import add_frames, crowded, local_mean
from restframe.kernels.cpu.small import small_frames
from restframe.kernels.reference import mark_bad, peaks

__all__ = ["add_frames", "crowded", "gather", "local_mean", "mark_bad", "peaks", "small_frames"]

MOST_THREADS = nb.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]


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
    return np.zeros(shape, dtype)


def empty(shape, dtype):
    return np.empty(shape, dtype)


def empty_spectra(shape):
    """Room for spectra of tiles."""
    return np.empty(shape, np.float32)


def rfft2(images, threads):
    return fft.rfft2(images, workers=threads)


def irfft2(spectra, size, threads):
    return fft.irfft2(spectra, s=size, workers=threads)


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
def _cut(frame, corners, window, stack):
    h, w = frame.shape
    size = len(window)
    for i in nb.prange(len(corners)):
        y, x = corners[i]
        a = min(max(0, -x), size)
        b = max(min(size, w - x), a)
        for j in range(size):
            if not 0 <= y + j < h:
                stack[i, j] = 0
                continue
            stack[i, j, :a] = 0
            stack[i, j, b:] = 0
            for k in range(a, b):
                stack[i, j, k] = frame[y + j, x + k] * window[j, k]


def cut_spectra(frame, corners, window, re, im, threads):
    """Spectra of square pieces of ``frame``, zero outside it, times ``window``, into ``re``, ``im`` (p, 2m+1, m+1)."""
    band = re.shape[-1] - 1
    stack = np.empty((len(corners), *window.shape), np.float32)
    _cut(frame, corners, window, stack)
    spectrum = fft.rfft2(stack, workers=threads)[:, :, : band + 1]
    for part, values in ((re, spectrum.real), (im, spectrum.imag)):
        part[:, :band] = values[:, -band:]
        part[:, band:] = values[:, : band + 1]


@nb.njit(cache=True, parallel=True)
def _by_ring(values, ring, weight, out):
    for i in nb.prange(len(values)):
        for y in range(ring.shape[0]):
            for x in range(ring.shape[1]):
                if ring[y, x] >= 0:
                    out[i, ring[y, x]] += values[i, y, x] * weight[y, x]


def by_ring(values, ring, weight):
    """Sums of values (p, 2m+1, m+1) times ``weight`` over the coefficients of every ring, (p, m+1) float64."""
    out = np.zeros((len(values), ring.shape[-1]))
    _by_ring(values, ring, weight, out)
    return out


def ring_power(re, im, ring, weight):
    """`by_ring` of re² + im²."""
    return by_ring(re**2 + im**2, ring, weight)


@nb.njit(cache=True, parallel=True)
def _filtered(re, im, w, ring, weight, out_re, out_im):
    for i in nb.prange(len(re)):
        for y in range(ring.shape[0]):
            for x in range(ring.shape[1]):
                f = np.float32(w[i, ring[y, x]] * weight[y, x]) if ring[y, x] >= 0 else np.float32(0)
                out_re[i, y, x] = f * re[i, y, x]
                out_im[i, y, x] = f * im[i, y, x]


def filtered(re, im, w, ring, weight):
    """re, im (p, 2m+1, m+1) times w (p, m+1) of the ring and ``weight`` of each coefficient; 0 where there is none."""
    out = np.empty_like(re), np.empty_like(im)
    _filtered(re, im, w, ring, weight, *out)
    return out


@nb.njit(cache=True, fastmath=True)
def _phases(n, step, out_re, out_im, first):
    for i in range(n):
        angle = (i + first) * step
        out_re[i] = np.cos(angle)
        out_im[i] = np.sin(angle)


@nb.njit(cache=True, parallel=True, fastmath=True)
def _align(re, im, shift, total_re, total_im, auto):
    """Sum over frames of the spectra brought to rest, and sum of their power; each (p, ky, kx)."""
    p, t, ny, nx = re.shape
    m = ny // 2
    for i in nb.prange(p):
        xr = np.empty(nx, np.float32)
        xi = np.empty(nx, np.float32)
        yr = np.empty(ny, np.float32)
        yi = np.empty(ny, np.float32)
        for f in range(t):
            _phases(nx, shift[i, f, 0], xr, xi, 0)
            _phases(ny, shift[i, f, 1], yr, yi, -m)
            for ky in range(ny):
                for kx in range(nx):
                    cr = xr[kx] * yr[ky] - xi[kx] * yi[ky]
                    ci = xr[kx] * yi[ky] + xi[kx] * yr[ky]
                    a = re[i, f, ky, kx]
                    b = im[i, f, ky, kx]
                    total_re[i, ky, kx] += a * cr - b * ci
                    total_im[i, ky, kx] += a * ci + b * cr
                    auto[i, ky, kx] += a * a + b * b


@nb.njit(cache=True, parallel=True, fastmath=True)
def _gradient(re, im, shift, weighted_re, weighted_im, out):
    """-sum_k k Im(conj(W R) Y) for every patch and frame."""
    p, t, ny, nx = re.shape
    m = ny // 2
    for i in nb.prange(p):
        xr = np.empty(nx, np.float32)
        xi = np.empty(nx, np.float32)
        yr = np.empty(ny, np.float32)
        yi = np.empty(ny, np.float32)
        for f in range(t):
            _phases(nx, shift[i, f, 0], xr, xi, 0)
            _phases(ny, shift[i, f, 1], yr, yi, -m)
            gx = np.float64(0)
            gy = np.float64(0)
            for ky in range(ny):
                sx = np.float32(0)
                s = np.float32(0)
                for kx in range(nx):
                    cr = xr[kx] * yr[ky] - xi[kx] * yi[ky]
                    ci = xr[kx] * yi[ky] + xi[kx] * yr[ky]
                    a = re[i, f, ky, kx]
                    b = im[i, f, ky, kx]
                    v = weighted_re[i, ky, kx] * (a * ci + b * cr) - weighted_im[i, ky, kx] * (a * cr - b * ci)
                    s += v
                    sx += np.float32(kx) * v
                gx -= sx
                gy -= (ky - m) * s
            out[i, f, 0] = gx
            out[i, f, 1] = gy


def align(re, im, steps):
    """R = sum_t F_t exp(i k·step_t), as (re, im), and sum_t |F_t|²; each (p, 2m+1, m+1)."""
    shape = (re.shape[0], *re.shape[2:])
    total_re, total_im, auto = (np.zeros(shape, np.float32) for _ in range(3))
    _align(re, im, steps, total_re, total_im, auto)
    return total_re, total_im, auto


def gradient(re, im, steps, weighted_re, weighted_im):
    """-sum_k k Im(conj(weighted) F_t exp(i k·step_t)), (p, t, 2), k in cycles a tile."""
    out = np.empty((*re.shape[:2], 2))
    _gradient(re, im, steps, weighted_re, weighted_im, out)
    return out


@nb.njit(cache=True, parallel=True, fastmath=True)
def add_weighted(total, spectrum, samples, steps):
    """total += samples(|k|) * the middle of the half spectrum; ``steps``: samples per row and column."""
    rows, columns = total.shape
    h = len(spectrum)
    last = len(samples) - 2
    sy, sx = np.float32(steps[0]), np.float32(steps[1])
    for j in nb.prange(rows):
        row = np.int64(j)
        ky = row if row < (rows + 1) // 2 else row - rows
        y2 = (ky * sy) ** 2
        for i in range(columns):
            at = np.sqrt(y2 + (i * sx) ** 2)
            n = min(int(at), last)
            part = at - n
            total[j, i] += (samples[n] + part * (samples[n + 1] - samples[n])) * spectrum[ky % h, i]


@nb.njit(cache=True, parallel=True, fastmath=True)
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
