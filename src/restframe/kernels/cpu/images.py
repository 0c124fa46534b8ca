"""Whole images: sums of raw frames, local means, clusters of bad pixels, powers and peaks."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, BoolArray, FloatArray, IntArray
from restframe.kernels.cpu.corrected import RAW_TYPE, RawArrays, raw_arrays, read_counts
from restframe.kernels.cpu.scalars import Real
from restframe.kernels.cpu.threads import divide
from restframe.loops import compiled_loop, inner_loop

ROWS_PER_STRIP = 64  # rows of an image that a thread goes through
TOTAL_TYPES = ("u4", "i8", "f8")
"""Types of numbers in which frames are summed."""
TOTAL_TYPE = "Tuple((uint32[:,::1], int64[:,::1], float64[:,::1]))"


def add_frames(frames: Array, gain: Array, dark: Array, total: Array) -> FloatArray:
    row_sums = np.empty(frames.shape[:2])
    totals = tuple(
        total if total.dtype == number_type else np.empty((0, 0), number_type) for number_type in TOTAL_TYPES
    )
    divide(_add_frames, len(gain), raw_arrays(frames), gain, dark, totals, row_sums)
    frame_sums: FloatArray = row_sums.sum(1)
    return frame_sums


@inner_loop(fastmath={"reassoc", "contract"})
def _weighted_sum(counts: Array, gain: Array) -> float:
    total = np.float64(0)
    for x in range(len(gain)):
        total += np.float64(counts[x] * gain[x])
    return total


@inner_loop()
def _add_row(raw_row: Array, total: Array) -> None:
    for x in range(len(total)):
        total[x] += raw_row[x]


@inner_loop()
def _subtract(dark: Array, counts: Array) -> None:
    for x in range(len(counts)):
        counts[x] -= dark[x]


@compiled_loop(f"(int64, int64, {RAW_TYPE}, float32[:,::1], float32[:,::1], {TOTAL_TYPE}, float64[:,::1])")
def _add_frames(
    first: int, end: int, raw: RawArrays, gain: Array, dark: Array, totals: tuple[Array, ...], row_sums: Array
) -> None:
    """``totals``: an array for each of `TOTAL_TYPES`, only one of which has rows."""
    unsigned, signed, real = totals
    width = gain.shape[1]
    counts = np.empty(width, np.float32)
    for y in range(first, end):
        for frame in range(len(row_sums)):
            read_counts(raw, frame, y, np.int64(0), counts)
            if len(raw[0]):
                _add_row(raw[0][frame, y], unsigned[y])
            elif len(raw[1]):
                _add_row(raw[1][frame, y], signed[y])
            elif len(raw[2]):
                _add_row(raw[2][frame, y], unsigned[y])
            elif len(raw[3]):
                _add_row(raw[3][frame, y], signed[y])
            else:
                _add_row(raw[4][frame, y], real[y])
            if dark.size > 1:
                _subtract(dark[y], counts)
            row_sums[frame, y] = _weighted_sum(counts, gain[y])


@inner_loop()
def _mirrored(position: int, length: int) -> int:
    """The position within a line that is continued by reflection: d c b a | a b c d | d c b a."""
    position %= 2 * length
    return position if position < length else 2 * length - 1 - position


@inner_loop()
def _add_good_pixels(image_row: Array, bad_row: Array, sign: int, total: Array, count: Array) -> None:
    for x in range(len(total)):
        good = not bad_row[x]
        total[x] += sign * (np.float64(image_row[x]) if good else np.float64(0))
        count[x] += sign * good


@inner_loop(fastmath={"reassoc", "contract"})
def _sum_of_good_pixels(image_row: Array, bad_row: Array) -> tuple[float, int]:
    total = np.float64(0)
    count = 0
    for x in range(len(image_row)):
        total += np.float64(0) if bad_row[x] else np.float64(image_row[x])
        count += not bad_row[x]
    return total, count


@compiled_loop("(int64, int64, float32[:,::1], boolean[:,::1], float64[::1], int64[::1])")
def _sums_of_good_pixels(first: int, end: int, image: Array, bad_pixels: Array, totals: Array, counts: Array) -> None:
    for y in range(first, end):
        totals[y], counts[y] = _sum_of_good_pixels(image[y], bad_pixels[y])


def mean_of_good_pixels(image: Array, bad_pixels: Array) -> float:
    totals, counts = np.empty(len(image)), np.empty(len(image), np.int64)
    divide(_sums_of_good_pixels, len(image), image, bad_pixels, totals, counts)
    return float(totals.sum() / counts.sum()) if counts.any() else 0.0


@compiled_loop("(int64, int64, float32[:,::1], boolean[:,::1], int64, float64, float32[:,::1])")
def _local_mean(
    first: int, end: int, image: Array, bad_pixels: Array, window_size: int, fallback: float, mean: Array
) -> None:
    """Strips of `ROWS_PER_STRIP` rows."""
    height, width = image.shape
    before = window_size // 2
    column_total = np.empty(width, np.float64)
    column_count = np.empty(width, np.int64)
    running_totals = np.empty(width + window_size, np.float64)  # of all columns before this one
    running_counts = np.empty(width + window_size, np.int64)
    running_totals[0] = 0
    running_counts[0] = 0
    for strip in range(first, end):
        top = strip * ROWS_PER_STRIP
        bottom = top + ROWS_PER_STRIP if top + ROWS_PER_STRIP < height else height
        for x in range(width):
            column_total[x] = 0
            column_count[x] = 0
        for y in range(top - before, top - before + window_size - 1):
            row = _mirrored(y, height)
            _add_good_pixels(image[row], bad_pixels[row], np.int64(1), column_total, column_count)
        for y in range(top, bottom):
            row = _mirrored(y - before + window_size - 1, height)
            _add_good_pixels(image[row], bad_pixels[row], np.int64(1), column_total, column_count)
            total = np.float64(0)
            count = 0
            for x in range(before):
                column = _mirrored(x - before, width)
                total += column_total[column]
                count += column_count[column]
                running_totals[x + 1] = total
                running_counts[x + 1] = count
            for x in range(width):
                total += column_total[x]
                count += column_count[x]
                running_totals[before + x + 1] = total
                running_counts[before + x + 1] = count
            for x in range(width, width + window_size - 1 - before):
                column = _mirrored(x, width)
                total += column_total[column]
                count += column_count[column]
                running_totals[before + x + 1] = total
                running_counts[before + x + 1] = count
            mean_row = mean[y]
            for x in range(width):
                good_count = running_counts[x + window_size] - running_counts[x]
                window_total = running_totals[x + window_size] - running_totals[x]
                mean_row[x] = window_total / good_count if good_count > 0 else fallback
            row = _mirrored(y - before, height)
            _add_good_pixels(image[row], bad_pixels[row], np.int64(-1), column_total, column_count)


def local_mean(image: Array, bad_pixels: Array, window_size: int, fallback: float) -> FloatArray:
    mean = np.empty(image.shape, np.float32)
    strips = -(-len(image) // ROWS_PER_STRIP)
    divide(_local_mean, strips, image, bad_pixels, window_size, float(fallback), mean)
    return mean


@compiled_loop("(boolean[:,::1], int64[::1], int64[::1], boolean[:,::1])")
def _mark_clusters(bad_pixels: Array, rows: Array, columns: Array, mask: Array) -> None:
    height, width = bad_pixels.shape
    for index in range(len(rows)):
        for y in range(rows[index] - 1, rows[index] + 2):
            for x in range(columns[index] - 1, columns[index] + 2):
                if y < 0 or y >= height or x < 0 or x >= width or bad_pixels[y, x] or mask[y, x]:
                    continue
                bad_count = 0
                for near_y in range(y - 2, y + 3):
                    for near_x in range(x - 2, x + 3):
                        bad_count += bad_pixels[_mirrored(near_y, height), _mirrored(near_x, width)]
                mask[y, x] = bad_count >= 3


def defect_cluster_mask(bad_pixels: Array) -> BoolArray:
    mask = np.zeros(bad_pixels.shape, bool)
    _mark_clusters(bad_pixels, *np.divmod(np.flatnonzero(bad_pixels), bad_pixels.shape[1]), mask)
    return mask


@inner_loop(fastmath={"reassoc", "contract"})
def _moments(row: Array) -> tuple[float, float]:
    """The sum of the values and of their squares."""
    total = np.float64(0)
    squares = np.float64(0)
    for x in range(len(row)):
        value = np.float64(row[x])
        total += value
        squares += value * value
    return total, squares


@compiled_loop("(int64, int64, float32[:,:,::1], int64[::1], float64[::1])")
def _correlation_peaks(first: int, end: int, surfaces: Array, peak_indices: Array, peak_snr: Array) -> None:
    _, height, width = surfaces.shape
    for frame in range(first, end):
        total = np.float64(0)
        squares = np.float64(0)
        peak = surfaces[frame, 0, 0]
        peak_index = 0
        for y in range(height):
            row_total, row_squares = _moments(surfaces[frame, y])
            total += row_total
            squares += row_squares
            for x in range(width):
                if surfaces[frame, y, x] > peak:
                    peak = surfaces[frame, y, x]
                    peak_index = y * width + x
        mean = total / (height * width)
        variance = squares / (height * width) - mean * mean
        deviation = np.sqrt(variance) if variance > 1e-60 else 1e-30
        peak_snr[frame] = (peak - mean) / deviation
        peak_indices[frame] = peak_index


def correlation_peaks(surfaces: Array) -> tuple[IntArray, FloatArray]:
    peak_indices, peak_snr = np.empty(len(surfaces), np.int64), np.empty(len(surfaces))
    divide(_correlation_peaks, len(surfaces), surfaces, peak_indices, peak_snr)
    return peak_indices, peak_snr


@inner_loop(fastmath={"reassoc", "contract"})
def _add_nyquist_component(upper_row: Array, lower_row: Array, total: Array) -> Real:
    """Adds the component of each 2 x 2 pixels to ``total``; returns its power."""
    power = np.float32(0)
    for x in range(len(total)):
        upper_left, upper_right = np.float32(upper_row[2 * x]), np.float32(upper_row[2 * x + 1])
        lower_left, lower_right = np.float32(lower_row[2 * x]), np.float32(lower_row[2 * x + 1])
        component = upper_left - upper_right - lower_left + lower_right
        total[x] += component  # exact: whole numbers
        power += component * component
    return power


@compiled_loop("(int64, int64, int8[:,:,::1], float64[::1], float64[::1])")
def _nyquist_power(first: int, end: int, images: Array, power_of_sum: Array, summed_power: Array) -> None:
    total = np.empty(images.shape[2] // 2, np.float32)
    for y in range(first, end):
        for x in range(len(total)):
            total[x] = 0
        for image in range(len(images)):
            summed_power[y] += np.float64(_add_nyquist_component(images[image, 2 * y], images[image, 2 * y + 1], total))
        _, power_of_sum[y] = _moments(total)


def nyquist_power(images: Array) -> tuple[float, float]:
    height, width = (size // 2 for size in images.shape[1:])
    power_of_sum, summed_power = np.zeros((2, height))
    divide(_nyquist_power, height, images, power_of_sum, summed_power)
    return float(power_of_sum.sum() / (height * width)), float(summed_power.sum() / (height * width))
