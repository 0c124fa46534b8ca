"""The hot loops for the CPU, in Numba. Each does what its namesake in reference.py does.

Every output element is summed by one thread in one order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from scipy import fft

from restframe.kernels.reference import crowded, local_mean, mark_bad

__all__ = ["crowded", "local_mean", "mark_bad"]

MOST_THREADS = nb.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]


def to_device(array):
    return array


def device_frames(raw, machine):
    """Raw frames whose blocks lie where these kernels work."""
    return raw


def pixels(frames, rows, columns):
    """Counts of single pixels in every frame, (t, n)."""
    return frames[:, rows, columns]


def to_host(array):
    return array


def zeros(shape, dtype, like):
    return np.zeros(shape, dtype)


def empty(shape, dtype):
    return np.empty(shape, dtype)


def rfft2(images, threads):
    return fft.rfft2(images, workers=threads)


def irfft2(spectra, size, threads):
    return fft.irfft2(spectra, s=size, workers=threads)


def add_frames(frames, gain, dark, total):
    """total += every frame, exactly for integers; returns each one's sum of (raw - dark) * gain, (t,) float64."""
    sums = np.empty(frames.shape[:2])
    _add_frames(frames, gain, dark, total, sums)
    return sums.sum(1)


@nb.njit(cache=True, parallel=True, nogil=True)
def _add_frames(frames, gain, dark, total, sums):
    t, h, w = frames.shape
    for y in nb.prange(h):
        o = total[y]
        g = gain[y]
        for i in range(t):
            raw = frames[i, y]
            s = 0.0
            if dark.size > 1:
                d = dark[y]
                for x in range(w):
                    o[x] += raw[x]
                    s += np.float64((np.float32(raw[x]) - d[x]) * g[x])
            else:
                for x in range(w):
                    o[x] += raw[x]
                    s += np.float64(np.float32(raw[x]) * g[x])
            sums[i, y] = s


@nb.njit(cache=True)
def _corrected_span(frame, y, calibration, i, left, out):
    """Columns left ... left + len(out) of row y of the corrected frame; either may lie off the frame."""
    gain, dark, levels, limits, first, columns, values, edge_rows, edge_columns = calibration
    h, w = frame.shape
    level = levels[i]
    n = len(out)
    a = min(max(0, -left), n)
    b = max(min(n, w - left), a)
    if y < 0 or y >= h:
        edge = edge_rows[0 if y < 0 else 1]
        for x in range(n):
            out[x] = level * edge[min(max(left + x, 0), w - 1)]
        return
    raw = frame[y, left + a : left + b]
    g = gain[y, left + a : left + b]
    o = out[a:b]
    limit = limits[i] - level
    if dark.size > 1:
        d = dark[y, left + a : left + b]
        for x in range(b - a):
            v = (np.float32(raw[x]) - d[x]) * g[x] - level
            o[x] = v if v < limit else np.float32(0)
    else:
        for x in range(b - a):
            v = np.float32(raw[x]) * g[x] - level
            o[x] = v if v < limit else np.float32(0)
    for j in range(first[y], first[y + 1]):
        x = columns[j] - left
        if 0 <= x < n:
            out[x] = level * values[j]
    for x in range(a):
        out[x] = level * edge_columns[0, y]
    for x in range(b, n):
        out[x] = level * edge_columns[1, y]


