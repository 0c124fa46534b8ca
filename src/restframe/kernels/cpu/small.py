"""Small frames: corrected and decimated in strips that stay in the cache."""

from __future__ import annotations

import numba as nb
import numpy as np

from restframe.kernels.cpu.counts import corrected_span

STRIP = 32  # small rows
FRAMES_PER_BLOCK = 4  # frames


@nb.njit(cache=True, nogil=True, fastmath=True)
def _add_four(out, a, b, c, d, ta, tb, tc, td):
    for x in range(len(out)):
        out[x] += ta * a[x] + tb * b[x] + tc * c[x] + td * d[x]


@nb.njit(cache=True, nogil=True)
def _decimated_strip(frame, calibration, i, taps, first, factor, top, out, ring, phases, moments):
    """Small rows ``top`` ... top + len(out) of frame i. ``ring``: the last row is zero; ``phases``: zero at the ends.

    ``taps``: a multiple of four; ``first``: the first one's row, for small row 0.
    """
    h, w = frame.shape
    n = len(taps)
    beyond = _beyond(n, factor)
    numbers = np.empty(n, np.int64)
    line = np.empty(w, np.float32)
    done = top * factor + first
    for j in range(len(out)):
        low = (top + j) * factor + first
        for y in range(done, low + n):
            if 0 <= y < h:
                corrected_span(frame, y, calibration, i, 0, ring[y % n])
        done = low + n
        for k in range(n):
            y = low + k
            numbers[k] = y % n if 0 <= y < h else n
        line[:] = 0
        for k in range(0, n, 4):
            _add_four(
                line, ring[numbers[k]], ring[numbers[k + 1]], ring[numbers[k + 2]], ring[numbers[k + 3]],
                taps[k], taps[k + 1], taps[k + 2], taps[k + 3],
            )  # fmt: skip
        for p in range(factor):
            part = phases[p, beyond:]
            for x in range((w - p + factor - 1) // factor):
                part[x] = line[x * factor + p]
        o = out[j]
        o[:] = 0
        for k in range(0, n, 4):
            c = first + k
            _add_four(
                o,
                phases[c % factor, beyond + c // factor :],
                phases[(c + 1) % factor, beyond + (c + 1) // factor :],
                phases[(c + 2) % factor, beyond + (c + 2) // factor :],
                phases[(c + 3) % factor, beyond + (c + 3) // factor :],
                taps[k], taps[k + 1], taps[k + 2], taps[k + 3],
            )  # fmt: skip
        s = 0.0
        q = 0.0
        for x in range(len(o)):
            s += o[x]
            q += np.float64(o[x]) * np.float64(o[x])
        moments[j, 0] = s
        moments[j, 1] = q


@nb.njit(cache=True, nogil=True)
def _beyond(n, factor):
    """Samples of each phase that the taps need off either side."""
    return n // factor + 2


@nb.njit(cache=True, parallel=True, nogil=True)
def _decimated(frames, calibration, start, taps, first, factor, out, moments):
    n, oh, ow = out.shape
    for strip in nb.prange((oh + STRIP - 1) // STRIP):
        top = strip * STRIP
        bottom = min(top + STRIP, oh)
        ring = np.zeros((len(taps) + 1, frames.shape[2]), np.float32)
        phases = np.zeros((factor, ow + 2 * _beyond(len(taps), factor) + 1), np.float32)
        for f in range(n):  # the strip's gain stays in the cache
            i = start + f
            _decimated_strip(
                frames[i], calibration, i, taps, first, factor, top,
                out[f, top:bottom], ring, phases, moments[f, top:bottom],
            )  # fmt: skip


@nb.njit(cache=True, parallel=True, nogil=True)
def _rounded(frame, scale, out):
    for y in nb.prange(len(frame)):
        a = frame[y]
        o = out[y]
        for x in range(len(a)):
            o[x] = np.int8(np.rint(min(max(a[x] * scale, np.float32(-127)), np.float32(127))))


def make_binned_frames(frames, calibration, taps, factor, steps, out):
    """Every frame, corrected and decimated, into ``out`` (t, h // factor, w // factor) int8: ``steps`` to the standard
    deviation of each.
    """
    first = (factor - 1) // 2 - (len(taps) - 1) // 2
    taps = np.pad(taps, (0, -len(taps) % 4))
    calibration = tuple(calibration)
    some = np.empty((min(FRAMES_PER_BLOCK, len(out)), *out.shape[1:]), np.float32)
    for start in range(0, len(out), FRAMES_PER_BLOCK):
        part = out[start : start + FRAMES_PER_BLOCK]
        moments = np.empty((len(part), part.shape[1], 2))
        _decimated(frames, calibration, start, taps, first, factor, some[: len(part)], moments)
        mean, square = np.moveaxis(moments.sum(1), 1, 0) / some[0].size
        sd = np.sqrt(np.maximum(square - mean**2, 0))
        for frame, s, one in zip(some, sd, part, strict=False):
            _rounded(frame, np.float32(steps / max(s, 1e-20)), one)
