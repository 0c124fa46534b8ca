"""Spectra of tiles: made, brought to rest, summed. They are kept in 16 bits, which halves what has to be read."""

from __future__ import annotations

import numba as nb
import numpy as np
from scipy import fft

from restframe import pages

STEP = np.float32(1 / 256)  # of 16-bit spectra, whose noise has power one; rounding adds 3e-6 to it
PITCH = 136  # the longest row that is taken
LANES = 8  # samples that one instruction takes
ROWS = 16  # whose sums stay in the cache
FRAMES_PER_BLOCK = 4  # tiles that are transformed at a time, to stay in the cache


def empty_spectra(shape):
    """Room for spectra of tiles: 16-bit integers, `STEP` each."""
    return pages.zeros(shape, np.int16, in_order=False)


@nb.njit(cache=True, nogil=True)
def _step(part):
    """What a stored one means."""
    return STEP if part.itemsize == 2 else np.float32(1)


@nb.njit(cache=True, nogil=True)
def _store(values, part):
    if part.itemsize == 2:
        for x in range(len(values)):
            part[x] = np.rint(min(max(values[x] / STEP, np.float32(-32767)), np.float32(32767)))
    else:
        for x in range(len(values)):
            part[x] = values[x]


@nb.njit(cache=True, nogil=True, fastmath={"reassoc"})  # else sums go one by one, as they do in ``for v in values``
def _sum(values):
    total = np.float32(0)
    for k in range(len(values)):
        total += values[k]
    return total


