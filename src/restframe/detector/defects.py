"""Hot, dead and otherwise wrong pixels, found in the plain sum of the corrected frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, FloatArray

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels

LOCAL_MEAN_SIDE_PX = 15  # side of the square for the local mean
SUSPECT_DEVIATIONS = 5.0  # robust standard deviations from the local mean: compared with the neighbours' median, too
BAD_DEVIATIONS = 7.0  # further than this from the local mean and from the median: bad
CLUSTER_DEVIATIONS = 3.5  # the limit for pixels that touch a bad one
SPARSE_FRACTION = 0.05  # a sum is sparse when more than this fraction of the pixels has no count
SAMPLE_SIZE = 1_000_000  # pixels from which robust statistics are estimated
MEDIAN_RADIUS_PX = 3  # the median is that of 7 x 7 pixels
MIN_PIXELS_FOR_MEDIAN = 8


def local_mean(kernels: Kernels, image: Array, bad: Array, size: int = LOCAL_MEAN_SIDE_PX) -> Array:
    """Mean of the good pixels in the square of ``size`` x ``size`` pixels around each pixel, (h, w) float32.

    Where a square has no good pixel it is the mean of all good pixels of the image.
    """
    return kernels.local_mean(image, bad, size, kernels.mean_of_good_pixels(image, bad))


def variance_stabilized(image: Array) -> Array:
    """Anscombe's transform, 2 sqrt(x + 3/8): Poisson counts get a variance of about 1, whatever their mean.

    Images with negative values are returned as they are. Source: Anscombe, Biometrika 35, 246 (1948).
    """
    xp = array_namespace(image)
    if float(xp.min(image)) < -0.5:
        return image
    transformed = xp.maximum(image, np.float32(0))
    transformed += np.float32(0.375)
    xp.sqrt(transformed, out=transformed)  # in place: new memory costs more than the root
    transformed *= 2
    return transformed


def median(kernels: Kernels, values: Array) -> Array:
    """Median of numbers (n,) that lie where the kernels work; a number on the host."""
    lower, upper = kernels.order_statistics(values, ((values.size - 1) // 2, values.size // 2))
    return (lower + upper) / 2


def robust_standard_deviation(kernels: Kernels, image: Array) -> float:
    """Standard deviation from the median absolute deviation, 1.4826 median(|x - median(x)|).

    1.4826 = 1 / inverse normal distribution (3/4) makes it that of normally distributed values.
    """
    values = image.reshape(-1)[:: max(1, image.size // SAMPLE_SIZE)]
    return 1.4826 * float(median(kernels, abs(values - median(kernels, values))))


def counts_per_electron(kernels: Kernels, image: Array, bad: Array) -> float:
    """What one electron adds to a pixel, where many good pixels have no electron at all; otherwise 0.

    It is the tenth percentile of the pixels that are not zero, but at least the eleventh lowest of them: a few pixels
    may have been filled with a mean.
    """
    xp = array_namespace(image)
    step = max(1, image.size // SAMPLE_SIZE)
    good_values = xp.reshape(image, (-1,))[::step][~xp.reshape(bad, (-1,))[::step]]
    nonzero = good_values[good_values != 0]
    if not 0 < nonzero.size < (1 - SPARSE_FRACTION) * good_values.size:
        return 0.0
    rank = min(max(nonzero.size // 10, 10), nonzero.size // 2)
    return max(float(kernels.order_statistics(nonzero, (rank,))[0]), 0.0)


def find_defects(kernels: Kernels, total: Array, known: Array) -> Array:
    """Mask (h, w) of the bad pixels in ``total`` (h, w), the gain-corrected sum of all frames in counts.

    ``known``: mask (h, w) of pixels that are bad already (gain zero, or listed by the user). All arrays lie where the
    kernels work.

    The sum is variance-stabilised. A pixel is bad when it differs from the local mean, and also from the median of its
    good neighbours, by more than 7 robust standard deviations. The median keeps the rims of gold beads and of holes.
    Neighbours of clusters of bad pixels are held to 3.5, so that clusters are found completely. In sparse sums, where
    many pixels have no count, the robust standard deviation is too small. Counts are then measured in electrons and
    the standard deviation is at least 1, that of the stabilised Poisson counts.
    """
    return standing_pixels(kernels, total, known)[0]


def standing_pixels(kernels: Kernels, total: Array, known: Array) -> tuple[Array, Array]:
    """`find_defects`, and the deviation of every pixel from the local mean, (h, w) float32 in standard deviations; zero
    where a pixel is bad.
    """
    xp = array_namespace(total)
    bad = known | ~xp.isfinite(total)
    total = xp.where(bad, np.float32(0), total)
    electron = counts_per_electron(kernels, total, bad)
    deviation = variance_stabilized(total / np.float32(electron) if electron else total)
    deviation -= local_mean(kernels, deviation, bad)
    deviation[bad] = 0
    standard_deviation = max(robust_standard_deviation(kernels, deviation), 1.0 if electron else 0.0)
    if standard_deviation == 0:
        return bad, deviation
    deviation /= np.float32(standard_deviation)
    magnitude = xp.abs(deviation)
    suspects = magnitude > SUSPECT_DEVIATIONS
    rows, columns = positions_in_mask(suspects)
    medians = median_of_good_neighbours(kernels, deviation, bad | suspects, rows, columns)
    bad[rows, columns] |= xp.abs(deviation[rows, columns] - kernels.to_device(medians)) > BAD_DEVIATIONS
    bad |= kernels.defect_cluster_mask(bad) & (magnitude > CLUSTER_DEVIATIONS)
    deviation[bad] = 0
    return bad, deviation


def positions_in_mask(mask: Array) -> tuple[Array, Array]:
    """Rows and columns of the pixels that are true in a mask (h, w), row by row.

    NumPy's own search in two dimensions takes ten times as long.
    """
    (flat_index,) = mask.ravel().nonzero()
    return flat_index // mask.shape[1], flat_index % mask.shape[1]


def median_of_good_neighbours(
    kernels: Kernels, image: Array, excluded: Array, rows: Array, columns: Array
) -> FloatArray:
    """Median of the 7 x 7 pixels of ``image`` (h, w) around each position, without ``excluded`` ones: (n,) float32.

    It is a local mean that the outliers themselves do not change. It is 0 where fewer than 8 pixels are left.
    ``rows``, ``columns``: (n,) positions, where the kernels work; the result is on the host.
    """
    xp = array_namespace(image)
    height, width = image.shape
    offsets = xp.arange(-MEDIAN_RADIUS_PX, MEDIAN_RADIUS_PX + 1)
    y = rows[:, None, None] + offsets[None, :, None]
    x = columns[:, None, None] + offsets[None, None, :]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    y, x = xp.clip(y, 0, height - 1), xp.clip(x, 0, width - 1)
    neighbours = xp.where(inside & ~excluded[y, x], image[y, x], np.float32(np.inf))
    pixel_count = (2 * MEDIAN_RADIUS_PX + 1) ** 2
    in_order = np.sort(kernels.to_host(neighbours).reshape(len(rows), pixel_count), axis=1)  # infinite ones last
    good_count = np.isfinite(in_order).sum(1)
    position = np.arange(len(in_order))
    medians = (in_order[position, np.maximum(good_count - 1, 0) // 2] + in_order[position, good_count // 2]) / 2
    return np.where(good_count >= MIN_PIXELS_FOR_MEDIAN, medians, 0).astype(np.float32)