@nb.njit(cache=True, parallel=True)
def _corrected(frame, calibration, i, out):
    for y in nb.prange(out.shape[0]):
        _corrected_span(frame, y, calibration, i, 0, out[y])


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
    """Low-passed by ``taps`` both ways (zero outside), one pixel in ``factor`` kept; (h // factor, w // factor)."""
    h, w = frame.shape
    rows = np.empty((h // factor, w), np.float32)
    _decimate_rows(frame, taps, factor, rows)
    out = np.empty((h // factor, w // factor), np.float32)
    _decimate_columns(rows, taps, factor, out)
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


def small_frames(frames, calibration, taps, factor, steps, out):
    """Every frame, corrected and decimated, into ``out`` (t, h // factor, w // factor) int8: ``steps`` to the standard
    deviation of each.
    """
    for i, one in enumerate(out):
        small_frame(frames, calibration, i, taps, factor, steps, one)


def small_frame(frames, calibration, i, taps, factor, steps, out):
    """Frame i as in `small_frames`."""
    frame = decimate(corrected(frames, calibration, i), taps, factor)
    _rounded(frame, np.float32(steps / max(float(frame.std()), 1e-20)), out)


@nb.njit(cache=True, parallel=True, nogil=True)
def _rounded(frame, scale, out):
    for y in nb.prange(len(frame)):
        for x in range(frame.shape[1]):
            v = min(max(frame[y, x] * scale, np.float32(-127)), np.float32(127))
            out[y, x] = np.int8(np.rint(v))


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


@nb.njit(cache=True, fastmath=True)
def _gather_row(strip, row, column, lattice, ly, fy, spacing, x0, x1, low, left, table, out):
    """Output pixels x0 ... x1 of one row from a strip of corrected rows.

    Between two lattice points the displacement is linear, so the weights are taken as linear too, from their value and
    slope in the middle.
    """
    fine = table.shape[0] - 2
    for x in range(x0, x1, spacing):
        lx = x // spacing
        n = min(spacing, x1 - x)
        a = lattice[ly, lx]
        b = lattice[ly, lx + 1]
        c = lattice[ly + 1, lx]
        d = lattice[ly + 1, lx + 1]
        x_start = a[0] * (1 - fy) + c[0] * fy
        y_start = a[1] * (1 - fy) + c[1] * fy
        x_slope = (b[0] * (1 - fy) + d[0] * fy - x_start) / spacing
        y_slope = (b[1] * (1 - fy) + d[1] * fy - y_start) / spacing
        middle = np.float32(0.5 * (n - 1))
        px = x_start + middle * x_slope
        py = y_start + middle * y_slope
        ix = int(np.floor(px))
        iy = int(np.floor(py))
        tx = (px - ix) * fine
        ty = (py - iy) * fine
        jx = int(tx)
        jy = int(ty)
        tx -= jx
        ty -= jy
        sx = x_slope * fine
        sy = y_slope * fine
        hx0, hx1, hx2, hx3 = (
            table[jx + 1, 0] - table[jx, 0],
            table[jx + 1, 1] - table[jx, 1],
            table[jx + 1, 2] - table[jx, 2],
            table[jx + 1, 3] - table[jx, 3],
        )
        hy0, hy1, hy2, hy3 = (
            table[jy + 1, 0] - table[jy, 0],
            table[jy + 1, 1] - table[jy, 1],
            table[jy + 1, 2] - table[jy, 2],
            table[jy + 1, 3] - table[jy, 3],
        )
        wx0, wx1, wx2, wx3 = (
            table[jx, 0] + tx * hx0,
            table[jx, 1] + tx * hx1,
            table[jx, 2] + tx * hx2,
            table[jx, 3] + tx * hx3,
        )
        wy0, wy1, wy2, wy3 = (
            table[jy, 0] + ty * hy0,
            table[jy, 1] + ty * hy1,
            table[jy, 2] + ty * hy2,
            table[jy, 3] + ty * hy3,
        )
        hx0, hx1, hx2, hx3 = hx0 * sx, hx1 * sx, hx2 * sx, hx3 * sx
        hy0, hy1, hy2, hy3 = hy0 * sy, hy1 * sy, hy2 * sy, hy3 * sy
        r = row + iy - 1 - low
        k = x + column + ix - 1 - left
        s0 = strip[r, k : k + n + 3]
        s1 = strip[r + 1, k : k + n + 3]
        s2 = strip[r + 2, k : k + n + 3]
        s3 = strip[r + 3, k : k + n + 3]
        o = out[x - x0 : x - x0 + n]
        for i in range(n):
            e = np.float32(i) - middle
            u0 = wx0 + e * hx0
            u1 = wx1 + e * hx1
            u2 = wx2 + e * hx2
            u3 = wx3 + e * hx3
            v = (wy0 + e * hy0) * (u0 * s0[i] + u1 * s0[i + 1] + u2 * s0[i + 2] + u3 * s0[i + 3])
            v += (wy1 + e * hy1) * (u0 * s1[i] + u1 * s1[i + 1] + u2 * s1[i + 2] + u3 * s1[i + 3])
            v += (wy2 + e * hy2) * (u0 * s2[i] + u1 * s2[i + 1] + u2 * s2[i + 2] + u3 * s2[i + 3])
            v += (wy3 + e * hy3) * (u0 * s3[i] + u1 * s3[i + 1] + u2 * s3[i + 2] + u3 * s3[i + 3])
            o[i] = v


@nb.njit(cache=True, parallel=True, fastmath=True)
def _gather(frames, calibration, lattice, spacing, origin, table, coefficients, rows, columns, out):
    t = len(frames)
    r, oh, ow = out.shape
    down, across = (oh + rows - 1) // rows, (ow + columns - 1) // columns
    for tile in nb.prange(down * across):
        y0, x0 = tile // across * rows, tile % across * columns
        y1, x1 = min(y0 + rows, oh), min(x0 + columns, ow)
        l0, l1 = y0 // spacing, (y1 - 1) // spacing + 2
        m0, m1 = x0 // spacing, (x1 - 1) // spacing + 2
        sums = out[:, y0:y1, x0:x1].copy()
        line = np.empty(x1 - x0, np.float32)
        for i in range(t):
            part = lattice[i, l0:l1, m0:m1]
            low = int(np.floor(part[:, :, 1].min())) + y0 + origin - 2
            high = int(np.floor(part[:, :, 1].max())) + y1 + origin + 3
            left = int(np.floor(part[:, :, 0].min())) + x0 + origin - 2
            right = int(np.floor(part[:, :, 0].max())) + x1 + origin + 4
            strip = np.empty((high - low, right - left), np.float32)
            for y in range(low, high):
                _corrected_span(frames[i], y, calibration, i, left, strip[y - low])
            for y in range(y0, y1):
                ly = y // spacing
                fy = np.float32(y - ly * spacing) / np.float32(spacing)
                _gather_row(strip, y + origin, origin, lattice[i], ly, fy, spacing, x0, x1, low, left, table, line)
                for k in range(r):
                    c = coefficients[k, i]
                    o = sums[k, y - y0]
                    for x in range(x1 - x0):
                        o[x] += c * line[x]
        for k in range(r):
            out[k, y0:y1, x0:x1] = sums[k]


GATHER_TILE = (32, 512)  # output pixels: the running images of a tile stay in the cache


def gather(frames, calibration, lattice, spacing, origin, table, coefficients, out):
    """out[r] += sum_t coefficients[r, t] * frame_t where each output pixel was then; (r, h, w) float32."""
    _gather(
        frames,
        tuple(calibration),
        lattice.astype(np.float32),
        spacing,
        origin,
        table,
        coefficients.astype(np.float32),
        *GATHER_TILE,
        out,
    )  # fmt: skip


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
