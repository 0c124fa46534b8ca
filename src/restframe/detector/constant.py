"""Pixels that no light makes: the same value in every frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace
from scipy import ndimage

from restframe.arrays import Array, BoolArray
from restframe.detector.smooth import CELL_PX, enlarged, sum_over_cells

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels

CHANCE = 1e-12  # of a square of pixels that are constant by accident, at most
WIDEST_SQUARE = 8  # cells a side, where single pixels are often constant by accident (sparse frames)
UNLIT_SIDE = 12  # cells: a square of this side without any count gets no light
UNLIT_SHARE = 0.6  # of the pixels of a cell without light that are constant, at least
ISLAND_SIDE = 24  # cells: smaller islands of light in the dark are not used


def constant_pixels(
    kernels: Kernels, total: Array, frames: list[Array], frame_count: int, dtype: np.dtype[Any]
) -> tuple[Array, BoolArray]:
    """Mask (h, w) of constant pixels where the kernels work; and of those without light, on the host.

    ``total``: (h, w) sum of the raw counts of ``frame_count`` frames; ``frames``: some of them, (h, w). Single
    saturated pixels (the largest value of an integer ``dtype`` in every frame) are constant. Others are where whole
    squares of them are, so large that accident makes none.
    """
    xp = array_namespace(total)
    constant = xp.zeros(total.shape, dtype=xp.bool)
    unlit = np.zeros(total.shape, bool)
    if frame_count < 2:
        return constant, unlit
    first = frames[0]
    if dtype.kind in "iu":
        largest = np.iinfo(dtype).max
        constant |= (total == total.dtype.type(largest * frame_count)) & (first == largest)
    same = total == first.astype(total.dtype) * frame_count
    for frame in frames[1:]:
        same &= frame == first
    chance = float(xp.mean(same.astype(xp.float32)))
    if not 0 < chance < 1:
        return constant, unlit
    share = kernels.to_host(sum_over_cells(same.astype(xp.float32))) / CELL_PX**2
    side = 1
    while side < WIDEST_SQUARE and (side * CELL_PX) ** 2 * np.log(chance) > np.log(CHANCE):
        side += 1
    if (side * CELL_PX) ** 2 * np.log(chance) > np.log(CHANCE):
        return constant, unlit
    full = ndimage.minimum_filter(share, side) >= 1
    if not full.any():
        return constant, unlit
    near_full = ndimage.binary_dilation(full, np.ones((side + 2, side + 2), bool))
    constant |= same & kernels.to_device(enlarged(near_full, total.shape))
    empty = kernels.to_host(sum_over_cells((same & (total == 0)).astype(xp.float32))) / CELL_PX**2
    return constant, enlarged(unlit_cells(empty), total.shape)


def unlit_cells(empty_share: Any) -> BoolArray:
    """Cells outside the beam, from the share of their pixels that are zero in every frame.

    They are wide in both directions. A band or block that is narrower is a defect of the camera.
    """
    empty = np.pad(empty_share >= UNLIT_SHARE, UNLIT_SIDE, mode="edge")
    inner = (slice(UNLIT_SIDE, -UNLIT_SIDE),) * 2
    wide = ndimage.binary_opening(empty, np.ones((UNLIT_SIDE, UNLIT_SIDE), bool))
    if not wide.any():
        return np.zeros(empty_share.shape, bool)
    closed = ndimage.binary_closing(wide, iterations=6)
    wide = ndimage.binary_dilation(wide, iterations=3) & (empty | closed)
    wide = ndimage.binary_fill_holes(ndimage.binary_closing(wide, iterations=6))[inner]
    islands, count = ndimage.label(~wide)
    island_sizes = np.bincount(islands.ravel(), minlength=count + 1)
    island_sizes[0] = wide.size
    return np.asarray(wide | (island_sizes < ISLAND_SIDE**2)[islands])
