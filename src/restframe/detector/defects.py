"""Hot, dead and otherwise wrong pixels, found on the plain sum of the corrected frames."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

NEIGHBOURHOOD = 15  # pixels a side for the local mean
SUSPECT = 5.0  # robust standard deviations: looked at more closely
BAD = 7.0  # further than this from the local mean
EMPTY = 0.05  # share of pixels without a count from which on a sum is sparse
CLUSTER = 3.5  # for pixels that touch a bad one


def local_mean(kernels, image, bad, size: int = NEIGHBOURHOOD):
    """Mean of the good pixels in a square around each pixel; of the whole image where there are none."""
    return kernels.local_mean(image, bad, size, kernels.mean_of_good_pixels(image, bad))


def variance_stabilized(image):
    """2 sqrt(x + 3/8): counts with an error that does not depend on their number (Anscombe 1948).

    Images with negative values as they are.
    """
    xp = array_namespace(image)
    if float(xp.min(image)) < -0.5:
        return image
    out = xp.maximum(image, np.float32(0))
    out += np.float32(0.375)
    xp.sqrt(out, out=out)  # in place: new memory costs more than the root
    out *= 2
    return out


def median(kernels, values):
    """Of numbers (n,) where the kernels work."""
    low, high = kernels.order_statistics(values, ((values.size - 1) // 2, values.size // 2))
    return (low + high) / 2


def robust_sd(kernels, values) -> float:
    """1.4826 times the median absolute deviation."""
    values = values.reshape(-1)[:: max(1, values.size // 1_000_000)]
    return 1.4826 * float(median(kernels, abs(values - median(kernels, values))))


def event_size(kernels, image, bad) -> float:
    """What one electron adds to a pixel, where many good pixels have none at all; else 0."""
    xp = array_namespace(image)
    step = max(1, image.size // 1_000_000)
    values = xp.reshape(image, (-1,))[::step][~xp.reshape(bad, (-1,))[::step]]
    hit = values[values != 0]
    if not 0 < hit.size < (1 - EMPTY) * values.size:
        return 0.0
    low = min(max(hit.size // 10, 10), hit.size // 2)  # but above a few pixels that were filled with a mean
    return max(float(kernels.order_statistics(hit, (low,))[0]), 0.0)


def find_defects(kernels, total, known):
    """Mask (h, w) of bad pixels in the gain-corrected sum of all frames, in counts, where the kernels work.

    A pixel is bad when it stands out from the local mean, in units of the robust spread of the variance-stabilised
    sum, and from the median of its neighbours too, so that the rim of a gold bead or a hole is none. Pixels around a
    bad one are held to a stricter limit: clusters are taken whole.
    ``known``: pixels that are bad already (gain zero, listed by the user). In sparse sums single electrons stand out
    from the many pixels without: there the spread is that of counting, which is one.
    """
    xp = array_namespace(total)
    bad = known | ~xp.isfinite(total)
    total = xp.where(bad, np.float32(0), total)
    electron = event_size(kernels, total, bad)
    z = variance_stabilized(total / np.float32(electron) if electron else total)
    z -= local_mean(kernels, z, bad)
    z[bad] = 0
    sd = max(robust_sd(kernels, z), 1.0 if electron else 0.0)
    if sd == 0:
        return bad
    z /= np.float32(sd)
    high = xp.abs(z)
    suspects = high > SUSPECT
    rows, columns = places(suspects)
    middle = quiet_median(kernels, z, bad | suspects, rows, columns)
    bad[rows, columns] |= xp.abs(z[rows, columns] - kernels.to_device(middle)) > BAD
    return bad | (kernels.defect_cluster_mask(bad) & (high > CLUSTER))


def places(mask):
    """Rows and columns of what is true in a mask (h, w), row by row; NumPy takes ten times as long for two axes."""
    (flat,) = mask.ravel().nonzero()
    return flat // mask.shape[1], flat % mask.shape[1]


def quiet_median(kernels, z, suspect, rows, columns) -> np.ndarray:
    """Median of the pixels that are not suspect in the 7 x 7 around each place, (n,) float32; 0 where there are fewer
    than 8.

    That is the local mean that the outliers themselves did not pull.
    """
    xp = array_namespace(z)
    h, w = z.shape
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
