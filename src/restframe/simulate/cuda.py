"""The simulator's loops for CuPy arrays: kernels in CUDA C, hundreds of particles in each launch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from restframe.arrays import AnyArray, Array, FloatArray, IntArray
from restframe.kernels.cuda.arrays import THREADS_PER_BLOCK, block_count
from restframe.kernels.cuda.modules import launch

SOURCE = Path(__file__).with_name("loops.cu")
THREADS_PER_BOX_ROW = 64
BOXES_PER_TRANSFORM = 128
"""Boxes that are transformed together: always the same number, because cuFFT needs a plan for each number."""
CANVAS_UNIT = 2.0**-30
"""Unit of the integers on which images are added, as in loops.cu: sums do not depend on the order."""


def to_device(array: AnyArray, dtype: DTypeLike) -> Array:
    """A contiguous copy of that type on the GPU."""
    import cupy

    return cupy.asarray(np.ascontiguousarray(array, dtype))


def atom_images(atoms: FloatArray, rotations: FloatArray, pixel_size: float, box_size: int) -> Array:
    """The number of atoms in each pixel of their projections, (p, box_size, box_size) float32.

    ``atoms``: (n, 3) in A; ``rotations``: (p, 3, 3).
    """
    import cupy

    images = cupy.zeros((len(rotations), box_size, box_size), np.int32)
    projections = to_device(rotations[:, :2], np.float64)
    arguments = to_device(atoms, np.float64), len(atoms), projections, np.float64(pixel_size), box_size, images
    launch(SOURCE, "put_atoms", (block_count(len(atoms)), len(rotations)), THREADS_PER_BLOCK, arguments)
    return images.astype(np.float32)


def shifted_images(spectra: Array, shift: FloatArray, travel: FloatArray) -> Array:
    """`restframe.simulate.specimen.shifted_images` of at most `BOXES_PER_TRANSFORM` boxes (n, b, b//2 + 1)."""
    import cupy

    box_count, box_size, half_width = spectra.shape
    shifted = cupy.empty((BOXES_PER_TRANSFORM, box_size, half_width), np.complex64)
    grid = block_count(half_width, THREADS_PER_BOX_ROW), box_size, BOXES_PER_TRANSFORM
    displacements = to_device(shift, np.float32), to_device(travel, np.float32)
    arguments = spectra, *displacements, box_count, box_size, shifted
    launch(SOURCE, "move_boxes", grid, THREADS_PER_BOX_ROW, arguments)
    return cupy.ascontiguousarray(cupy.fft.irfft2(shifted, s=(box_size, box_size))[:box_count])


def empty_canvas(shape: tuple[int, int]) -> Array:
    """A canvas (h, w) of integers in `CANVAS_UNIT`, for `add_shifted`."""
    import cupy

    return cupy.zeros(shape, np.int64)


def add_shifted(canvas: Array, spectra: Array, origins: IntArray, shift: FloatArray, travel: FloatArray) -> None:
    """Add boxes, shifted and blurred (n, 2), to a periodic canvas; ``origins`` (n, 2: x, y): their first pixels."""
    box_size, (height, width) = spectra.shape[1], canvas.shape
    for start in range(0, len(spectra), BOXES_PER_TRANSFORM):
        selection = slice(start, start + BOXES_PER_TRANSFORM)
        images = shifted_images(spectra[selection], shift[selection], travel[selection])
        grid = block_count(box_size, THREADS_PER_BOX_ROW), box_size, len(images)
        arguments = images, to_device(origins[selection], np.int32), box_size, height, width, canvas
        launch(SOURCE, "add_stamps", grid, THREADS_PER_BOX_ROW, arguments)


def canvas_image(canvas: Array) -> Array:
    """The canvas as float32."""
    return (canvas * CANVAS_UNIT).astype(np.float32)


def interpolate_table(positions: Array, step: float, table: FloatArray) -> Array:
    """Values of a table (samples,), given at 0, step, 2 step, ..., at ``positions`` (any shape, float32), float32.

    Linear between the samples.
    """
    import cupy

    values = cupy.empty(positions.shape, np.float32)
    arguments = positions, np.int64(positions.size), to_device(table, np.float32), len(table), 1 / step, values
    launch(SOURCE, "look_up", (block_count(positions.size),), THREADS_PER_BLOCK, arguments)
    return values


def draw_counts(mean: Array, seed: tuple[int, ...], dtype: DTypeLike) -> AnyArray:
    """`restframe.simulate.camera.draw_counts` of means on the GPU, with other random numbers.

    The number of a pixel depends on seed and position only.
    """
    import cupy

    key = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    mean = cupy.ascontiguousarray(mean, np.float32)
    counts = cupy.empty(mean.shape, np.uint16)
    largest_count = int(np.iinfo(np.dtype(dtype)).max)
    arguments = mean, np.int64(mean.size), key, largest_count, counts
    launch(SOURCE, "poisson", (block_count(mean.size),), THREADS_PER_BLOCK, arguments)
    host_counts: AnyArray = counts.astype(dtype).get()
    return host_counts
