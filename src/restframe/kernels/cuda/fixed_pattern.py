"""The fixed pattern of the detector in spectra of tiles on the GPU: subtracted, and the bias of that."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.kernels.cuda.arrays import THREADS_PER_BLOCK, block_count, empty, to_device, to_host
from restframe.kernels.cuda.modules import launch


def subtract_fixed_pattern(real: Array, imaginary: Array, phase_factors: Array, fraction: float) -> None:
    """As `Kernels.subtract_fixed_pattern`, for spectra of `empty_spectra`."""
    tile_count, *shape = real.shape
    coefficient_count = shape[1] * shape[2]
    row_pitch = real.strides[-2] // real.itemsize
    arguments = real, imaginary, phase_factors, *shape, row_pitch, float(fraction)
    grid = block_count(coefficient_count), tile_count
    launch("fixed_pattern", "subtract_fixed_pattern", grid, THREADS_PER_BLOCK, arguments)


def pattern_bias(
    displacement: FloatArray,
    directions: FloatArray,
    strength: FloatArray,
    power: FloatArray,
    fraction: float,
    tile_size: int,
    with_gradient: bool = True,
) -> tuple[float, FloatArray]:
    (tile_count, frame_count, _), direction_count, ring_count = displacement.shape, directions.shape[1], power.shape[1]
    tables = (to_device(table.astype(np.float32)) for table in (displacement / tile_size, directions, strength, power))
    values = empty((tile_count,), np.float64)
    gradient = empty((tile_count, frame_count, 2), np.float64) if with_gradient else None
    arguments = *tables, frame_count, direction_count, ring_count, float(fraction), values, gradient
    shared_bytes = 8 * (frame_count + direction_count * ring_count)
    launch("fixed_pattern", "pattern_bias", (tile_count,), THREADS_PER_BLOCK, arguments, shared_bytes)
    value = float(to_host(values).sum())
    return value, np.zeros(displacement.shape) if gradient is None else 2 * np.pi / tile_size * to_host(gradient)
