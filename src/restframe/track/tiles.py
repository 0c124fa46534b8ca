"""Overlapping tiles of the binned frames, as spectra: the data that the motion field is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe import pages
from restframe.arrays import Array, FloatArray, IntArray
from restframe.detector.binned import BinnedFrames
from restframe.kernels.interface import Kernels
from restframe.track.windows import Windows, make_windows, tiles_with_weight

TILE_SIZES = (64, 96, 128, 160)  # binned pixels; lengths that transform fast
TILES_ACROSS = 6  # at least as many tiles have to fit into the short side of a frame
TILE_OVERLAP = 1 / 8  # of neighbouring tiles
BAND_LIMIT = 0.8  # highest frequency used, as a fraction of the binned frames' Nyquist frequency


@dataclass(frozen=True, eq=False)
class Tiles:
    """Spectra of every tile and frame, at the frequencies that are used for measuring motion.

    ``real``, ``imaginary``: (p, t, 2m+1, m+1) float32, row m is ky = 0, column 0 is kx = 0, k in cycles per tile.
    The tile of frame t is cut ``offsets[t]`` binned pixels away from its place at zero displacement.
    """

    real: Array
    imaginary: Array
    size: int  # binned pixels along a side
    centres: FloatArray  # (p, 2) x, y in unbinned pixels
    offsets: IntArray  # (t, 2) x, y in whole binned pixels
    factor: int  # unbinned pixels in a binned one, along an axis
    windows: Windows

    @property
    def band(self) -> int:
        """The highest frequency m, in cycles per tile."""
        return int(self.real.shape[-1]) - 1


@dataclass(frozen=True)
class TileLayout:
    """How frames are cut into tiles."""

    size: int  # binned pixels along a side
    overlap: float  # of neighbouring tiles, as a fraction of a side
    band: int  # highest frequency that is used, in cycles per tile


def tile_layout(frame_shape: tuple[int, int]) -> TileLayout:
    """The layout for binned frames of ``frame_shape`` (h, w)."""
    size = tile_size(min(frame_shape))
    return TileLayout(size, TILE_OVERLAP, int(BAND_LIMIT * size / 2))


def tile_size(short_side: int) -> int:
    """The largest of `TILE_SIZES` that fits `TILES_ACROSS` times into the short side.

    Very small frames are one tile.
    """
    if short_side < TILE_SIZES[0]:
        return 2 * (short_side // 2)
    return max((size for size in TILE_SIZES if TILES_ACROSS * size <= short_side), default=TILE_SIZES[0])


def tile_starts(length: int, size: int, overlap: float) -> IntArray:
    """First pixels of equally spaced tiles that cover ``length``."""
    if length <= size:
        return np.array([(length - size) // 2])
    count = int(np.ceil((length - size) / (size * (1 - overlap)))) + 1
    return np.round(np.linspace(0, length - size, count)).astype(int)


def taper(size: int, overlap: float) -> FloatArray:
    """Window of a tile along an axis, (size,); the squares of neighbours add up to one: no electron counts twice."""
    ramp_length = max(round(size * overlap), 1)
    values = np.ones(size)
    ramp = np.sin(0.5 * np.pi * (np.arange(ramp_length) + 0.5) / ramp_length)
    values[:ramp_length] = ramp
    values[-ramp_length:] *= ramp[::-1]
    return values.astype(np.float32)


def make_tiles_and_release_frames(
    kernels: Kernels, binned: BinnedFrames, layout: TileLayout, offsets: IntArray, weight_map: FloatArray
) -> Tiles:
    """Cut tiles that follow ``offsets`` (t, 2), window and transform them. The noise of a coefficient has power one.

    Each tile is cut less its mean, which would leak along both axes. ``weight_map``: how much each place counts
    (`specimen.py`). Blocks of frames are worked on side by side. The memory of each block is released afterwards:
    ``binned`` can't be used again.
    """
    height, width = binned.shape
    tile_origins = np.array(
        [
            (row, column)
            for row in tile_starts(height, layout.size, layout.overlap)
            for column in tile_starts(width, layout.size, layout.overlap)
        ]
    )
    tile_taper = taper(layout.size, layout.overlap)
    tile_origins = tile_origins[tiles_with_weight(tile_taper, tile_origins, weight_map, binned.shape)]
    windows = make_windows(tile_taper, tile_origins, weight_map, binned.shape)
    window_weights = (windows.window_weights * binned.scale).astype(np.float32)
    spectra_shape = (len(tile_origins), binned.n_frames, 2 * layout.band + 1, layout.band + 1)
    real, imaginary = kernels.empty_spectra(spectra_shape), kernels.empty_spectra(spectra_shape)
    frame_origins = tile_origins + np.asarray(offsets)[:, None, ::-1]

    def transform_block(block: slice) -> None:
        frames, origins = binned.stack[block], frame_origins[block]
        kernels.tile_spectra(frames, origins, windows.taper, window_weights, real[:, block], imaginary[:, block])
        pages.release_pages(frames)

    kernels.parallel_map(transform_block, frame_blocks(binned.n_frames, kernels.frames_per_block))
    centres = tile_origins[:, ::-1] + (layout.size - 1) / 2
    return Tiles(real, imaginary, layout.size, binned.unbinned(centres), np.asarray(offsets), binned.factor, windows)


def frame_blocks(frame_count: int, block_size: int) -> list[slice]:
    """Consecutive blocks of ``block_size`` frames; the last one may be shorter."""
    return [slice(first, first + block_size) for first in range(0, frame_count, block_size)]


def scale_tiles_in_place(kernels: Kernels, tiles: Tiles, amplitude: FloatArray) -> None:
    """Multiply the spectra, whose noise has power one, by the signal's ``amplitude`` (t, rings): the likelihood sums
    these.
    """
    rings = kernels.to_device(np.minimum(np.round(frequency_radius(tiles.band)).astype(int), tiles.band))
    kernels.scale_spectra(tiles.real, tiles.imaginary, kernels.to_device(amplitude.astype(np.float32))[:, rings])


def frequency_radius(band: int) -> FloatArray:
    """|k| of each coefficient of a tile, (2m+1, m+1), in cycles per tile; ``band``: m."""
    return np.hypot(np.arange(-band, band + 1)[:, None], np.arange(band + 1)[None, :])
