"""Whole images on the GPU: means, defects, ranks, and the power and peaks of images.

CuPy has some of these functions, but loads what it needs for them when they are first called, which takes 0.1 s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from restframe.arrays import AnyArray, Array, FloatArray, IntArray
from restframe.kernels.cuda.arrays import (
    THREADS_PER_BLOCK,
    block_count,
    empty,
    sum_last_axis,
    to_device,
    to_host,
    zeros,
)
from restframe.kernels.cuda.modules import launch

VALUE_BLOCKS = 1024  # that share the values of an image
MAX_NYQUIST_BLOCKS = 4096
MAX_PEAK_BLOCKS = 64  # per surface
ROWS_PER_THREAD = 64  # of `box_columns` in images.cu


def mean_of_good_pixels(image: Array, bad_pixels: Array) -> float:
    partial_sums = empty((2, VALUE_BLOCKS), np.float64)
    arguments = image, bad_pixels, np.int64(image.size), partial_sums
    launch("values", "sum_good_pixels", (VALUE_BLOCKS,), THREADS_PER_BLOCK, arguments)
    good_count, total = to_host(partial_sums).sum(1)
    return float(total / good_count) if good_count else 0.0


def order_statistics(values: Array, ranks: Sequence[int]) -> AnyArray:
    """As `Kernels.order_statistics`, of float32.

    By digits of 8 bits: among the values whose higher digits are known, how many have which next digit? Nothing waits
    for the host in between.
    """
    import cupy

    contiguous_values, rank_count = cupy.ascontiguousarray(values), len(ranks)
    remaining_ranks = to_device(np.array(ranks, np.int64))
    selected, counts = zeros((rank_count,), np.uint32), zeros((rank_count, 256), np.uint32)
    value_count = np.int64(values.size)
    for shift in (24, 16, 8, 0):
        to_count = contiguous_values, value_count, shift, selected, counts
        launch("values", "count_digits", (VALUE_BLOCKS, rank_count), THREADS_PER_BLOCK, to_count)
        to_select = shift, remaining_ranks, selected, counts
        launch("values", "select_digit", (rank_count,), THREADS_PER_BLOCK, to_select)
    ordered_bits = to_host(selected)
    return np.where(ordered_bits >> 31, ordered_bits & 0x7FFFFFFF, ~ordered_bits).view(np.float32)


def standard_deviation(values: Array) -> float:
    """As `Kernels.standard_deviation`; CuPy's own works on one multiprocessor."""
    return float(((values - values.mean()) ** 2).mean() ** 0.5)


def nyquist_power(images: Array) -> tuple[float, float]:
    frame_count, height, width = images.shape
    count = (height // 2) * (width // 2)
    partial_sums = empty((2, min(block_count(count), MAX_NYQUIST_BLOCKS)), np.float64)
    arguments = images, frame_count, height, width, partial_sums
    launch("images", "nyquist_power", (partial_sums.shape[1],), THREADS_PER_BLOCK, arguments)
    power_of_sum, summed_power = to_host(sum_last_axis(partial_sums))
    return float(power_of_sum) / count, float(summed_power) / count


def local_mean(image: Array, bad_pixels: Array, window_size: int, fallback: float) -> Array:
    height, width = image.shape
    before, after = window_size // 2, window_size - 1 - window_size // 2
    row_sums, mean = empty((height, width, 2), np.float32), empty((height, width), np.float32)
    along_rows = image, bad_pixels, height, width, before, after, row_sums
    shared_bytes = 8 * (THREADS_PER_BLOCK + window_size)
    launch("images", "box_rows", (block_count(width), height), THREADS_PER_BLOCK, along_rows, shared_bytes)
    along_columns = row_sums, height, width, before, after, float(fallback), mean
    grid = block_count(width), block_count(height, ROWS_PER_THREAD)
    launch("images", "box_columns", grid, THREADS_PER_BLOCK, along_columns)
    return mean


def defect_cluster_mask(bad_pixels: Array) -> Array:
    height, width = bad_pixels.shape
    mask = empty((height, width), np.bool_)
    grid = block_count(width), height
    launch("images", "defect_cluster_mask", grid, THREADS_PER_BLOCK, (bad_pixels, height, width, mask))
    return mask


def correlation_peaks(surfaces: Array) -> tuple[IntArray, FloatArray]:
    frame_count, pixel_count = len(surfaces), surfaces[0].size
    blocks = min(block_count(pixel_count), MAX_PEAK_BLOCKS)
    block_peaks, block_indices = empty((frame_count, blocks), np.float32), empty((frame_count, blocks), np.int32)
    block_moments = empty((frame_count, blocks, 2), np.float64)
    arguments = surfaces, pixel_count, block_peaks, block_indices, block_moments
    launch("images", "correlation_peaks", (blocks, frame_count), THREADS_PER_BLOCK, arguments)
    heights, indices, moments = to_host(block_peaks), to_host(block_indices), to_host(block_moments).sum(1)
    peak = heights.max(1)
    peak_indices = np.where(heights == peak[:, None], indices, pixel_count).min(1)
    mean = moments[:, 0] / pixel_count
    deviation = np.sqrt(np.maximum(moments[:, 1] / pixel_count - mean**2, 0))
    return peak_indices, (peak - mean) / np.maximum(deviation, 1e-30)
