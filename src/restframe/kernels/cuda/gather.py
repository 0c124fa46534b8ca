"""The gather on the GPU, and the displacements that it needs."""

from __future__ import annotations

import numpy as np

from restframe.arrays import AnyArray, Array, FloatArray
from restframe.detector.calibration import Calibration
from restframe.kernels.cuda.arrays import (
    THREADS_PER_BLOCK,
    block_count,
    contiguous_on_device,
    empty,
    to_device,
    to_host,
    zeros,
)
from restframe.kernels.cuda.modules import launch, raw_definitions, set_constant
from restframe.kernels.cuda.raw import device_calibration
from restframe.kernels.interface import DisplacementField, Resampling
from restframe.kernels.polynomials import weight_polynomials
from restframe.kernels.reference.gather import displacement_grid as reference_grid

BLOCK_SHAPE = {"TX": 64, "TY": 16, "EACH": 4, "BLOCKS": 2}  # raw.cu says what they mean; measured on an H100
GATHER_DEFINITIONS = tuple(f"{name}={value}" for name, value in BLOCK_SHAPE.items())
MAX_COEFFICIENTS = 2048  # of one launch; they lie in shared memory
MAX_DEGREE = 15  # of a field's modes, as in images.cu
FRAME_SHARED_BYTES = 24  # of shared memory for each frame: limits of its displacement (16) and of its counts (8)
BIN_UNITS = 65536.0  # by which one displacement counts in images.cu
POSITIONS_PER_THREAD = 64  # so that a block's counts fit into 32 bits


def gather(
    frames: Array, calibration: Calibration, resampling: Resampling, coefficients: FloatArray, images: Array
) -> None:
    image_count, height, width = images.shape
    spacing = resampling.spacing
    if spacing % BLOCK_SHAPE["EACH"]:
        raise ValueError(f"a spacing of {spacing} is no multiple of {BLOCK_SHAPE['EACH']}")
    definitions = (*raw_definitions(frames.dtype, image_count), *GATHER_DEFINITIONS)
    set_constant("raw", "polynomials", weight_polynomials(resampling.table), definitions)
    grid_rows, grid_columns = resampling.grid.shape[1:3]
    blocks = block_count(width, BLOCK_SHAPE["TX"]), block_count(height, BLOCK_SHAPE["TY"])
    threads = BLOCK_SHAPE["TX"] * BLOCK_SHAPE["TY"] // BLOCK_SHAPE["EACH"]
    padded_count = 4 * block_count(image_count, 4)
    frames_per_launch = max(1, MAX_COEFFICIENTS // padded_count)
    for first in range(0, len(frames), frames_per_launch):
        block = slice(first, min(first + frames_per_launch, len(frames)))
        frame_count = block.stop - block.start
        weights = np.zeros((frame_count, padded_count), np.float32)
        weights[:, :image_count] = coefficients[:, block].T
        grid = to_device(resampling.grid[block].astype(np.float32, copy=False))
        geometry = grid_rows, grid_columns, spacing
        limits = _displacement_limits(grid, spacing, blocks, (height, width), definitions)
        arguments = (
            *device_calibration(calibration.of_frames(block)), frames[block], frame_count, grid, *geometry,
            resampling.origin, limits, to_device(weights), images, height, width,
        )  # fmt: skip
        shared_bytes = weights.nbytes + FRAME_SHARED_BYTES * frame_count
        launch("raw", "gather", blocks, threads, arguments, shared_bytes, definitions)


def _displacement_limits(
    grid: Array, spacing: int, blocks: tuple[int, int], image_shape: tuple[int, int], definitions: tuple[str, ...]
) -> Array:
    """Whole pixels between which the displacements of each block lie: (t, blocks, 4) left, right, low, high."""
    frame_count, grid_rows, grid_columns = grid.shape[:3]
    limits = empty((frame_count, blocks[0] * blocks[1], 4), np.int32)
    arguments = grid, frame_count, grid_rows, grid_columns, spacing, *image_shape, limits
    launch_blocks = (block_count(frame_count * blocks[0] * blocks[1]),)
    launch("raw", "displacement_limits", launch_blocks, THREADS_PER_BLOCK, arguments, 0, definitions)
    return limits


def displacement_grid(field: DisplacementField, x: FloatArray, y: FloatArray, offset: FloatArray) -> Array:
    height, width = field.shape
    # in -1 ... 1 over the frame, as in `MotionField.mode_values`
    positions = (2 * np.stack([x.ravel(), y.ravel()]) + 1) / np.array([[width], [height]]) - 1
    modes = np.array(getattr(field, "modes", ()), np.int32)  # a `MotionField` is a sum of these, other fields are not
    if not modes.size or modes.max() > MAX_DEGREE:
        return to_device(reference_grid(field, x, y, offset))
    amplitudes = np.ascontiguousarray(getattr(field, "amplitudes", None), np.float64)
    grid = empty((field.n_frames, *offset.shape), np.float32)
    places = to_device(positions), to_device(offset.astype(np.float64)), x.size
    arguments = *places, to_device(modes), len(modes), to_device(amplitudes), field.n_frames, grid
    launch("images", "displacement_grid", (block_count(x.size),), THREADS_PER_BLOCK, arguments)
    return grid


def subpixel_histogram(displacements: Array, bins: int) -> FloatArray:
    frame_count, count = displacements.shape[:2]
    counts = zeros((frame_count, bins, bins), np.uint64)
    grid = block_count(count, POSITIONS_PER_THREAD * THREADS_PER_BLOCK), frame_count
    arguments = _contiguous(displacements), count, bins, counts
    launch("images", "subpixel_histogram", grid, THREADS_PER_BLOCK, arguments, 4 * bins**2)
    fractions: FloatArray = to_host(counts) / (BIN_UNITS * count)
    return fractions


def _contiguous(array: AnyArray | Array) -> Array:
    """A contiguous array on the GPU."""
    return contiguous_on_device(array, array.dtype) if isinstance(array, np.ndarray) else array.copy()
