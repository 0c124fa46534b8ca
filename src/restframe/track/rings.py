"""Which ring of frequencies each coefficient of a tile belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import FloatArray, IntArray
from restframe.track.tiles import Tiles, frequency_radius

LOWEST_RING = 3  # cycles per tile; lower frequencies hold the leakage of the taper


@dataclass(frozen=True, eq=False)
class RingGeometry:
    """Rings of the half spectra of tiles, (2m+1, m+1). Ring r holds frequencies of about r cycles per tile."""

    index: IntArray  # (2m+1, m+1) the ring of each coefficient; -1: not used
    weight: FloatArray  # (2m+1, m+1) 1; 1/2 where the half spectrum holds a coefficient and its conjugate (kx = 0)
    count: FloatArray  # (rings,) independent coefficients in each ring


def ring_geometry(band: int) -> RingGeometry:
    """Rings up to the frequency ``band``; lower ones than `LOWEST_RING` are empty."""
    radius = frequency_radius(band)
    index = np.round(radius).astype(int)
    index[(index > band) | (index < LOWEST_RING)] = -1
    weight = np.ones(radius.shape)
    weight[:, 0] = 0.5
    used = index >= 0
    return RingGeometry(index, weight, np.bincount(index[used], weight[used], band + 1).astype(float))


def independent_counts(tiles: Tiles, rings: RingGeometry) -> FloatArray:
    """Independent coefficients of each tile and ring, (p, rings): the window makes neighbouring ones depend."""
    return np.asarray(tiles.windows.independent_share[:, None] * rings.count)


def squared_wave_numbers(tiles: Tiles) -> FloatArray:
    """|k|² of each ring, (rings,), in (rad / binned pixel)²."""
    return np.asarray((2 * np.pi * np.arange(tiles.band + 1) / tiles.size) ** 2)
