"""The gather: tiles of output pixels whose running images stay in the cache, a few frames at a time.

A row is resampled in runs over which the whole-pixel part of the displacement is the same, with the kernel's weights as
polynomials of the rest: long loops without look-ups.
"""

from __future__ import annotations

from functools import lru_cache

import numba as nb
import numpy as np

from restframe.kernels.cpu.counts import corrected_span

TILE = (16, 1024)  # output pixels
PITCH = TILE[1]
FRAMES_PER_BLOCK = 4  # frames


TERMS = 4  # of each polynomial: error 1e-6


def weight_polynomials(table: np.ndarray) -> np.ndarray:
    """(3, TERMS) float32 coefficients for the four weights at offset d, from their ``table``, by least squares.

    With e = d - 1/2 and p the polynomials in e²: w1 + w2 = p0, w1 - w2 = e p1, w0 - w3 = e p2; w0 + w3 = 1 - p0.
    """
    return _polynomials(table.tobytes(), len(table))


@lru_cache(maxsize=4)
def _polynomials(table: bytes, rows: int) -> np.ndarray:
    w = np.frombuffer(table, np.float32).reshape(rows, 4).astype(float)[:-1]
    e = np.arange(len(w)) / (rows - 2) - 0.5
    even = e[:, None] ** (2 * np.arange(TERMS))
    odd = even * e[:, None]
    fits = ((even, w[:, 1] + w[:, 2]), (odd, w[:, 1] - w[:, 2]), (odd, w[:, 0] - w[:, 3]))
    out = np.stack([np.linalg.lstsq(a, y, rcond=None)[0] for a, y in fits])
    assert max(np.abs(a @ c - y).max() for c, (a, y) in zip(out, fits, strict=True)) < 1e-5
    return out.astype(np.float32)


@nb.njit(cache=True, nogil=True)
def _lay_out(lattice, first, n, spacing, at):
    """The displacement of n pixels along a row of the lattice, x and y, and its slope from there to the next row.

    ``lattice``: two rows (2, nx, 2). ``at``: four lines of `PITCH`: x, its slope, y, its slope.
    """
    for axis in range(2):
        for x in range(0, n, spacing):
            j = first + x // spacing
            a = lattice[0, j, axis]
            b = lattice[1, j, axis] - a
            slope = (lattice[0, j + 1, axis] - a) / np.float32(spacing)
            bend = (lattice[1, j + 1, axis] - lattice[1, j, axis]) / np.float32(spacing) - slope
            for i in range(min(spacing, n - x)):
                at[2 * axis * PITCH + x + i] = a + np.float32(i) * slope
                at[(2 * axis + 1) * PITCH + x + i] = b + np.float32(i) * bend


@nb.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _resample(s0, s1, s2, s3, at, fy, ix, iy, p, out):
    """``s0`` ...: rows of samples; ``at``: as laid out; ``ix``, ``iy``: whole pixels, half a one added."""
    a0, a1, a2, a3 = p[0, 0], p[0, 1], p[0, 2], p[0, 3]
    b0, b1, b2, b3 = p[1, 0], p[1, 1], p[1, 2], p[1, 3]
    c0, c1, c2, c3 = p[2, 0], p[2, 1], p[2, 2], p[2, 3]
    half, one = np.float32(0.5), np.float32(1)
    for i in range(len(out)):
        e = at[i] + fy * at[i + PITCH] - ix
        q = e * e
        inner = a0 + q * (a1 + q * (a2 + q * a3))
        d = e * (b0 + q * (b1 + q * (b2 + q * b3)))
        f = e * (c0 + q * (c1 + q * (c2 + q * c3)))
        outer = one - inner
        x0, x1, x2, x3 = outer + f, inner + d, inner - d, outer - f  # twice the weights
        e = at[i + 2 * PITCH] + fy * at[i + 3 * PITCH] - iy
        q = e * e
        inner = a0 + q * (a1 + q * (a2 + q * a3))
        d = e * (b0 + q * (b1 + q * (b2 + q * b3)))
        f = e * (c0 + q * (c1 + q * (c2 + q * c3)))
        outer = one - inner
        v = (outer + f) * (x0 * s0[i] + x1 * s0[i + 1] + x2 * s0[i + 2] + x3 * s0[i + 3])
        v += (inner + d) * (x0 * s1[i] + x1 * s1[i + 1] + x2 * s1[i + 2] + x3 * s1[i + 3])
        v += (inner - d) * (x0 * s2[i] + x1 * s2[i + 1] + x2 * s2[i + 2] + x3 * s2[i + 3])
        v += (outer - f) * (x0 * s3[i] + x1 * s3[i + 1] + x2 * s3[i + 2] + x3 * s3[i + 3])
        out[i] = half * half * v


@nb.njit(cache=True, nogil=True)
def _same(at, i, fy, x, y):
    """Whether x and y are the whole pixels of the displacement at i."""
    dx, dy = at[i] + fy * at[i + PITCH] - x, at[i + 2 * PITCH] + fy * at[i + 3 * PITCH] - y
    return dx >= 0 and dx < 1 and dy >= 0 and dy < 1


@nb.njit(cache=True, nogil=True)
def _run(at, fy, start, n, spacing):
    """Whole pixels at ``start``, and where a run of the same ends. From point to point displacements are linear."""
    x = np.floor(at[start] + fy * at[start + PITCH])
    y = np.floor(at[start + 2 * PITCH] + fy * at[start + 3 * PITCH])
    end = start + 1
    point = start - start % spacing + spacing
    while end < n and _same(at, min(point, n - 1), fy, x, y):
        end = min(point, n - 1) + 1
        point += spacing
    while end < n and _same(at, end, fy, x, y):
        end += 1
    return x, y, end


