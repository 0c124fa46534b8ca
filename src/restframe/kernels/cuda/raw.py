"""Raw frames on the GPU: their sum, and frames corrected by the calibration."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from restframe.arrays import AnyArray, Array, FloatArray, IntArray
from restframe.detector.calibration import Calibration
from restframe.kernels.cuda.arrays import THREADS_PER_BLOCK, block_count, empty, sum_last_axis, to_device, to_host
from restframe.kernels.cuda.modules import launch, raw_definitions

PIXELS_PER_THREAD = 8  # of `add_frames` in raw.cu
THREADS_PER_WARP = 32


def pixel_counts(frames: Array, rows: IntArray, columns: IntArray) -> AnyArray:
    return to_host(frames[:, to_device(rows), to_device(columns)])


def add_frames(frames: Array, gain: Array, dark: Array, total: Array) -> FloatArray:
    frame_count, pixel_count = len(frames), total.size
    blocks = block_count(pixel_count, PIXELS_PER_THREAD * THREADS_PER_BLOCK)
    partial_sums = empty((frame_count, blocks * THREADS_PER_BLOCK // THREADS_PER_WARP), np.float64)
    dark = dark if dark.size > 1 else None
    arguments = frames, gain, dark, total, partial_sums, frame_count, np.int64(pixel_count)
    launch("raw", "add_frames", (blocks,), THREADS_PER_BLOCK, arguments, 0, raw_definitions(frames.dtype))
    return to_host(sum_last_axis(partial_sums))


def mark_bad_pixels(gain: Array, rows: IntArray, columns: IntArray) -> Array:
    """A copy of the gain with NaN at bad pixels: these kernels recognize bad pixels by that."""
    gain = to_device(gain).copy()
    gain[to_device(rows), to_device(columns)] = np.float32(np.nan)
    return gain


class DeviceCalibration(NamedTuple):
    """The first arguments of all kernels that correct raw counts, as `CALIBRATION` in calibration.cuh lists them."""

    gain: Array
    dark: Array | None
    mean_counts: Array
    limits: Array
    row_start: Array
    bad_columns: Array
    bad_values: Array
    edge_rows: Array
    edge_columns: Array
    height: int
    width: int

    def from_frame(self, first: int) -> DeviceCalibration:
        """The same for frames from ``first`` on."""
        skipped_bytes = first * np.dtype(np.float32).itemsize
        return self._replace(mean_counts=self.mean_counts[skipped_bytes:], limits=self.limits[skipped_bytes:])


def device_calibration(calibration: Calibration) -> DeviceCalibration:
    """The calibration on the GPU; its short tables go there in one piece, as bytes."""
    tables = [
        np.ascontiguousarray(table, dtype)
        for table, dtype in (
            (calibration.row_start, np.int64),
            (calibration.bad_columns, np.int64),
            (calibration.mean_counts, np.float32),
            (calibration.outlier_limits, np.float32),
            (calibration.bad_values, np.float32),
            (calibration.edge_rows, np.float32),
            (calibration.edge_columns, np.float32),
        )
    ]
    all_bytes = to_device(np.concatenate([table.view(np.uint8).ravel() for table in tables]))
    ends = np.cumsum([table.nbytes for table in tables])
    row_start, bad_columns, mean_counts, limits, bad_values, edge_rows, edge_columns = (
        all_bytes[end - table.nbytes : end] for end, table in zip(ends, tables, strict=True)
    )
    gain = to_device(calibration.gain)
    dark = to_device(calibration.dark) if calibration.dark.size > 1 else None
    by_frame = mean_counts, limits
    at_bad_pixels = row_start, bad_columns, bad_values
    return DeviceCalibration(gain, dark, *by_frame, *at_bad_pixels, edge_rows, edge_columns, *calibration.gain.shape)


def corrected_frame(frames: Array, calibration: Calibration, index: int) -> Array:
    height, width = frames.shape[1:]
    corrected = empty((height, width), np.float32)
    arguments: tuple[Any, ...] = (*device_calibration(calibration), frames[index], index, corrected)
    grid = block_count(width), height
    launch("raw", "correct_frame", grid, THREADS_PER_BLOCK, arguments, 0, raw_definitions(frames.dtype))
    return corrected
