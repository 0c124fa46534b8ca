"""Hot, dead and otherwise wrong pixels, found on the plain sum of the corrected frames."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

NEIGHBOURHOOD = 15  # pixels a side for the local mean
SUSPECT = 5.0  # robust standard deviations: looked at more closely
BAD = 7.0  # further than this from the local mean
CLUSTER = 3.5  # for pixels that touch a bad one


def local_mean(kernels, image, bad, size: int = NEIGHBOURHOOD):
    """Mean of the good pixels in a square around each pixel; of the whole image where there are none."""
    return kernels.local_mean(image, bad, size, good_mean(image, bad))


def good_mean(image, bad) -> float:
    """Mean of the good pixels; 0 if there are none."""
    xp = array_namespace(image)
    n = bad.size - int(xp.count_nonzero(bad))
    return float(xp.sum(xp.where(bad, np.float32(0), image), dtype=xp.float64)) / n if n else 0.0


def stabilised(image):
    """2 sqrt(x + 3/8): counts with an error that does not depend on their number (Anscombe 1948).

    Images with negative values as they are.
    """
    xp = array_namespace(image)
    if float(xp.min(image)) < -0.5:
        return image
    return 2 * xp.sqrt(xp.maximum(image, np.float32(0)) + np.float32(0.375))


def robust_sd(values) -> float:
    """1.4826 times the median absolute deviation."""
    xp = array_namespace(values)
    values = xp.reshape(values, (-1,))
    values = values[:: max(1, values.size // 1_000_000)]
    return 1.4826 * float(xp.median(xp.abs(values - xp.median(values))))


def find_defects(kernels, total, known):
    """Mask (h, w) of bad pixels in the gain-corrected sum of all frames, in counts, where the kernels work.

    A pixel is bad when it stands out from the local mean, in units of the robust spread of the variance-stabilised
    sum, and from the median of its neighbours too, so that the rim of a gold bead or a hole is none. Pixels around a
    bad one are held to a stricter limit: clusters are taken whole.
    ``known``: pixels that are bad already (gain zero, listed by the user).
    """
    xp = array_namespace(total)
    bad = known | ~xp.isfinite(total)
    z = stabilised(xp.where(bad, np.float32(0), total))
    z = xp.where(bad, np.float32(0), z - local_mean(kernels, z, bad))
    sd = robust_sd(z)
    if sd == 0:
        return bad
    z /= np.float32(sd)
    suspects = xp.abs(z) > SUSPECT
    middle = quiet_median(kernels, z, bad | suspects, suspects)
    rows, columns = xp.nonzero(suspects)
    bad[rows, columns] |= xp.abs(z[rows, columns] - kernels.to_device(middle)) > BAD
    return bad | (kernels.crowded(bad) & (xp.abs(z) > CLUSTER))


def quiet_median(kernels, z, suspect, places) -> np.ndarray:
    """Median of the pixels that are not suspect in the 7 x 7 around each of the ``places`` (a mask), row by row, (n,)
    float32; 0 where there are fewer than 8.

    That is the local mean that the outliers themselves did not pull.
    """
    xp = array_namespace(z)
    h, w = z.shape
    rows, columns = xp.nonzero(places)
    around = xp.arange(-3, 4)
    y = rows[:, None, None] + around[None, :, None]
    x = columns[:, None, None] + around[None, None, :]
    inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
    y, x = xp.clip(y, 0, h - 1), xp.clip(x, 0, w - 1)
    values = xp.where(inside & ~suspect[y, x], z[y, x], np.float32(np.inf))
    values = np.sort(kernels.to_host(values).reshape(len(rows), 49), axis=1)  # the quiet ones first
    n = np.isfinite(values).sum(1)
    each = np.arange(len(values))
    middle = (values[each, np.maximum(n - 1, 0) // 2] + values[each, n // 2]) / 2
    return np.where(n >= 8, middle, 0).astype(np.float32)