@nb.njit(cache=True, nogil=True)
def _row(strip, y, x, at, fy, spacing, p, out):
    """One output row from a strip of corrected rows, in which it lies at (y, x) where nothing moved."""
    n = len(out)
    start = 0
    half = np.float32(0.5)
    while start < n:
        ix, iy, end = _run(at, fy, start, n, spacing)
        r = y + int(iy) - 1
        c = x + start + int(ix) - 1
        d = c + end - start + 3
        _resample(
            strip[r, c:d], strip[r + 1, c:d], strip[r + 2, c:d], strip[r + 3, c:d],
            at[start:], fy, ix + half, iy + half, p, out[start:end],
        )  # fmt: skip
        start = end


@nb.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _add_four(out, a, b, c, d, ca, cb, cc, cd):
    """In this order, each rounded: as if added one by one."""
    for x in range(len(out)):
        out[x] = (((out[x] + ca * a[x]) + cb * b[x]) + cc * c[x]) + cd * d[x]


@nb.njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _add_one(out, a, ca):
    for x in range(len(out)):
        out[x] += ca * a[x]


@nb.njit(cache=True, parallel=True, nogil=True)
def _gather(frames, calibration, lattice, spacing, origin, polynomials, numbers, coefficients, out):
    """``numbers``: of the frames that are added; ``coefficients``: (r, n) of these."""
    t = len(numbers)
    r, oh, ow = out.shape
    down, across = (oh + TILE[0] - 1) // TILE[0], (ow + TILE[1] - 1) // TILE[1]
    for tile in nb.prange(down * across):
        y0, x0 = tile // across * TILE[0], tile % across * TILE[1]
        y1, x1 = min(y0 + TILE[0], oh), min(x0 + TILE[1], ow)
        l0, l1 = y0 // spacing, (y1 - 1) // spacing + 2
        m0, m1 = x0 // spacing, (x1 - 1) // spacing + 2
        sums = out[:, y0:y1, x0:x1].copy()
        at = np.empty(4 * PITCH, np.float32)
        lines = np.empty((FRAMES_PER_BLOCK, y1 - y0, x1 - x0), np.float32)
        for start in range(0, t, FRAMES_PER_BLOCK):
            some = min(FRAMES_PER_BLOCK, t - start)
            for f in range(some):
                i = numbers[start + f]
                part = lattice[i, l0:l1, m0:m1]
                low = int(np.floor(part[:, :, 1].min())) + y0 + origin - 2
                high = int(np.floor(part[:, :, 1].max())) + y1 + origin + 3
                left = int(np.floor(part[:, :, 0].min())) + x0 + origin - 2
                right = int(np.floor(part[:, :, 0].max())) + x1 + origin + 4
                strip = np.empty((high - low, right - left), np.float32)
                for y in range(low, high):
                    corrected_span(frames[i], y, calibration, i, left, strip[y - low])
                for y in range(y0, y1):
                    ly = y // spacing
                    if y == y0 or y == ly * spacing:
                        _lay_out(lattice[i, ly : ly + 2], m0, x1 - x0, spacing, at)
                    fy = np.float32(y - ly * spacing) / np.float32(spacing)
                    line = lines[f, y - y0]
                    _row(strip, y + origin - low, x0 + origin - left, at, fy, spacing, polynomials, line)
            for y in range(y1 - y0):
                for k in range(r):
                    c = coefficients[k, start : start + some]
                    if not c.any():
                        continue
                    if some == FRAMES_PER_BLOCK:
                        _add_four(
                            sums[k, y], lines[0, y], lines[1, y], lines[2, y], lines[3, y], c[0], c[1], c[2], c[3]
                        )
                    else:
                        for f in range(some):
                            _add_one(sums[k, y], lines[f, y], c[f])
        for k in range(r):
            out[k, y0:y1, x0:x1] = sums[k]


@nb.njit(cache=True, parallel=True, nogil=True)
def _offset_counts(positions, bins, out):
    n = positions.shape[1]
    for i in nb.prange(len(positions)):
        for j in range(n):
            x, y = positions[i, j, 0], positions[i, j, 1]
            at_x, at_y = bins * np.float64(x - np.floor(x)), bins * np.float64(y - np.floor(y))
            left, top = int(at_x), int(at_y)
            fx, fy = at_x - left, at_y - top
            left, top = left % bins, top % bins
            right, bottom = (left + 1) % bins, (top + 1) % bins
            out[i, top, left] += (1 - fy) * (1 - fx)
            out[i, top, right] += (1 - fy) * fx
            out[i, bottom, left] += fy * (1 - fx)
            out[i, bottom, right] += fy * fx
        for y in range(bins):
            for x in range(bins):
                out[i, y, x] /= n


def subpixel_histogram(positions, bins):
    """How often each sub-pixel offset occurs: (t, n, 2) displacements x, y -> fractions (t, bins, bins), y first."""
    out = np.zeros((len(positions), bins, bins))
    _offset_counts(positions, bins, out)
    return out


def gather(frames, calibration, lattice, spacing, origin, table, coefficients, out):
    """out[r] += sum_t coefficients[r, t] * frame_t where each output pixel was then; (r, h, w) float32."""
    weights = weight_polynomials(np.ascontiguousarray(table, np.float32))
    lattice = lattice.astype(np.float32, copy=False)
    numbers = np.flatnonzero(coefficients.any(0))
    coefficients = np.ascontiguousarray(coefficients[:, numbers], np.float32)
    _gather(frames, tuple(calibration), lattice, spacing, origin, weights, numbers, coefficients, out)
