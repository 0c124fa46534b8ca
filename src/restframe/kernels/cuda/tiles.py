"""Spectra of tiles on the GPU, made from binned frames."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from restframe.arrays import Array, FloatArray, IntArray
from restframe.kernels.cuda.arrays import block_count, contiguous_on_device
from restframe.kernels.cuda.modules import launch

THREADS_PER_WARP = 32


@lru_cache(4)
def transform_definitions(size: int, cells: int, band: int) -> tuple[str, ...]:
    """Definitions of the module `tiles`: for tiles of ``size`` pixels with ``cells`` cells along either axis."""
    angles = 2 * np.pi * np.arange(size) / size
    cosines, sines = np.cos(angles), -np.sin(angles)
    roots = ", ".join(f"{{{cosine:.9e}f, {sine:.9e}f}}" for cosine, sine in zip(cosines, sines, strict=True))
    return f"SIZE={size}", f"N1={cells}", f"N2={size // cells}", f"M={band}", f"ROOTS={roots}"


def tile_spectra(
    frames: Array, tile_origins: IntArray, taper: FloatArray, window_weights: FloatArray, real: Array, imaginary: Array
) -> None:
    """As `Kernels.tile_spectra`, of int8, into spectra of `empty_spectra`."""
    tile_count, frame_count, _, column_count = real.shape
    size, cells = len(taper), window_weights.shape[-1] - 1
    cell = size // cells
    tile_stride = np.int64(real.strides[0] // real.itemsize)
    tables = (
        contiguous_on_device(tile_origins, np.int32),
        contiguous_on_device(taper, np.float32),
        contiguous_on_device(window_weights, np.float32),
    )
    arguments = frames, *frames.shape[1:], *tables, tile_stride, real, imaginary
    threads = THREADS_PER_WARP * block_count(size, THREADS_PER_WARP)
    definitions = transform_definitions(size, cells, column_count - 1)
    shared_bytes = 8 * 2 * cell * (size + cells)
    launch("tiles", "tile_spectra", (tile_count, frame_count), threads, arguments, shared_bytes, definitions)
