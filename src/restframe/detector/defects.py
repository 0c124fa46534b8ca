"""Hot, dead and otherwise wrong pixels, found on the plain sum of the corrected frames."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

NEIGHBOURHOOD = 15  # pixels a side for the local mean
SUSPECT = 5.0  # robust standard deviations: looked at more closely
BAD = 7.0  # further than this from the local mean
CLUSTER = 3.5  # for pixels that touch a bad one


def local_mean(image: np.ndarray, good: np.ndarray | None = None, size: int = NEIGHBOURHOOD) -> np.ndarray:
    """Mean of the good pixels in a square around each pixel; of the whole image where there are none."""
    if good is None:
        return ndimage.uniform_filter(image, size, mode="reflect")
    weight = ndimage.uniform_filter(good.astype(np.float32), size, mode="reflect")
    total = ndimage.uniform_filter(np.where(good, image, np.float32(0)), size, mode="reflect")
    mean = float(image[good].mean()) if good.any() else 0.0
    return np.where(weight > 0.5 / size**2, total / np.maximum(weight, 1e-6), np.float32(mean))


def stabilised(image: np.ndarray) -> np.ndarray:
    """2 sqrt(x + 3/8): counts with an error that does not depend on their number (Anscombe 1948).

    Images with negative values as they are.
    """
    if image.min() < -0.5:
        return image
    return 2 * np.sqrt(np.maximum(image, 0) + np.float32(0.375))


def robust_sd(values: np.ndarray) -> float:
    """1.4826 times the median absolute deviation."""
    values = values.ravel()
    values = values[:: max(1, values.size // 1_000_000)]
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def find_defects(total: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Mask (h, w) of bad pixels in the gain-corrected sum of all frames, in counts.

    A pixel is bad when it stands out from the local mean, in units of the robust spread of the variance-stabilised
    sum, and from the median of its neighbours too, so that the rim of a gold bead or a hole is none. Pixels around a
    bad one are held to a stricter limit: clusters are taken whole.
    ``known``: pixels that are bad already (gain zero, listed by the user).
    """
    bad = ~np.isfinite(total) if known is None else known | ~np.isfinite(total)
    z = stabilised(np.where(bad, np.float32(np.median(total)), total))
    z = z - local_mean(z, ~bad)
    z[bad] = 0
    sd = robust_sd(z)
    if sd == 0:
        return bad
    z /= sd
    rows, columns = np.nonzero(np.abs(z) > SUSPECT)
    # the local mean that the outliers themselves did not pull
    suspect = bad.copy()
    suspect[rows, columns] = True
    for y, x in zip(rows, columns, strict=True):
        window = (slice(max(y - 3, 0), y + 4), slice(max(x - 3, 0), x + 4))
        quiet = z[window][~suspect[window]]
        middle = float(np.median(quiet)) if quiet.size >= 8 else 0.0
        if abs(z[y, x] - middle) > BAD:
            bad[y, x] = True
    touching = ndimage.binary_dilation(bad, np.ones((3, 3), bool)) & ~bad
    crowded = ndimage.uniform_filter(bad.astype(np.float32), 5) * 25 > 2.5
    return bad | (touching & crowded & (np.abs(z) > CLUSTER))
