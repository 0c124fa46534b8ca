"""Spectra of tiles on the GPU: scaled, filtered, aligned and summed.

They are stored in 16 bits, which halves what is read. Rows begin at multiples of four numbers, so that kernels read
four at a time; the numbers between the end of a row and the next row are zero.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from restframe.arrays import Array, FloatArray, IntArray
from restframe.kernels.cuda.arrays import (
    THREADS_PER_BLOCK,
    block_count,
    contiguous_on_device,
    empty,
    to_device,
    to_host,
    zeros,
)
from restframe.kernels.cuda.modules import launch

# as in spectra.cu
ALIGN_FRAMES_PER_STEP = 20  # whose phases a block holds
ALIGN_THREADS = 512
GRADIENT_FRAMES = 2  # that a block works on
RINGS_PER_BLOCK = THREADS_PER_BLOCK // 32  # one warp for each
MAX_REMEMBERED_RINGS = 9


def empty_spectra(shape: tuple[int, ...]) -> Array:
    """Room for spectra of tiles in 16 bits, with padded rows. Rounding adds 1e-7 to the power of the noise."""
    return _empty_padded(shape, np.float16)


def _padded_length(columns: int) -> int:
    return 4 * block_count(columns, 4)


def _empty_padded(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Room (..., n) whose rows begin at multiples of four."""
    return empty((*shape[:-1], _padded_length(shape[-1])), dtype)[..., : shape[-1]]


def padded(array: Array) -> tuple[Array, int]:
    """The array (..., n) with padded rows, a copy if it has none; and the distance between rows, in numbers."""
    columns = array.shape[-1]
    row_pitch = array.strides[-2] // array.itemsize
    if row_pitch == _padded_length(columns) and array.strides[-1] == array.itemsize:
        return array, row_pitch
    copy = zeros((*array.shape[:-1], _padded_length(columns)), array.dtype)
    copy[..., :columns] = array
    return copy[..., :columns], copy.shape[-1]


def scale_spectra(real: Array, imaginary: Array, scale: Array) -> None:
    """As `Kernels.scale_spectra`, for spectra of `empty_spectra`."""
    tile_count, frame_count, row_count = real.shape[:3]
    scale, row_pitch = padded(to_device(scale.astype(np.float32, copy=False)))
    quads = row_count * row_pitch // 4
    grid = block_count(quads), frame_count, tile_count
    launch("spectra", "scale_spectra", grid, THREADS_PER_BLOCK, (real, imaginary, scale, quads))


def _phases_to_device(phase_steps: FloatArray, phase_variance: FloatArray) -> Array:
    """Both in one array: each transfer to the GPU takes its time, however small it is."""
    return to_device(np.concatenate([phase_steps.ravel(), phase_variance.ravel()], dtype=np.float32))


