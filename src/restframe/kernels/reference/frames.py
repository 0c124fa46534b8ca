"""Raw frames: sums, calibration, binning."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import AnyArray, Array, FloatArray, IntArray
from restframe.detector.calibration import Calibration


def to_device(array: Array) -> Array:
    return array


def to_host(array: Array) -> AnyArray:
    host_array: AnyArray = array.get() if hasattr(array, "get") else np.asarray(array)  # CuPy's arrays have get()
    return host_array


def add_frames(frames: Array, gain: Array, dark: Array, total: Array) -> FloatArray:
    namespace = array_namespace(frames)
    sums = np.empty(len(frames))
    for index, frame in enumerate(frames):
        total += frame
        corrected = (frame.astype(namespace.float32) - dark) * gain
        sums[index] = float(namespace.sum(corrected.astype(namespace.float64)))
    return sums


def pixel_counts(frames: Array, rows: IntArray, columns: IntArray) -> AnyArray:
    namespace = array_namespace(frames)
    return to_host(frames[:, namespace.asarray(rows), namespace.asarray(columns)])


def mark_bad_pixels(gain: Array, rows: IntArray, columns: IntArray) -> Array:
    """The gain as it is: the calibration lists bad pixels."""
    return gain


def corrected_frame(frames: Array, calibration: Calibration, index: int) -> Array:
    frame = frames[index]
    namespace = array_namespace(frame)
    mean_count = namespace.float32(calibration.mean_counts[index])
    limit = namespace.float32(calibration.outlier_limits[index])
    dark, gain = namespace.asarray(calibration.dark), namespace.asarray(calibration.gain)
    corrected = (frame.astype(namespace.float32) - dark) * gain - mean_count
    corrected[corrected >= limit - mean_count] = 0
    bad_rows = np.repeat(np.arange(len(calibration.row_start) - 1), np.diff(calibration.row_start))
    bad_pixels = namespace.asarray(bad_rows), namespace.asarray(calibration.bad_columns)
    corrected[bad_pixels] = mean_count * namespace.asarray(calibration.bad_values)
    return corrected


def decimate(frame: Array, filter_taps: FloatArray, binning_factor: int) -> Array:
    """A frame (h, w) low-passed along both axes, zero outside, of which one pixel in ``binning_factor`` is kept.

    Returns (h // factor, w // factor) float32. The filter is centred on the factor x factor block of each pixel.
    """
    namespace = array_namespace(frame)
    first_tap = (binning_factor - 1) // 2 - (len(filter_taps) - 1) // 2
    padding_after = len(filter_taps) + binning_factor
    padded = namespace.pad(frame, ((-first_tap, padding_after), (-first_tap, padding_after)))
    height, width = frame.shape[0] // binning_factor * binning_factor, frame.shape[1] // binning_factor * binning_factor
    taps = list(enumerate(map(float, filter_taps)))
    rows = sum(weight * padded[tap : tap + height : binning_factor] for tap, weight in taps)
    binned = sum(weight * rows[:, tap : tap + width : binning_factor] for tap, weight in taps)
    return binned.astype(namespace.float32)


def make_binned_frames(
    frames: Array,
    calibration: Calibration,
    filter_taps: FloatArray,
    binning_factor: int,
    levels_per_deviation: float,
    binned: Array,
) -> None:
    for index, binned_frame in enumerate(binned):
        frame = decimate(corrected_frame(frames, calibration, index), filter_taps, binning_factor)
        namespace = array_namespace(frame)
        scaled = frame * (levels_per_deviation / max(float(frame.std()), 1e-20))
        binned_frame[:] = namespace.round(namespace.clip(scaled, -127, 127)).astype(namespace.int8)
