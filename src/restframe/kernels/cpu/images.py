"""Whole images: sums of raw frames, local means, clusters of bad pixels, powers and peaks."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, BoolArray, FloatArray, IntArray
from restframe.kernels.cpu.scalars import Real
from restframe.loops import nb, njit

ROWS_PER_STRIP = 64  # rows of an image that a thread goes through


def add_frames(frames: Array, gain: Array, dark: Array, total: Array) -> FloatArray:
    row_sums = np.empty(frames.shape[:2])
    _add_frames(frames, gain, dark, total, row_sums)
    frame_sums: FloatArray = row_sums.sum(1)
    return frame_sums


@njit(cache=True, nogil=True)
def _add_row(raw_row: Array, total: Array) -> None:
    for x in range(len(total)):
        total[x] += raw_row[x]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _row_sum(raw_row: Array, gain: Array) -> float:
    total = np.float64(0)
    for x in range(len(gain)):
        total += np.float64(np.float32(raw_row[x]) * gain[x])
    return total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _row_sum_with_dark(raw_row: Array, dark: Array, gain: Array) -> float:
    total = np.float64(0)
    for x in range(len(gain)):
        total += np.float64((np.float32(raw_row[x]) - dark[x]) * gain[x])
    return total


@njit(cache=True, parallel=True, nogil=True)
def _add_frames(frames: Array, gain: Array, dark: Array, total: Array, row_sums: Array) -> None:
    for y in nb.prange(frames.shape[1]):
        for frame in range(len(frames)):
            _add_row(frames[frame, y], total[y])
            if dark.size > 1:
                row_sums[frame, y] = _row_sum_with_dark(frames[frame, y], dark[y], gain[y])
            else:
                row_sums[frame, y] = _row_sum(frames[frame, y], gain[y])


@njit(cache=True, nogil=True)
def _mirrored(position: int, length: int) -> int:
    """The position within a line that is continued by reflection: d c b a | a b c d | d c b a."""
    position %= 2 * length
    return position if position < length else 2 * length - 1 - position


@njit(cache=True, nogil=True)
def _add_good_pixels(image_row: Array, bad_row: Array, sign: int, total: Array, count: Array) -> None:
    for x in range(len(total)):
        good = not bad_row[x]
        total[x] += sign * (np.float64(image_row[x]) if good else np.float64(0))
        count[x] += sign * good


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _sum_of_good_pixels(image_row: Array, bad_row: Array) -> tuple[float, int]:
    total = np.float64(0)
    count = 0
    for x in range(len(image_row)):
        total += np.float64(0) if bad_row[x] else np.float64(image_row[x])
        count += not bad_row[x]
    return total, count


@njit(cache=True, parallel=True, nogil=True)
def _sums_of_good_pixels(image: Array, bad_pixels: Array, totals: Array, counts: Array) -> None:
    for y in nb.prange(len(image)):
        totals[y], counts[y] = _sum_of_good_pixels(image[y], bad_pixels[y])


def mean_of_good_pixels(image: Array, bad_pixels: Array) -> float:
    totals, counts = np.empty(len(image)), np.empty(len(image), np.int64)
    _sums_of_good_pixels(image, bad_pixels, totals, counts)
    return float(totals.sum() / counts.sum()) if counts.any() else 0.0


@njit(cache=True, parallel=True, nogil=True)
def _local_mean(image: Array, bad_pixels: Array, window_size: int, fallback: float, mean: Array) -> None:
    height, width = image.shape
    before = window_size // 2
    for strip in nb.prange((height + ROWS_PER_STRIP - 1) // ROWS_PER_STRIP):
        top = strip * ROWS_PER_STRIP
        column_total = np.zeros(width)
        column_count = np.zeros(width, np.int64)
        running_totals = np.zeros(width + window_size)  # of all columns before this one
        running_counts = np.zeros(width + window_size, np.int64)
        for y in range(top - before, top - before + window_size - 1):
            row = _mirrored(y, height)
            _add_good_pixels(image[row], bad_pixels[row], 1, column_total, column_count)
        for y in range(top, min(top + ROWS_PER_STRIP, height)):
            row = _mirrored(y - before + window_size - 1, height)
            _add_good_pixels(image[row], bad_pixels[row], 1, column_total, column_count)
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
            _add_good_pixels(image[row], bad_pixels[row], -1, column_total, column_count)


def local_mean(image: Array, bad_pixels: Array, window_size: int, fallback: float) -> FloatArray:
    mean = np.empty(image.shape, np.float32)
    _local_mean(image, bad_pixels, window_size, fallback, mean)
    return mean


@njit(cache=True, nogil=True)
def _mark_clusters(bad_pixels: Array, rows: Array, columns: Array, mask: Array) -> None:
    height, width = bad_pixels.shape
    for index in range(len(rows)):
        for y in range(max(rows[index] - 1, 0), min(rows[index] + 2, height)):
            for x in range(max(columns[index] - 1, 0), min(columns[index] + 2, width)):
                if bad_pixels[y, x] or mask[y, x]:
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


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _moments(row: Array) -> tuple[float, float]:
    """The sum of the values and of their squares."""
    total = np.float64(0)
    squares = np.float64(0)
    for x in range(len(row)):
        value = np.float64(row[x])
        total += value
        squares += value * value
    return total, squares


@njit(cache=True, parallel=True, nogil=True)
def _correlation_peaks(surfaces: Array, peak_indices: Array, peak_snr: Array) -> None:
    frame_count, height, width = surfaces.shape
    for frame in nb.prange(frame_count):
        total = np.float64(0)
        squares = np.float64(0)
        peak = surfaces[frame, 0, 0]
        peak_row = 0
        for y in range(height):
            row = surfaces[frame, y]
            row_total, row_squares = _moments(row)
            total += row_total
            squares += row_squares
            highest = row.max()
            if highest > peak:
                peak = highest
                peak_row = y
        mean = total / (height * width)
        deviation = np.sqrt(max(squares / (height * width) - mean * mean, 0))
        peak_snr[frame] = (peak - mean) / max(deviation, 1e-30)
        peak_indices[frame] = peak_row * width + surfaces[frame, peak_row].argmax()


def correlation_peaks(surfaces: Array) -> tuple[IntArray, FloatArray]:
    peak_indices, peak_snr = np.empty(len(surfaces), np.int64), np.empty(len(surfaces))
    _correlation_peaks(surfaces, peak_indices, peak_snr)
    return peak_indices, peak_snr


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
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


@njit(cache=True, parallel=True, nogil=True)
def _nyquist_power(images: Array, power_of_sum: Array, summed_power: Array) -> None:
    for y in nb.prange(images.shape[1] // 2):
        total = np.zeros(images.shape[2] // 2, np.float32)
        for image in range(len(images)):
            summed_power[y] += np.float64(_add_nyquist_component(images[image, 2 * y], images[image, 2 * y + 1], total))
        _, power_of_sum[y] = _moments(total)


def nyquist_power(images: Array) -> tuple[float, float]:
    height, width = (size // 2 for size in images.shape[1:])
    power_of_sum, summed_power = np.zeros((2, height))
    _nyquist_power(images, power_of_sum, summed_power)
    return float(power_of_sum.sum() / (height * width)), float(summed_power.sum() / (height * width))
