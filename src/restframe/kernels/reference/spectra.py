"""Spectra of tiles: made from frames, filtered, aligned and summed."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, FloatArray, IntArray
from restframe.kernels.reference.frames import to_host


def empty_spectra(shape: tuple[int, ...]) -> Array:
    return np.empty(shape, np.float32)


def tile_spectra(
    frames: Array, tile_origins: IntArray, taper: FloatArray, window_weights: FloatArray, real: Array, imaginary: Array
) -> None:
    namespace = array_namespace(frames)
    size, band = len(taper), real.shape[-1] - 1
    hats = namespace.asarray(hat_functions(size, window_weights.shape[-1] - 1).astype(np.float32))
    taper, window_weights = namespace.asarray(taper), namespace.asarray(window_weights)
    for frame_index, frame in enumerate(frames):
        for tile, (row, column) in enumerate(tile_origins[frame_index]):
            window = taper[:, None] * taper * (hats @ window_weights[tile] @ hats.T)
            spectrum = namespace.fft.rfft2(_windowed_tile(frame, row, column, window))[:, : band + 1]
            for stored, values in ((real, spectrum.real), (imaginary, spectrum.imag)):
                stored[tile, frame_index, :band] = values[-band:]
                stored[tile, frame_index, band:] = values[: band + 1]


def _windowed_tile(frame: Array, row: int, column: int, window: Array) -> Array:
    """The tile of a frame (h, w) at ``row``, ``column``, less its weighted mean, times ``window``.

    Zero off the frame.
    """
    namespace = array_namespace(frame)
    height, width = frame.shape
    size = len(window)
    tile = namespace.zeros((size, size), dtype=window.dtype)
    top, bottom = max(row, 0), min(row + size, height)
    left, right = max(column, 0), min(column + size, width)
    if top < bottom and left < right:
        inside = slice(top - row, bottom - row), slice(left - column, right - column)
        pixels, weights = frame[top:bottom, left:right], window[inside]
        tile[inside] = weights * (pixels - namespace.sum(weights * pixels) / namespace.sum(weights))
    return tile


def hat_functions(size: int, cells: int) -> FloatArray:
    """Linear interpolation from the corners of ``cells`` equal cells to ``size`` pixels: weights (size, cells + 1)."""
    position = (np.arange(size) + 0.5) * cells / size
    weights: FloatArray = np.maximum(1 - np.abs(position[:, None] - np.arange(cells + 1)), 0)
    return weights


def scale_spectra(real: Array, imaginary: Array, scale: Array) -> None:
    real *= scale
    imaginary *= scale


def ring_sums(values: Array, ring_index: IntArray, weight: FloatArray) -> FloatArray:
    in_ring = ring_index >= 0
    weighted = to_host(values)[:, in_ring] * weight[in_ring]
    return np.stack([np.bincount(ring_index[in_ring], tile, ring_index.shape[-1]) for tile in weighted])


def ring_power_sums(real: Array, imaginary: Array, ring_index: IntArray, weight: FloatArray) -> FloatArray:
    return ring_sums(real**2 + imaginary**2, ring_index, weight)


def filter_spectra(
    real: Array, imaginary: Array, ring_filter: FloatArray, ring_index: IntArray, weight: FloatArray
) -> tuple[Array, Array]:
    by_coefficient = np.where(ring_index >= 0, ring_filter[:, np.maximum(ring_index, 0)] * weight, 0)
    factor = array_namespace(real).asarray(by_coefficient.astype(np.float32))
    return factor * real, factor * imaginary


def _aligned_tile(
    real: Array, imaginary: Array, phase_steps: FloatArray, phase_variance: FloatArray, tile: int
) -> Array:
    """G_t exp(i k·step_t) of one tile, (t, 2m+1, m+1) complex, as in `align_spectra`."""
    namespace = array_namespace(real)
    band = real.shape[-1] - 1
    ky, kx = namespace.arange(-band, band + 1), namespace.arange(band + 1)
    steps, variance = namespace.asarray(phase_steps[tile]), namespace.asarray(phase_variance[tile])[:, None]
    row_phases, column_phases = (
        namespace.exp(1j * steps[:, axis, None] * frequency - variance * frequency**2 / 2)
        for axis, frequency in ((1, ky), (0, kx))
    )
    return (real[tile] + 1j * imaginary[tile]) * row_phases[:, :, None] * column_phases[:, None, :]


def align_spectra(
    real: Array, imaginary: Array, phase_steps: FloatArray, phase_variance: FloatArray
) -> tuple[Array, Array, Array]:
    namespace = array_namespace(real)
    tiles = [_aligned_tile(real, imaginary, phase_steps, phase_variance, tile) for tile in range(len(real))]
    total = namespace.stack([frames.sum(0) for frames in tiles])
    power = namespace.stack([(abs(frames) ** 2).sum(0) for frames in tiles])
    return total.real.astype(namespace.float32), total.imag.astype(namespace.float32), power


def shift_gradient(
    real: Array,
    imaginary: Array,
    phase_steps: FloatArray,
    phase_variance: FloatArray,
    weighted_real: Array,
    weighted_imaginary: Array,
) -> FloatArray:
    namespace = array_namespace(real)
    band = real.shape[-1] - 1
    ky, kx = namespace.arange(-band, band + 1)[:, None], namespace.arange(band + 1)[None, :]
    gradient = np.empty((*real.shape[:2], 2))
    for tile in range(len(real)):
        aligned = _aligned_tile(real, imaginary, phase_steps, phase_variance, tile)
        product = ((weighted_real[tile] - 1j * weighted_imaginary[tile]) * aligned).imag
        gradient[tile, :, 0] = to_host(-(product * kx).sum((1, 2)))
        gradient[tile, :, 1] = to_host(-(product * ky).sum((1, 2)))
    return gradient
