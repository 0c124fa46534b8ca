"""Spectra of tiles, made from binned frames: windows, transforms, the band that is kept."""

from __future__ import annotations

import numpy as np
from scipy import fft

from restframe.arrays import Array, FloatArray, IntArray
from restframe.kernels.cpu.scalars import Real
from restframe.kernels.cpu.storage import store
from restframe.loops import compiled_loop, inner_loop

TILES_PER_BLOCK = 4  # tiles that are transformed together, to stay in the cache


@inner_loop(fastmath={"reassoc"})  # without reassoc the compiler does not vectorize the sum
def _sum(values: Array) -> Real:
    total = np.float32(0)
    for index in range(len(values)):
        total += values[index]
    return total


@compiled_loop("(int8[:,::1], int64[:,::1], float32[::1], float32[:,:,::1], float32[:,:,::1])")
def _cut_tiles(frame: Array, tile_origins: Array, taper: Array, window_weights: Array, tiles: Array) -> None:
    """Windowed tiles less their weighted mean, to ``tiles`` (n, size, size); zero off the frame."""
    height, width = frame.shape
    size, cell_count = len(taper), window_weights.shape[1] - 1
    cell = size // cell_count
    window, upper, change = np.empty(size * size, np.float32), np.empty(size, np.float32), np.empty(size, np.float32)
    position = np.empty(cell, np.float32)
    for offset in range(cell):
        position[offset] = (offset + 0.5) / cell
    for tile in range(len(tile_origins)):
        top, left = tile_origins[tile, 0], tile_origins[tile, 1]
        first_column = 0 if left > 0 else (-left if -left < size else size)
        last_column = size if size < width - left else width - left
        last_column = last_column if last_column > first_column else first_column
        first_row = 0 if top > 0 else -top
        last_row = size if size < height - top else height - top
        total: Real = 0.0
        weight_total: Real = 0.0
        for row in range(size):
            if row % cell == 0:  # the window along this row of cells, and its change to the next
                corners_above, corners_below = window_weights[tile, row // cell], window_weights[tile, row // cell + 1]
                for cell_index in range(cell_count):
                    for offset in range(cell):
                        upper[cell_index * cell + offset] = corners_above[cell_index] + position[offset] * (
                            corners_above[cell_index + 1] - corners_above[cell_index]
                        )
                        change[cell_index * cell + offset] = corners_below[cell_index] + position[offset] * (
                            corners_below[cell_index + 1] - corners_below[cell_index]
                        )
                for column in range(size):
                    upper[column] *= taper[column]
                    change[column] = taper[column] * change[column] - upper[column]
            if not first_row <= row < last_row or first_column >= last_column:
                for column in range(size):
                    tiles[tile, row, column] = 0
                continue
            for column in range(first_column):
                tiles[tile, row, column] = 0
            for column in range(last_column, size):
                tiles[tile, row, column] = 0
            window_row = window[row * size : (row + 1) * size]
            for column in range(size):
                window_row[column] = taper[row] * (upper[column] + position[row % cell] * change[column])
            frame_row = frame[top + row, left + first_column : left + last_column]
            weights = window[row * size + first_column : row * size + last_column]
            weighted = tiles[tile, row, first_column:last_column]
            for column in range(len(weighted)):
                # without float32() Numba computes a product with an integer in 64 bits
                weighted[column] = np.float32(frame_row[column]) * weights[column]
            total += _sum(weighted)
            weight_total += _sum(weights)
        mean = np.float32(total / weight_total) if weight_total > 0 else np.float32(0)
        for row in range(first_row, last_row):
            weights = window[row * size + first_column : row * size + last_column]
            weighted = tiles[tile, row, first_column:last_column]
            for column in range(len(weighted)):
                weighted[column] -= mean * weights[column]


@compiled_loop("(complex64[:,:,:], int64, int64, int16[:,:,:,:], int16[:,:,:,:])")
def _keep_band(spectra: Array, first_tile: int, frame: int, real: Array, imaginary: Array) -> None:
    """The band of ``spectra`` of successive tiles to their place in the spectra of all tiles."""
    row_count, column_count = real.shape[2:]
    row_real, row_imaginary = np.empty(column_count, np.float32), np.empty(column_count, np.float32)
    for tile in range(len(spectra)):
        for row in range(row_count):
            spectrum_row = spectra[tile, (row - row_count // 2) % spectra.shape[1]]
            for column in range(column_count):
                row_real[column], row_imaginary[column] = spectrum_row[column].real, spectrum_row[column].imag
            store(row_real, real[first_tile + tile, frame, row])
            store(row_imaginary, imaginary[first_tile + tile, frame, row])


def tile_spectra(
    frames: Array, tile_origins: IntArray, taper: FloatArray, window_weights: FloatArray, real: Array, imaginary: Array
) -> None:
    for index, frame in enumerate(frames):
        for first in range(0, len(tile_origins[index]), TILES_PER_BLOCK):
            block = slice(first, first + TILES_PER_BLOCK)
            origins = tile_origins[index, block]
            tiles = np.empty((len(origins), len(taper), len(taper)), np.float32)
            _cut_tiles(frame, origins, taper, window_weights[block], tiles)
            row_spectra = fft.rfft(tiles, axis=2, overwrite_x=True, workers=1)[:, :, : real.shape[-1]]
            spectra = fft.fft(row_spectra, axis=1, overwrite_x=True, workers=1)
            _keep_band(spectra, first, index, real, imaginary)
