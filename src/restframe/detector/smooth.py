"""Coarse maps of an image: means over square cells, and smooth surfaces through what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from array_api_compat import array_namespace
from scipy import ndimage

from restframe.arrays import AnyArray, Array, FloatArray

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels

CELL_PX = 4  # pixels along a side of a cell
ENOUGH_KNOWN = 0.3  # share of known cells around a place, from which on a scale is used alone


@dataclass(frozen=True, eq=False)
class CellMap:
    """Mean of the good pixels of each cell, on the host; pixels that fill no whole cell are left out."""

    mean: FloatArray  # (h // CELL_PX, w // CELL_PX), 0 where no pixel is good
    share: FloatArray  # the same shape: share of good pixels


def sum_over_cells(image: Array) -> Array:
    """Sums of an image (h, w) over its cells."""
    height, width = (length // CELL_PX * CELL_PX for length in image.shape)
    columns = sum(image[:height, first:width:CELL_PX] for first in range(CELL_PX))
    return sum(columns[first::CELL_PX] for first in range(CELL_PX))


def cell_map(kernels: Kernels, image: Array, bad: Array) -> CellMap:
    """Cells of an image (h, w); ``bad``: mask (h, w)."""
    xp = array_namespace(image)
    good_count = kernels.to_host(sum_over_cells((~bad).astype(xp.float32)))
    total = kernels.to_host(sum_over_cells(xp.where(bad, np.float32(0), image)))
    return CellMap(total / np.maximum(good_count, 1), good_count / CELL_PX**2)


def enlarged(cells: AnyArray, shape: tuple[int, int]) -> AnyArray:
    """A map of cells as an image of ``shape`` (h, w); the last cells cover the rest."""
    rows, columns = (
        np.minimum(np.arange(length) // CELL_PX, count - 1) for length, count in zip(shape, cells.shape, strict=True)
    )
    return np.asarray(cells[rows][:, columns])


def weighted_box_mean(values: FloatArray, weight: FloatArray, side: int) -> FloatArray:
    """Weighted mean in the square of ``side`` x ``side`` around each place; 0 where there is no weight."""
    total = ndimage.uniform_filter(values * weight, side, mode="mirror")
    count = ndimage.uniform_filter(weight, side, mode="mirror")
    return np.asarray(np.divide(total, count, out=np.zeros_like(total), where=count > 1e-6))


def smooth_surface(values: FloatArray, weight: FloatArray, finest_sd: float) -> FloatArray:
    """A smooth map (h, w) through ``values`` where ``weight`` says that they are known.

    Gaussian means of standard deviation ``finest_sd`` places, and of 2, 4, 8 ... times that where too little is known
    for a finer one. So wide gaps are bridged without edges.
    """
    weighted = values * weight
    sums: list[tuple[FloatArray, FloatArray]] = []  # of values and of weights, the finest scale first
    scale = finest_sd
    while True:
        total, known = (
            ndimage.gaussian_filter(image, scale, mode="nearest", truncate=3.0) for image in (weighted, weight)
        )
        sums.append((total, known))
        # coarser scales, whose filters are long, matter only where this one knows too little
        if known.min() >= ENOUGH_KNOWN or scale >= max(values.shape) / 2:
            break
        scale *= 2
    surface = np.full(values.shape, float(weighted.sum()) / max(float(weight.sum()), 1e-9))
    for total, known in reversed(sums):
        mean = np.divide(total, known, out=surface.copy(), where=known > 1e-3)
        share = np.clip(known / ENOUGH_KNOWN, 0, 1)
        surface = share * mean + (1 - share) * surface
    return np.asarray(surface)
