"""Whole images: sums of frames, local means, crowds of bad pixels."""

from __future__ import annotations

import numba as nb
import numpy as np

STRIP = 64  # rows


def add_frames(frames, gain, dark, total):
    """total += every frame, exactly for integers; returns each one's sum of (raw - dark) * gain, (t,) float64."""
    sums = np.empty(frames.shape[:2])
    _add_frames(frames, gain, dark, total, sums)
    return sums.sum(1)


@nb.njit(cache=True, nogil=True)
def _add_row(raw, total):
    for x in range(len(total)):
        total[x] += raw[x]


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _row_sum(raw, gain):
    s = np.float64(0)
    for x in range(len(gain)):
        s += np.float64(np.float32(raw[x]) * gain[x])
    return s


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _row_sum_less(raw, dark, gain):
    s = np.float64(0)
    for x in range(len(gain)):
        s += np.float64((np.float32(raw[x]) - dark[x]) * gain[x])
    return s


@nb.njit(cache=True, parallel=True, nogil=True)
def _add_frames(frames, gain, dark, total, sums):
    for y in nb.prange(frames.shape[1]):
        for i in range(len(frames)):
            _add_row(frames[i, y], total[y])
            if dark.size > 1:
                sums[i, y] = _row_sum_less(frames[i, y], dark[y], gain[y])
            else:
                sums[i, y] = _row_sum(frames[i, y], gain[y])


@nb.njit(cache=True, nogil=True)
def _mirrored(i, n):
    """Where position i of a line lies in its mirror image d c b a | a b c d | d c b a."""
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i


@nb.njit(cache=True, nogil=True)
def _add_good(image, bad, sign, total, count):
    for x in range(len(total)):
        good = not bad[x]
        total[x] += sign * (np.float64(image[x]) if good else np.float64(0))
        count[x] += sign * good


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _good_sum(image, bad):
    total = np.float64(0)
    count = 0
    for x in range(len(image)):
        total += np.float64(0) if bad[x] else np.float64(image[x])
        count += not bad[x]
    return total, count


@nb.njit(cache=True, parallel=True, nogil=True)
def _good_sums(image, bad, totals, counts):
    for y in nb.prange(len(image)):
        totals[y], counts[y] = _good_sum(image[y], bad[y])


def mean_of_good_pixels(image, bad):
    """Mean of the pixels that are not bad; 0 if there are none."""
    totals, counts = np.empty(len(image)), np.empty(len(image), np.int64)
    _good_sums(image, bad, totals, counts)
    return float(totals.sum() / counts.sum()) if counts.any() else 0.0


@nb.njit(cache=True, parallel=True, nogil=True)
def _local_mean(image, bad, size, other, out):
    h, w = image.shape
    before = size // 2
    for strip in nb.prange((h + STRIP - 1) // STRIP):
        top = strip * STRIP
        total = np.zeros(w)
        count = np.zeros(w, np.int64)
        totals = np.zeros(w + size)  # of all columns before
        counts = np.zeros(w + size, np.int64)
        for y in range(top - before, top - before + size - 1):
            row = _mirrored(y, h)
            _add_good(image[row], bad[row], 1, total, count)
        for y in range(top, min(top + STRIP, h)):
            row = _mirrored(y - before + size - 1, h)
            _add_good(image[row], bad[row], 1, total, count)
            s = np.float64(0)
            c = 0
            for x in range(before):
                m = _mirrored(x - before, w)
                s += total[m]
                c += count[m]
                totals[x + 1] = s
                counts[x + 1] = c
            for x in range(w):
                s += total[x]
                c += count[x]
                totals[before + x + 1] = s
                counts[before + x + 1] = c
            for x in range(w, w + size - 1 - before):
                m = _mirrored(x, w)
                s += total[m]
                c += count[m]
                totals[before + x + 1] = s
                counts[before + x + 1] = c
            o = out[y]
            for x in range(w):
                n = counts[x + size] - counts[x]
                o[x] = (totals[x + size] - totals[x]) / n if n > 0 else other
            row = _mirrored(y - before, h)
            _add_good(image[row], bad[row], -1, total, count)


def local_mean(image, bad, size, other):
    """Mean of the pixels that are not bad in a square of ``size`` around each; ``other`` where there are none.

    The image continues as in a mirror.
    """
    out = np.empty(image.shape, np.float32)
    _local_mean(image, bad, size, other, out)
    return out


@nb.njit(cache=True, nogil=True)
def _crowded(bad, rows, columns, out):
    h, w = bad.shape
    for i in range(len(rows)):
        for y in range(max(rows[i] - 1, 0), min(rows[i] + 2, h)):
            for x in range(max(columns[i] - 1, 0), min(columns[i] + 2, w)):
                if bad[y, x] or out[y, x]:
                    continue
                n = 0
                for a in range(y - 2, y + 3):
                    for b in range(x - 2, x + 3):
                        n += bad[_mirrored(a, h), _mirrored(b, w)]
                out[y, x] = n >= 3


def defect_cluster_mask(bad):
    """Pixels that touch a bad one, with three or more bad ones in the 5 x 5 around them."""
    out = np.zeros(bad.shape, bool)
    _crowded(bad, *np.divmod(np.flatnonzero(bad), bad.shape[1]), out)
    return out


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _moments(row):
    total = np.float64(0)
    square = np.float64(0)
    for x in range(len(row)):
        v = np.float64(row[x])
        total += v
        square += v * v
    return total, square


@nb.njit(cache=True, parallel=True, nogil=True)
def _peaks(surfaces, place, clear):
    t, h, w = surfaces.shape
    for i in nb.prange(t):
        total = np.float64(0)
        square = np.float64(0)
        top = surfaces[i, 0, 0]
        at = 0
        for y in range(h):
            row = surfaces[i, y]
            s, q = _moments(row)
            total += s
            square += q
            highest = row.max()
            if highest > top:
                top = highest
                at = y
        mean = total / (h * w)
        sd = np.sqrt(max(square / (h * w) - mean * mean, 0))
        clear[i] = (top - mean) / max(sd, 1e-30)
        place[i] = at * w + surfaces[i, at].argmax()


def correlation_peaks(surfaces):
    """Of each surface (t, h, w): where it is highest, as a place in h * w, and how high, less its mean, in its own
    standard deviation; (t,).
    """
    place, clear = np.empty(len(surfaces), np.int64), np.empty(len(surfaces))
    _peaks(surfaces, place, clear)
    return place, clear


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _add_corners(upper, lower, total):
    """Returns their power."""
    power = np.float32(0)
    for x in range(len(total)):
        a, b = np.float32(upper[2 * x]), np.float32(upper[2 * x + 1])
        c, d = np.float32(lower[2 * x]), np.float32(lower[2 * x + 1])
        v = a - b - c + d
        total[x] += v  # exact: whole numbers
        power += v * v
    return power


@nb.njit(cache=True, parallel=True, nogil=True)
def _corners(stack, together, each):
    for y in nb.prange(stack.shape[1] // 2):
        total = np.zeros(stack.shape[2] // 2, np.float32)
        for i in range(len(stack)):
            each[y] += np.float64(_add_corners(stack[i, 2 * y], stack[i, 2 * y + 1], total))
        _, together[y] = _moments(total)


def nyquist_power(stack):
    """The highest frequency along both axes at once, of images (t, h, w) of small integers, one value for each 2 x 2
    pixels: the mean power of its sum over the images, and the sum of its mean powers in each.
    """
    h, w = (n // 2 for n in stack.shape[1:])
    together, each = np.zeros((2, h))
    _corners(stack, together, each)
    return together.sum() / (h * w), each.sum() / (h * w)
