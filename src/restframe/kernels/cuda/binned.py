"""Binned frames on the GPU: corrected, low-passed and decimated in one pass."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.detector.calibration import Calibration
from restframe.kernels.cuda.arrays import THREADS_PER_BLOCK, block_count, empty, sum_last_axis, to_device
from restframe.kernels.cuda.modules import launch, raw_definitions
from restframe.kernels.cuda.raw import device_calibration

COLUMNS_PER_BLOCK = 256  # columns of frames that a block of binned.cu goes through
BINNED_ROWS_PER_BLOCK = 40  # times the factor, rows that it goes through
FRAMES_PER_BLOCK = 8  # frames that one launch bins or transforms
MAX_ROUNDING_BLOCKS = 1024


def make_binned_frames(
    frames: Array,
    calibration: Calibration,
    filter_taps: FloatArray,
    binning_factor: int,
    levels_per_deviation: float,
    binned: Array,
) -> None:
    height, width = binned.shape[1:]
    rows_per_tap_span = block_count(len(filter_taps), binning_factor)  # binned rows to which a row contributes
    binned_columns = COLUMNS_PER_BLOCK // binning_factor + 1 - rows_per_tap_span
    binned_rows = BINNED_ROWS_PER_BLOCK + 1 - rows_per_tap_span
    grid = block_count(width, binned_columns), block_count(height, binned_rows)
    definitions = raw_definitions(frames.dtype)[0], f"FACTOR={binning_factor}", f"TAPS={len(filter_taps)}"
    device_taps, table = to_device(filter_taps), device_calibration(calibration)
    unscaled = empty((min(FRAMES_PER_BLOCK, len(frames)), height, width), np.float32)
    for first in range(0, len(frames), FRAMES_PER_BLOCK):
        block = slice(first, first + FRAMES_PER_BLOCK)
        block_frames = frames[block]
        partial_moments = empty((len(block_frames), 2, grid[0] * grid[1]), np.float64)
        arguments = *table.from_frame(first), block_frames, device_taps, unscaled, height, width, partial_moments
        launch("binned", "bin_frames", (len(block_frames), *grid), COLUMNS_PER_BLOCK, arguments, 0, definitions)
        _round_to_int8(unscaled, sum_last_axis(partial_moments), levels_per_deviation, binned[block])


def _round_to_int8(unscaled: Array, moments: Array, levels_per_deviation: float, binned: Array) -> None:
    """``moments`` (frames, 2): the sum and the sum of squares of each unscaled frame."""
    pixel_count = binned[0].size
    grid = min(block_count(pixel_count), MAX_ROUNDING_BLOCKS), len(binned)
    arguments = unscaled, moments, float(levels_per_deviation), np.int64(pixel_count), binned
    launch("images", "round_to_int8", grid, THREADS_PER_BLOCK, arguments)
