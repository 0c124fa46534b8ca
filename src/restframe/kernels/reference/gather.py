"""The gather: sums of frames, resampled so that their displacement is undone."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, FloatArray
from restframe.detector.calibration import Calibration
from restframe.kernels.interface import DisplacementField, Resampling
from restframe.kernels.reference.frames import corrected_frame

FRAMES_PER_BLOCK = 16  # frames whose displacements are evaluated together


def displacement_grid(field: DisplacementField, x: FloatArray, y: FloatArray, offset: FloatArray) -> Array:
    grid = np.empty((field.n_frames, *offset.shape), np.float32)
    for first in range(0, len(grid), FRAMES_PER_BLOCK):
        block = slice(first, first + FRAMES_PER_BLOCK)
        grid[block] = field(x, y, block) + offset
    return grid


def subpixel_histogram(displacements: Array, bins: int) -> FloatArray:
    position = (displacements - np.floor(displacements)).astype(float) * bins
    lower = np.floor(position).astype(int)
    fraction = position - lower
    histogram = np.zeros((len(displacements), bins, bins))
    for frame, low, above in zip(histogram, lower, fraction, strict=True):
        for step_y in (0, 1):
            for step_x in (0, 1):
                weight = np.abs(1 - step_y - above[:, 1]) * np.abs(1 - step_x - above[:, 0])
                flat_bin = (low[:, 1] + step_y) % bins * bins + (low[:, 0] + step_x) % bins
                frame += np.bincount(flat_bin, weight, bins**2).reshape(bins, bins)
    fractions: FloatArray = histogram / displacements.shape[1]
    return fractions


def gather(
    frames: Array, calibration: Calibration, resampling: Resampling, coefficients: FloatArray, images: Array
) -> None:
    for index in range(len(frames)):
        resampled = _resampled_frame(frames, calibration, resampling, index, images.shape[1:])
        namespace = array_namespace(resampled)
        for image, factor in zip(images, coefficients[:, index], strict=True):
            image += namespace.float32(factor) * resampled


def _resampled_frame(
    frames: Array, calibration: Calibration, resampling: Resampling, index: int, shape: tuple[int, int]
) -> Array:
    """Frame ``index``, corrected, at the detector position of each output pixel: ``shape`` float32."""
    frame = corrected_frame(frames, calibration, index)
    namespace = array_namespace(frame)
    table = namespace.asarray(resampling.table)
    table_steps = table.shape[0] - 2  # between offset 0 and offset 1
    displacement = _interpolated(namespace.asarray(resampling.grid[index]), resampling.spacing, shape)
    whole = namespace.floor(displacement).astype(int)
    position = (displacement - whole) * table_steps
    entry = position.astype(int)
    fraction = (position - entry).astype(namespace.float32)[..., None]
    weights = table[entry] * (1 - fraction) + table[entry + 1] * fraction  # (h, w, 2, 4)
    rows = namespace.arange(shape[0])[:, None] + resampling.origin + whole[..., 1]
    columns = namespace.arange(shape[1])[None, :] + resampling.origin + whole[..., 0]
    resampled = namespace.zeros(shape, dtype=namespace.float32)
    for tap_y in range(4):
        row = sum(
            weights[..., 0, tap_x] * _sample(frame, calibration, index, rows + tap_y - 1, columns + tap_x - 1)
            for tap_x in range(4)
        )
        resampled += weights[..., 1, tap_y] * row
    return resampled


def _interpolated(grid: Array, spacing: int, shape: tuple[int, int]) -> Array:
    """Displacements (h, w, 2) at all output pixels, from those at grid points (rows, columns, 2)."""
    namespace = array_namespace(grid)
    y, x = namespace.arange(shape[0]), namespace.arange(shape[1])
    row, column = y // spacing, x // spacing
    fraction_y, fraction_x = ((y % spacing) / spacing)[:, None, None], ((x % spacing) / spacing)[None, :, None]
    upper = grid[row][:, column] * (1 - fraction_x) + grid[row][:, column + 1] * fraction_x
    lower = grid[row + 1][:, column] * (1 - fraction_x) + grid[row + 1][:, column + 1] * fraction_x
    return upper * (1 - fraction_y) + lower * fraction_y


def _sample(frame: Array, calibration: Calibration, index: int, rows: Array, columns: Array) -> Array:
    """Corrected counts at whole pixels; off the frame, the local mean of the nearest edge."""
    namespace = array_namespace(frame)
    height, width = frame.shape
    mean_count = namespace.float32(calibration.mean_counts[index])
    edge_rows, edge_columns = map(namespace.asarray, (calibration.edge_rows, calibration.edge_columns))
    nearest_row, nearest_column = namespace.clip(rows, 0, height - 1), namespace.clip(columns, 0, width - 1)
    beside = (columns < 0) | (columns >= width)
    edge = mean_count * edge_columns[(columns >= width).astype(int), nearest_row]
    counts = namespace.where(beside, edge, frame[nearest_row, nearest_column])
    edge = mean_count * edge_rows[(rows >= height).astype(int), nearest_column]
    return namespace.where((rows < 0) | (rows >= height), edge, counts)