@nb.njit(cache=True, nogil=True)
def _cut(frame, corners, taper, lattice, stack):
    h, width = frame.shape
    size, cells = len(taper), lattice.shape[1] - 1
    cell = size // cells
    window, (upper, step) = np.empty((size, size), np.float32), np.empty((2, size), np.float32)
    between = ((np.arange(cell) + 0.5) / cell).astype(np.float32)
    for i in range(len(corners)):
        y, x = corners[i]
        a, b = min(max(0, -x), size), min(size, width - x)
        first, last = max(0, -y), min(size, h - y)
        total = weight = 0.0
        for j in range(size):
            if j % cell == 0:  # what the corners above and below make of the rows in between
                top, bottom = lattice[i, j // cell], lattice[i, j // cell + 1]
                for k in range(cells):
                    for m in range(cell):
                        upper[k * cell + m] = top[k] + between[m] * (top[k + 1] - top[k])
                        step[k * cell + m] = bottom[k] + between[m] * (bottom[k + 1] - bottom[k])
                for k in range(size):
                    upper[k] *= taper[k]
                    step[k] = taper[k] * step[k] - upper[k]
            if not first <= j < last or a >= b:
                stack[i, j] = 0
                continue
            stack[i, j, :a] = 0
            stack[i, j, b:] = 0
            for k in range(size):
                window[j, k] = taper[j] * (upper[k] + between[j % cell] * step[k])
            line, w, out = frame[y + j, x + a : x + b], window[j, a:b], stack[i, j, a:b]
            for k in range(len(out)):
                out[k] = np.float32(line[k]) * w[k]  # Numba would take a product with an integer in 64 bits
            total += _sum(out)
            weight += _sum(w)
        mean = np.float32(total / weight) if weight > 0 else np.float32(0)
        for j in range(first, last):
            w, out = window[j, a:b], stack[i, j, a:b]
            for k in range(len(out)):
                out[k] -= mean * w[k]


@nb.njit(cache=True, nogil=True)
def _keep_band(spectra, re, im):
    rows, n = re.shape[1:]
    a, b = np.empty((2, n), np.float32)
    for i in range(len(spectra)):
        for ky in range(rows):
            row = spectra[i, (ky - rows // 2) % spectra.shape[1]]
            for x in range(n):
                a[x], b[x] = row[x].real, row[x].imag
            _store(a, re[i, ky])
            _store(b, im[i, ky])


def tile_spectra(frames, corners, taper, lattice, re, im):
    """As in reference.py."""
    for f, frame in enumerate(frames):
        for start in range(0, len(corners[f]), FRAMES_PER_BLOCK):
            part = slice(start, start + FRAMES_PER_BLOCK)
            stack = np.empty((len(corners[f, part]), len(taper), len(taper)), np.float32)
            _cut(frame, corners[f, part], taper, lattice[part], stack)
            across = fft.rfft(stack, axis=2, overwrite_x=True, workers=1)[:, :, : re.shape[-1]]
            _keep_band(fft.fft(across, axis=1, overwrite_x=True, workers=1), re[part, f], im[part, f])


@nb.njit(cache=True, parallel=True)
def _scale(part, table):
    step = _step(part)
    for i in nb.prange(len(part)):
        values = np.empty(part.shape[3], np.float32)
        for f in range(part.shape[1]):
            for ky in range(part.shape[2]):
                for x in range(len(values)):
                    values[x] = part[i, f, ky, x] * table[f, ky, x] * step
                _store(values, part[i, f, ky])


def scale_spectra(re, im, table):
    """re, im (p, t, 2m+1, m+1) *= table (t, 2m+1, m+1), in place."""
    table = np.ascontiguousarray(table)  # picked by ring it is in another order, which takes five times as long
    _scale(re, table)
    _scale(im, table)


@nb.njit(cache=True, parallel=True)
def _by_ring(values, ring, weight, out):
    for i in nb.prange(len(values)):
        for y in range(ring.shape[0]):
            for x in range(ring.shape[1]):
                if ring[y, x] >= 0:
                    out[i, ring[y, x]] += values[i, y, x] * weight[y, x]


def ring_sums(values, ring, weight):
    """Sums of values (p, 2m+1, m+1) times ``weight`` over the coefficients of every ring, (p, m+1) float64."""
    out = np.zeros((len(values), ring.shape[-1]))
    _by_ring(values, ring, weight, out)
    return out


@nb.njit(cache=True, parallel=True)
def _ring_power(re, im, ring, weight, out):
    for i in nb.prange(len(re)):
        for y in range(ring.shape[0]):
            for x in range(ring.shape[1]):
                if ring[y, x] >= 0:
                    a, b = re[i, y, x], im[i, y, x]
                    out[i, ring[y, x]] += (a * a + b * b) * weight[y, x]


def ring_power_sums(re, im, ring, weight):
    """`ring_sums` of re² + im²."""
    out = np.zeros((len(re), ring.shape[-1]))
    _ring_power(re, im, ring, weight, out)
    return out


@nb.njit(cache=True, parallel=True)
def _filtered(re, im, w, ring, weight, out_re, out_im):
    for i in nb.prange(len(re)):
        for y in range(ring.shape[0]):
            for x in range(ring.shape[1]):
                f = np.float32(w[i, ring[y, x]] * weight[y, x]) if ring[y, x] >= 0 else np.float32(0)
                out_re[i, y, x] = f * re[i, y, x]
                out_im[i, y, x] = f * im[i, y, x]


def filter_spectra(re, im, w, ring, weight):
    """re, im (p, 2m+1, m+1) times w (p, m+1) of the ring and ``weight`` of each coefficient; 0 where there is none."""
    out = np.empty_like(re), np.empty_like(im)
    _filtered(re, im, w, ring, weight, *out)
    return out


@nb.njit(cache=True, nogil=True)
def _phases(n, step, spread, re, im):
    """exp(i k step - spread k²/2) for k = 0 ... n - 1, each from the one before: in 64 bits that errs by 1e-14."""
    turn_re, turn_im = np.cos(np.float64(step)), np.sin(np.float64(step))
    square = np.exp(-np.float64(spread))
    left, lost = np.float64(1), np.sqrt(square)
    a, b = np.float64(1), np.float64(0)
    re[n:] = 0
    im[n:] = 0
    for k in range(n):
        re[k] = left * a
        im[k] = left * b
        a, b = a * turn_re - b * turn_im, a * turn_im + b * turn_re
        left *= lost
        lost *= square


@nb.njit(cache=True, nogil=True)
def _both_ways(step, spread, re, im):
    """The same for k = -m ... m."""
    m = len(re) // 2
    _phases(m + 1, step, spread, re[m:], im[m:])
    for k in range(1, m + 1):
        re[m - k] = re[m + k]
        im[m - k] = -im[m + k]


@nb.njit(cache=True, nogil=True, fastmath=True)
def _add_row(re, im, x, yr, yi, sums):
    """``x``: real and imaginary phases, `PITCH` apart; ``sums``: real, imaginary, power, likewise."""
    for k in range(len(re)):
        cr = x[k] * yr - x[k + PITCH] * yi
        ci = x[k] * yi + x[k + PITCH] * yr
        a = np.float32(re[k])
        b = np.float32(im[k])
        turned_re = a * cr - b * ci
        turned_im = a * ci + b * cr
        real = sums[k] + turned_re
        imaginary = sums[k + PITCH] + turned_im
        power = sums[k + 2 * PITCH] + turned_re * turned_re + turned_im * turned_im
        sums[k] = real
        sums[k + PITCH] = imaginary
        sums[k + 2 * PITCH] = power


@nb.njit(cache=True, nogil=True)
def _inside(row, nx, ny):
    """How many coefficients of a row are in the band: |k| rounded is at most nx - 1, as for rings."""
    m, ky = nx - 1, row - ny // 2
    return int(np.sqrt(max(m * (m + 1) - ky * ky, 0))) + 1


@nb.njit(cache=True, nogil=True)
def _wide(row, nx, ny):
    """Where the part of a row that is in the band lies among ny * nx coefficients, run on to a multiple of `LANES`:
    what follows it is left out later.

    A loop over the odd rest, one by one, would take as long as the row.
    """
    start = row * nx
    return start, min(start + (_inside(row, nx, ny) + LANES - 1) // LANES * LANES, ny * nx)


@nb.njit(cache=True, parallel=True, nogil=True)
def _align(re, im, shift, spread, total_re, total_im, auto):
    (p, t, _), (_, ny, nx) = re.shape, auto.shape
    step = _step(re)
    for i in nb.prange(p):
        x = np.empty((t, 2 * PITCH), np.float32)
        y = np.empty((t, 2, ny), np.float32)
        for f in range(t):
            _phases(nx, shift[i, f, 0], spread[i, f], x[f, :PITCH], x[f, PITCH:])
            _both_ways(shift[i, f, 1], spread[i, f], y[f, 0], y[f, 1])
        for top in range(0, ny, ROWS):
            rows = min(ROWS, ny - top)
            sums = np.zeros((rows, 3 * PITCH), np.float32)
            for f in range(t):
                for r in range(rows):
                    ky = top + r
                    a, b = _wide(ky, nx, ny)
                    _add_row(re[i, f, a:b], im[i, f, a:b], x[f], y[f, 0, ky], y[f, 1, ky], sums[r])
            for r in range(rows):
                n = _inside(top + r, nx, ny)
                for k in range(n):
                    total_re[i, top + r, k] = step * sums[r, k]
                    total_im[i, top + r, k] = step * sums[r, k + PITCH]
                    auto[i, top + r, k] = step * step * sums[r, k + 2 * PITCH]
                for k in range(n, nx):
                    total_re[i, top + r, k] = total_im[i, top + r, k] = auto[i, top + r, k] = 0


def align_spectra(re, im, steps, spread):
    """R = sum_t G_t exp(i k·step_t), as (re, im), and sum_t |G_t|², G_t = F_t exp(-spread_t k²/2); each
    (p, 2m+1, m+1), zero beyond the band.
    """
    assert re.shape[-1] <= PITCH
    totals = tuple(np.empty((len(re), *re.shape[2:]), np.float32) for _ in range(3))
    flat = (*re.shape[:2], -1)
    _align(re.reshape(flat), im.reshape(flat), steps, spread, *totals)
    return totals


@nb.njit(cache=True, nogil=True, fastmath=True)
def _add_slopes(re, im, wr, wi, x, yr, yi, ky, sums):
    """``sums``: of Im(conj(W R) Y) over ky for every kx, and of the same times ky, `PITCH` apart."""
    for k in range(len(re)):
        cr = x[k] * yr - x[k + PITCH] * yi
        ci = x[k] * yi + x[k + PITCH] * yr
        a = np.float32(re[k])
        b = np.float32(im[k])
        v = wr[k] * (a * ci + b * cr) - wi[k] * (a * cr - b * ci)
        s = sums[k] + v
        u = sums[k + PITCH] + ky * v
        sums[k] = s
        sums[k + PITCH] = u


@nb.njit(cache=True, parallel=True, nogil=True)
def _gradient(re, im, shift, spread, weighted_re, weighted_im, ny, nx, out):
    p, t, _ = re.shape
    m = ny // 2
    step = np.float64(_step(re))
    for i in nb.prange(p):
        x = np.empty(2 * PITCH, np.float32)
        y = np.empty((2, ny), np.float32)
        for f in range(t):
            _phases(nx, shift[i, f, 0], spread[i, f], x[:PITCH], x[PITCH:])
            _both_ways(shift[i, f, 1], spread[i, f], y[0], y[1])
            sums = np.zeros(2 * PITCH, np.float32)
            for r in range(ny):
                a, b = _wide(r, nx, ny)
                wr, wi = weighted_re[i, a:b], weighted_im[i, a:b]
                _add_slopes(re[i, f, a:b], im[i, f, a:b], wr, wi, x, y[0, r], y[1, r], np.float32(r - m), sums)
            gx = 0.0
            gy = 0.0
            for k in range(nx):
                gx += k * np.float64(sums[k])
                gy += np.float64(sums[k + PITCH])
            out[i, f, 0] = -step * gx
            out[i, f, 1] = -step * gy


def shift_gradient(re, im, steps, spread, weighted_re, weighted_im):
    """-sum_k k Im(conj(weighted) G_t exp(i k·step_t)), (p, t, 2), k in cycles a tile, G as in `align`."""
    assert re.shape[-1] <= PITCH
    out = np.empty((*re.shape[:2], 2))
    flat = (*re.shape[:2], -1)
    weighted = (w.reshape(len(w), -1) for w in (weighted_re, weighted_im))
    _gradient(re.reshape(flat), im.reshape(flat), steps, spread, *weighted, *re.shape[2:], out)
    return out
