"""The hot loops for the CPU, in Numba. Each does what its namesake in reference.py does.

Every output element is summed by one thread in one order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from scipy import fft


def to_device(frames):
    return frames


def rfft2(images, threads):
    return fft.rfft2(images, workers=threads)


def irfft2(spectra, size, threads):
    return fft.irfft2(spectra, s=size, workers=threads)



def sum_frames(frames):
    """Plain sum over frames, exact for integers: (h, w) uint32, int64 or float64."""
    kind = np.uint32 if frames.dtype.kind == "u" else np.int64 if frames.dtype.kind == "i" else np.float64
    out = np.zeros(frames.shape[1:], kind)
    _sum_frames(frames, out)
    return out


@nb.njit(cache=True, parallel=True)
def _sum_frames(frames, out):
    t, h, w = frames.shape
    for y in nb.prange(h):
        for i in range(t):
            for x in range(w):
                out[y, x] += frames[i, y, x]


@nb.njit(cache=True, parallel=True)
def _row_sums(frame, gain, dark, out):
    h, w = frame.shape
    for y in nb.prange(h):
        s = 0.0
        for x in range(w):
            s += np.float64(frame[y, x] - dark[y, x] if dark.size > 1 else frame[y, x]) * gain[y, x]
        out[y] = s


def frame_sum(frame, gain, dark) -> float:
    """Sum of (raw - dark) * gain over a frame, float64."""
    out = np.empty(frame.shape[0])
    _row_sums(frame, gain, dark, out)
    return float(out.sum())


@nb.njit(cache=True)
def _corrected_row(frame, y, calibration, i, pad, out):
    """One row of (raw - dark) * gain - level, ``pad`` pixels of the local mean on both sides; bad pixels and outliers filled."""
    gain, dark, levels, limits, first, columns, values, edge_rows, edge_columns = calibration
    h, w = frame.shape
    level = levels[i]
    if y < 0 or y >= h:
        edge = edge_rows[0 if y < 0 else 1]
        for x in range(w):
            out[pad + x] = level * edge[x]
        left, right = level * edge[0], level * edge[w - 1]
    else:
        if dark.size > 1:
            for x in range(w):
                out[pad + x] = (np.float32(frame[y, x]) - dark[y, x]) * gain[y, x] - level
        else:
            for x in range(w):
                out[pad + x] = np.float32(frame[y, x]) * gain[y, x] - level
        limit = limits[i] - level
        for x in range(pad, pad + w):
            out[x] = out[x] if out[x] < limit else np.float32(0)
        for j in range(first[y], first[y + 1]):
            out[pad + columns[j]] = level * values[j]
        left, right = level * edge_columns[0, y], level * edge_columns[1, y]
    for x in range(pad):
        out[x] = left
        out[pad + w + x] = right


@nb.njit(cache=True, parallel=True)
def _corrected(frame, calibration, i, out):
    for y in nb.prange(out.shape[0]):
        _corrected_row(frame, y, calibration, i, 0, out[y])


def corrected(frames, calibration, i):
    """Frame i as (raw - dark) * gain less its mean count, bad pixels and outliers filled; (h, w) float32."""
    out = np.empty(frames.shape[1:], np.float32)
    _corrected(frames[i], tuple(calibration), i, out)
    return out


@nb.njit(cache=True, parallel=True, fastmath=True)
def _decimate_rows(frame, taps, factor, out):
    h, w = frame.shape
    first = (factor - 1) // 2 - (len(taps) - 1) // 2
    for j in nb.prange(out.shape[0]):
        for x in range(w):
            out[j, x] = 0
        for k in range(len(taps)):
            y = j * factor + first + k
            if 0 <= y < h:
                for x in range(w):
                    out[j, x] += taps[k] * frame[y, x]


@nb.njit(cache=True, parallel=True, fastmath=True)
def _decimate_columns(rows, taps, factor, out):
    h, w = rows.shape
    first = (factor - 1) // 2 - (len(taps) - 1) // 2
    n = out.shape[1]
    for j in nb.prange(h):
        for x in range(n):
            out[j, x] = 0
        for k in range(len(taps)):
            lo = max(0, -((first + k) // factor))
            hi = min(n, (w - 1 - first - k) // factor + 1)
            for x in range(lo, hi):
                out[j, x] += taps[k] * rows[j, x * factor + first + k]


def decimate(frame, taps, factor):
    """Low-passed by ``taps`` in both directions (zero outside), one pixel in ``factor`` kept; (h // factor, w // factor)."""
    h, w = frame.shape
    rows = np.empty((h // factor, w), np.float32)
    _decimate_rows(frame, taps, factor, rows)
    out = np.empty((h // factor, w // factor), np.float32)
    _decimate_columns(rows, taps, factor, out)
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
def _gather(frames, calibration, lattice, spacing, origin, table, coefficients, block, out):
    t, h, w = frames.shape
    r, oh, ow = out.shape
    fine = table.shape[0] - 2
    reach_x = np.float32(0)
    for i in range(t):
        reach_x = max(reach_x, np.abs(lattice[i, :, :, 0]).max())
    pad = int(reach_x) + 4 - origin + max(0, ow + origin - w)
    n_blocks = (oh + block - 1) // block
    for b in nb.prange(n_blocks):
        y0 = b * block
        y1 = min(y0 + block, oh)
        l0 = y0 // spacing
        l1 = min((y1 - 1) // spacing + 2, lattice.shape[1])
        sums = np.zeros((r, y1 - y0, ow), np.float32)
        dx = np.empty(ow, np.float32)
        dy = np.empty(ow, np.float32)
        for i in range(t):
            low = int(np.floor(lattice[i, l0:l1, :, 1].min())) + y0 + origin - 1
            high = int(np.floor(lattice[i, l0:l1, :, 1].max())) + y1 + origin + 2
            strip = np.empty((high - low + 1, w + 2 * pad), np.float32)
            for y in range(low, high + 1):
                _corrected_row(frames[i], y, calibration, i, pad, strip[y - low])
            for y in range(y0, y1):
                ly = y // spacing
                fy = np.float32(y - ly * spacing) / spacing
                for x in range(ow):
                    lx = x // spacing
                    fx = np.float32(x - lx * spacing) / spacing
                    a = lattice[i, ly, lx]
                    c = lattice[i, ly, lx + 1]
                    d = lattice[i, ly + 1, lx]
                    e = lattice[i, ly + 1, lx + 1]
                    dx[x] = (a[0] + fx * (c[0] - a[0])) * (1 - fy) + fy * (d[0] + fx * (e[0] - d[0]))
                    dy[x] = (a[1] + fx * (c[1] - a[1])) * (1 - fy) + fy * (d[1] + fx * (e[1] - d[1]))
                for x in range(ow):
                    px = dx[x]
                    py = dy[x]
                    ix = int(np.floor(px))
                    iy = int(np.floor(py))
                    tx = (px - ix) * fine
                    ty = (py - iy) * fine
                    jx = int(tx)
                    jy = int(ty)
                    qx = tx - jx
                    qy = ty - jy
                    row = y + origin + iy - 1 - low
                    column = x + origin + ix - 1 + pad
                    v = np.float32(0)
                    for m in range(4):
                        s = np.float32(0)
                        for n in range(4):
                            s += (table[jx, n] + qx * (table[jx + 1, n] - table[jx, n])) * strip[row + m, column + n]
                        v += (table[jy, m] + qy * (table[jy + 1, m] - table[jy, m])) * s
                    for k in range(r):
                        sums[k, y - y0, x] += coefficients[k, i] * v
        for k in range(r):
            out[k, y0:y1] = sums[k]


def gather(frames, calibration, lattice, spacing, origin, table, coefficients, size):
    """Running images sum_t coefficients[r, t] * frame_t at the displaced position of every output pixel; (r, *size) float32."""
    out = np.empty((len(coefficients), *size), np.float32)
    _gather(frames, tuple(calibration), lattice.astype(np.float32), spacing, origin, table, coefficients.astype(np.float32), 32, out)
    return out