def align_spectra(
    real: Array, imaginary: Array, phase_steps: FloatArray, phase_variance: FloatArray
) -> tuple[Array, Array, Array]:
    """As `Kernels.align_spectra`; zero beyond the band."""
    (real, row_pitch), (imaginary, _) = padded(real), padded(imaginary)
    tile_count, frame_count, row_count, column_count = real.shape
    blocks = block_count(row_count, ALIGN_THREADS // (row_pitch // 4))
    rows = block_count(row_count, blocks)
    shape = tile_count, row_count, column_count
    totals = _empty_padded(shape, np.float32), _empty_padded(shape, np.float32), _empty_padded(shape, np.float32)
    phases = _phases_to_device(phase_steps, phase_variance)
    arguments = real, imaginary, phases, frame_count, column_count - 1, row_pitch, *totals
    shared_bytes = 8 * ALIGN_FRAMES_PER_STEP * (row_pitch + rows)
    launch("spectra", "align_spectra", (blocks, tile_count), rows * row_pitch // 4, arguments, shared_bytes)
    return totals


def shift_gradient(
    real: Array,
    imaginary: Array,
    phase_steps: FloatArray,
    phase_variance: FloatArray,
    weighted_real: Array,
    weighted_imaginary: Array,
) -> FloatArray:
    (real, row_pitch), (imaginary, _) = padded(real), padded(imaginary)
    weighted = padded(weighted_real)[0], padded(weighted_imaginary)[0]
    tile_count, frame_count, row_count, column_count = real.shape
    gradient = empty((tile_count, frame_count, 2), np.float64)
    phases = _phases_to_device(phase_steps, phase_variance)
    arguments = real, imaginary, phases, *weighted, frame_count, column_count - 1, row_pitch, gradient
    shared_bytes = 8 * GRADIENT_FRAMES * (row_pitch + row_count)
    grid = block_count(frame_count, GRADIENT_FRAMES), tile_count
    launch("spectra", "shift_gradient", grid, THREADS_PER_BLOCK, arguments, shared_bytes)
    return to_host(gradient)


class RingTables(NamedTuple):
    """The rings of coefficients of padded rows, on the GPU."""

    order: Array  # int32, the coefficients of one ring after the other
    first: Array  # (rings + 1,) int32, where each ring begins in this order
    weight: Array  # float32, of each coefficient
    ring_index: Array  # int32, the ring of each coefficient, -1 for none


@lru_cache(4)
def _make_ring_tables(ring_index: bytes, weight: bytes, ring_count: int, device: int) -> RingTables:
    padding = (0, 0), (0, -ring_count % 4)
    indices = np.frombuffer(ring_index, np.int32).reshape(-1, ring_count)
    padded_indices = np.pad(indices, padding, constant_values=-1).ravel()
    padded_weight = np.pad(np.frombuffer(weight, np.float32).reshape(-1, ring_count), padding).ravel()
    order = np.argsort(padded_indices, kind="stable").astype(np.int32)
    first = np.searchsorted(padded_indices[order], np.arange(ring_count + 1)).astype(np.int32)
    return RingTables(*map(to_device, (order, first, padded_weight, padded_indices)))


_recent_rings: list[tuple[IntArray, FloatArray, int, RingTables]] = []
"""The tables that were used last and the arrays that they belong to, because each iteration of a fit needs them."""


def _ring_tables(ring_index: IntArray, weight: FloatArray) -> RingTables:
    import cupy

    device = cupy.cuda.Device().id
    for known_rings, known_weight, known_device, tables in _recent_rings:
        if known_rings is ring_index and known_weight is weight and known_device == device:
            return tables
    contents = np.ascontiguousarray(ring_index, np.int32).tobytes(), np.ascontiguousarray(weight, np.float32).tobytes()
    tables = _make_ring_tables(*contents, ring_index.shape[-1], device)
    _recent_rings[:] = [*_recent_rings[1 - MAX_REMEMBERED_RINGS :], (ring_index, weight, device, tables)]
    return tables


def ring_sums(values: Array, ring_index: IntArray, weight: FloatArray) -> FloatArray:
    return _sum_over_rings(values, None, ring_index, weight)


def ring_power_sums(real: Array, imaginary: Array, ring_index: IntArray, weight: FloatArray) -> FloatArray:
    return _sum_over_rings(real, imaginary, ring_index, weight)


def _sum_over_rings(values: Array, imaginary: Array | None, ring_index: IntArray, weight: FloatArray) -> FloatArray:
    """Of the values, or of values² + imaginary² where that is given."""
    tables = _ring_tables(ring_index, weight)
    padded_values, padded_imaginary = padded(values)[0], None if imaginary is None else padded(imaginary)[0]
    tile_count, ring_count = len(values), ring_index.shape[-1]
    sums = empty((tile_count, ring_count), np.float64)
    rings = tables.order, tables.first, tables.weight, tables.weight.size, ring_count
    arguments = padded_values, padded_imaginary, *rings, sums
    grid = block_count(ring_count, RINGS_PER_BLOCK), tile_count
    launch("spectra", "ring_sums", grid, THREADS_PER_BLOCK, arguments)
    return to_host(sums)


def filter_spectra(
    real: Array, imaginary: Array, ring_filter: FloatArray, ring_index: IntArray, weight: FloatArray
) -> tuple[Array, Array]:
    tables = _ring_tables(ring_index, weight)
    filtered = _empty_padded(real.shape, np.float32), _empty_padded(real.shape, np.float32)
    device_filter = contiguous_on_device(ring_filter, np.float32)
    rings = device_filter, tables.ring_index, tables.weight, tables.weight.size, ring_index.shape[-1]
    arguments = padded(real)[0], padded(imaginary)[0], *rings, *filtered
    launch("spectra", "filter_spectra", (block_count(tables.weight.size), len(real)), THREADS_PER_BLOCK, arguments)
    return filtered
