"""Where the tiles lie whose power spectra are averaged for people to look at."""

from __future__ import annotations

import numpy as np

TILE_SIDE_PX = 512
TILES_ALONG_SIDE = 4  # at most
UNCORRECTED_TILES_ALONG_SIDE = 2  # of the sum before the correction: its rings are needed, not its picture


def tile_side(shape: tuple[int, ...]) -> int:
    """Side of a tile, an even number, for an image (h, w)."""
    return min(TILE_SIDE_PX, *(2 * (size // 2) for size in shape))


def tile_corners(shape: tuple[int, ...], most_along_side: int = TILES_ALONG_SIDE) -> list[tuple[int, int]]:
    """First row and column of each tile: along an axis as many as fit, ``most_along_side`` at most, evenly spread."""
    side = tile_side(shape)
    rows, columns = (
        np.linspace(0, size - side, min(max(size // side, 1), most_along_side)).astype(int).tolist() for size in shape
    )
    return [(row, column) for row in rows for column in columns]
