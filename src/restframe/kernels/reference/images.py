"""Whole images: means, defects, ranks, and the power and peaks of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import AnyArray, Array, FloatArray, IntArray
from restframe.kernels.reference.frames import to_host


def mean_of_good_pixels(image: Array, bad_pixels: Array) -> float:
    namespace = array_namespace(image)
    good_count = bad_pixels.size - int(namespace.count_nonzero(bad_pixels))
    total = namespace.sum(namespace.where(bad_pixels, np.float32(0), image), dtype=namespace.float64)
    return float(total) / good_count if good_count else 0.0


def local_mean(image: Array, bad_pixels: Array, window_size: int, fallback: float) -> Array:
    from scipy import ndimage  # its import takes 0.3 s, and the fast kernels do not need it

    good_fraction = ndimage.uniform_filter((~bad_pixels).astype(np.float32), window_size, mode="reflect")
    total = ndimage.uniform_filter(np.where(bad_pixels, np.float32(0), image), window_size, mode="reflect")
    mean = total / np.maximum(good_fraction, 1e-6)
    return np.where(good_fraction > 0.5 / window_size**2, mean, np.float32(fallback))


def defect_cluster_mask(bad_pixels: Array) -> Array:
    from scipy import ndimage

    touching = ndimage.binary_dilation(bad_pixels, np.ones((3, 3), bool)) & ~bad_pixels
    return touching & (ndimage.uniform_filter(bad_pixels.astype(np.float32), 5) * 25 > 2.5)


def order_statistics(values: Array, ranks: Sequence[int]) -> AnyArray:
    selected: AnyArray = np.partition(to_host(values), ranks)[np.asarray(ranks)]
    return selected


def standard_deviation(values: Array) -> float:
    return float(array_namespace(values).std(values))


def nyquist_power(images: Array) -> tuple[float, float]:
    namespace = array_namespace(images)
    height, width = (2 * (size // 2) for size in images.shape[1:])
    total = namespace.zeros((height // 2, width // 2), dtype=namespace.int32)
    summed_power = 0.0
    for image in images:
        counts = image[:height, :width].astype(namespace.int16)
        component = counts[0::2, 0::2] - counts[0::2, 1::2] - counts[1::2, 0::2] + counts[1::2, 1::2]
        total += component
        summed_power += float((component.astype(namespace.float64) ** 2).mean())
    return float((total.astype(namespace.float64) ** 2).mean()), summed_power


def correlation_peaks(surfaces: Array) -> tuple[IntArray, FloatArray]:
    flat = surfaces.reshape(len(surfaces), -1)
    deviation = np.maximum(flat.std(axis=1), np.float32(1e-30))
    return flat.argmax(axis=1), (flat.max(axis=1) - flat.mean(axis=1)) / deviation
