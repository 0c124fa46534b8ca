"""What stands out in the plain sum at any width: pixels, clusters, blocks, bands, steps and shadows.

These are suspects only. Whether they are the camera's or the specimen's is decided by motion (`track/suspects.py`):
what stands still on the detector belongs to the camera, what moves with the specimen belongs to the specimen.

Means over boxes and over stretches of rows and columns are compared with those around them, in units of their own
robust standard deviation, which contains the usual contrast of the specimen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from array_api_compat import array_namespace
from scipy import ndimage, sparse
from scipy.sparse import csgraph

from restframe.arrays import Array, BoolArray, FloatArray, IntArray
from restframe.detector.defects import (
    BAD_DEVIATIONS,
    local_mean,
    positions_in_mask,
    robust_standard_deviation,
)
from restframe.detector.smooth import CELL_PX, CellMap, cell_map, enlarged, sum_over_cells, weighted_box_mean

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels

CLUSTER_SIDE_PX = 3  # the smallest box
CLUSTER_PASSES = 3  # each without the suspects of the one before
BROAD_DEVIATIONS = 9.0  # robust standard deviations, of wider boxes and steps
BOX_SIDES = (3, 7)  # cells along a side of wider boxes
SURROUNDINGS = 3  # times as wide as a box
STEP_SIDE = 7  # cells along a side of two boxes side by side, whose difference shows a step
STRIP_LENGTH_PX = 128  # of a stretch of a row or column
STRIP_WIDTHS_PX = (1, 4)
SAMPLE_SIZE = 300_000  # values from which robust standard deviations are estimated
CHANCE_DEVIATIONS = 3.0  # of a cell by counting: less does not belong to what a box has found
CLOSING_CELLS = 2  # gaps between suspects that are closed


@dataclass(frozen=True, eq=False)
class SuspectMasks:
    """Masks (h, w) on the host."""

    narrow: BoolArray  # up to about a dozen pixels wide
    broad: BoolArray  # wider


def find_suspects(kernels: Kernels, total: Array, deviation: Array, single: Array) -> SuspectMasks:
    """Suspects in ``total`` (h, w), gain-corrected counts, beside the ``single`` pixels (h, w) that are known.

    ``deviation``: (h, w) as from `defects.standing_pixels`. All arrays lie where the kernels work.
    """
    narrow = _clusters(kernels, deviation, single)
    cells = cell_map(kernels, total, single)
    unsuspected = cells.share
    if narrow.any():
        unsuspected = np.maximum(cells.share - sum_over_cells(narrow.astype(np.float32)) / CELL_PX**2, 0)
    broad_found = broad_cells(cells, unsuspected)
    broad = enlarged(broad_found, total.shape) if broad_found.any() else np.zeros(total.shape, bool)
    # last: what is short and strong would make long stretches differ
    _add_strips(kernels, deviation, narrow, broad)
    if broad.any():
        broad &= ~kernels.to_host(single) & ~narrow
    return SuspectMasks(narrow, broad)


def standing_out(
    difference: FloatArray, known: BoolArray | None = None, deviations: float = BAD_DEVIATIONS
) -> BoolArray:
    """Where differences (any shape) are further from their median than so many robust standard deviations.

    ``known``: what does not count for median and deviation.
    """
    used = difference if known is None else difference[~known]
    sample = used.ravel()[:: max(1, used.size // SAMPLE_SIZE)]
    if sample.size < 16:
        return np.zeros(difference.shape, bool)
    middle = np.median(sample)
    spread = 1.4826 * float(np.median(np.abs(sample - middle)))
    if spread == 0:
        return np.zeros(difference.shape, bool)
    return np.asarray(np.abs(difference - middle) > deviations * spread)


def _clusters(kernels: Kernels, deviation: Array, single: Array) -> BoolArray:
    """Pixels of 3 x 3 boxes whose mean stands out, (h, w) on the host."""
    xp = array_namespace(deviation)
    found = np.zeros(deviation.shape, bool)
    excluded, relative = single, deviation
    for _ in range(CLUSTER_PASSES):
        means = kernels.local_mean(relative, excluded, CLUSTER_SIDE_PX, 0.0)
        spread = robust_standard_deviation(kernels, means)
        if spread == 0:
            break
        outside = (xp.abs(means) > np.float32(BAD_DEVIATIONS * spread)) & ~excluded
        rows, columns = map(kernels.to_host, positions_in_mask(outside))
        if not len(rows):
            break
        grow_positions(found, rows, columns, CLUSTER_SIDE_PX // 2)
        excluded = single | kernels.to_device(found)
        relative = deviation - local_mean(kernels, deviation, excluded)
        relative[excluded] = 0
    return found


def grow_positions(mask: BoolArray, rows: IntArray, columns: IntArray, reach: int) -> None:
    """Set the pixels within ``reach`` along both axes of the positions (n,) in ``mask`` (h, w), in place."""
    height, width = mask.shape
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            mask[np.clip(rows + down, 0, height - 1), np.clip(columns + across, 0, width - 1)] = True


def _add_strips(kernels: Kernels, deviation: Array, narrow: BoolArray, broad: BoolArray) -> None:
    """Add pixels of stretches of rows and columns that differ from those beside them to ``narrow`` (h, w), in place.

    Lines that are largely ``narrow`` or ``broad`` (h, w) suspects already are left out.
    """
    xp = array_namespace(deviation)
    values = deviation
    if narrow.any() or broad.any():
        values = xp.where(kernels.to_device(narrow | broad), np.float32(0), deviation)
    height, width = deviation.shape
    stretch = min(STRIP_LENGTH_PX, height, width)
    down, across = height // stretch, width // stretch
    by_column = values[: down * stretch].reshape(down, stretch, width)
    by_row = values[:, : across * stretch].reshape(height, across, stretch)
    columns = standing_lines(kernels.to_host(xp.mean(by_column, axis=1)))
    rows = standing_lines(kernels.to_host(xp.mean(by_row, axis=2)).T)
    for lines, target, covered in ((columns, narrow, broad), (rows, narrow.T, broad.T)):
        for number, line in np.argwhere(lines):
            stop = len(target) if number == len(lines) - 1 else (number + 1) * stretch
            target[number * stretch : stop, line] |= ~covered[number * stretch : stop, line]


def standing_lines(means: FloatArray) -> BoolArray:
    """Which lines stand out, (stretches, n), by their means over each stretch (stretches, n); n lines side by side."""
    lines = np.zeros(means.shape, bool)
    for width in STRIP_WIDTHS_PX:
        outside = standing_out(ndimage.uniform_filter1d(means, width, axis=1, mode="mirror"))
        if width > 1 and outside.any():
            outside = ndimage.binary_dilation(outside, np.ones((1, width + 1), bool))
        lines |= outside
    return lines


def broad_cells(cells: CellMap, unsuspected_share: FloatArray) -> BoolArray:
    """Cells of what is wider than a few pixels; ``unsuspected_share``: share of pixels that are not suspect yet."""
    found = np.zeros(cells.mean.shape, bool)
    known = cells.share > 0.5
    level = float(np.median(cells.mean[known])) if known.any() else 0.0
    if level <= 0:
        return found
    relative = cells.mean / level
    chance = CHANCE_DEVIATIONS / (CELL_PX * np.sqrt(level))
    for side in BOX_SIDES:
        if SURROUNDINGS * side > min(relative.shape):
            continue
        for _ in range(2):
            more = _boxes_standing_out(relative, cells.share, unsuspected_share * ~found, side, found, chance)
            if not more.any():
                break
            found |= more
    found |= _steps(relative, unsuspected_share * ~found)
    if not found.any():
        return found
    closed = found | ndimage.binary_closing(found, iterations=CLOSING_CELLS)
    return np.asarray(ndimage.binary_dilation(closed))


def _boxes_standing_out(
    relative: FloatArray, share: FloatArray, weight: FloatArray, side: int, found: BoolArray, chance: float
) -> BoolArray:
    """Cells that are not ``found`` yet, of boxes of ``side`` cells that differ from their surroundings."""
    some_weight = np.maximum(share, 1e-3)
    inside = weighted_box_mean(relative, some_weight, side)
    around = weighted_box_mean(relative, weight, SURROUNDINGS * side)
    comparable = (share > 0) & (ndimage.uniform_filter(weight, SURROUNDINGS * side, mode="mirror") > 1e-6)
    outside = standing_out(np.where(comparable, inside - around, 0), found, BROAD_DEVIATIONS)
    if not outside.any():
        return outside
    grown = ndimage.binary_dilation(outside, iterations=side // 2) & ~found
    return np.asarray(grown & (np.abs(relative - around) > chance))


def _steps(relative: FloatArray, weight: FloatArray) -> BoolArray:
    """Cells where the means of two boxes side by side differ: edges of shadows and of wrongly scaled parts."""
    found = np.zeros(relative.shape, bool)
    if min(relative.shape) < SURROUNDINGS * STEP_SIDE:
        return found
    mean = weighted_box_mean(relative, np.maximum(weight, 1e-4), STEP_SIDE)
    half = (STEP_SIDE + 1) // 2
    for axis in (0, 1):
        index = np.arange(mean.shape[axis])
        ahead, behind = (np.take(mean, np.clip(index + step, 0, len(index) - 1), axis) for step in (half, -half))
        outside = standing_out(ahead - behind, deviations=BROAD_DEVIATIONS)
        if outside.any():
            found |= ndimage.binary_dilation(outside, np.ones((STEP_SIDE, 1) if axis == 0 else (1, STEP_SIDE), bool))
    return found


@dataclass(frozen=True, eq=False)
class Suspects:
    """Pixels of which motion decides whether they are the camera's. On the host."""

    shape: tuple[int, int]  # (h, w) of the frames
    rows: IntArray  # (n,) of narrow suspects and of a margin around them, row by row
    columns: IntArray  # (n,)
    is_core: BoolArray  # (n,) not the margin; the calibration of the survey fills these
    region: IntArray  # (n,) number of the connected region that a pixel belongs to, from 0
    values: FloatArray  # (t, n) float32 corrected counts less the local mean, noise of variance about one
    largest: FloatArray  # (regions,) largest corrected count in a frame, median of all frames
    impossible: BoolArray  # (regions,) what no specimen makes: one pixel wide, or bright with sharp edges
    broad: BoolArray  # (h, w) wider suspects; the calibration does not fill them
    unlit: BoolArray  # (h, w) outside the beam

    @property
    def region_count(self) -> int:
        return len(self.impossible)

    @property
    def constant(self) -> BoolArray:
        """Regions, (regions,), whose pixels do not change: they show no electrons."""
        if not len(self.rows):
            return np.zeros(0, bool)
        spread = np.ptp(self.values, axis=0)
        changing = np.bincount(self.region, spread > CONSTANT_SPREAD, self.region_count)
        size = np.bincount(self.region, minlength=self.region_count)
        return np.asarray((changing < 0.5 * size) & (len(self.values) >= MIN_FRAMES_FOR_CONSTANT))


CONSTANT_SPREAD = 0.3  # standard deviations between the largest and the smallest value of a constant pixel
MIN_FRAMES_FOR_CONSTANT = 3
BRIGHT = 1.0  # relative excess over the local mean: twice the light around
STRONG = 0.5  # of the largest excess of a region, from which on a pixel belongs to its core
WEAK_NEIGHBOUR = 0.3  # of the same: a neighbour below it makes a sharp edge


def connected_regions(rows: IntArray, columns: IntArray, width: int) -> IntArray:
    """Number, from 0, of the region of touching pixels that each of the pixels (n,), given row by row, belongs to.

    ``width``: of the frame.
    """
    if not len(rows):
        return np.zeros(0, int)
    flat = rows * width + columns
    firsts, seconds = [], []
    for step, moved_column in ((1, 1), (width - 1, -1), (width, 0), (width + 1, 1)):
        inside = (columns + moved_column >= 0) & (columns + moved_column < width)
        index = np.minimum(np.searchsorted(flat, flat + step), len(flat) - 1)
        touching = np.flatnonzero(inside & (flat[index] == flat + step))
        firsts.append(touching)
        seconds.append(index[touching])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    links = sparse.coo_matrix((np.ones(len(first), bool), (first, second)), shape=(len(flat), len(flat)))
    return np.asarray(csgraph.connected_components(links, directed=False)[1])


def impossible_regions(excess: FloatArray, beside: FloatArray, region: IntArray) -> BoolArray:
    """Regions, (regions,), that no specimen makes even if nothing moves.

    They have a core of one or two pixels, or are twice as bright as their surroundings, and have an edge that falls
    within one pixel. ``excess``: (n,) sum of the frames at each pixel relative to the local mean, less one;
    ``beside``: (4, n) the same of the four neighbours.
    """
    count = int(region.max()) + 1 if len(region) else 0
    magnitude = np.abs(excess)
    largest = np.zeros(count)
    np.maximum.at(largest, region, magnitude)
    brightest = np.full(count, -np.inf)
    np.maximum.at(brightest, region, excess)
    core = magnitude > STRONG * largest[region]
    core_size = np.bincount(region, core, count)
    weakest = np.abs(beside).min(0)
    sharp = np.bincount(region, core & (weakest < WEAK_NEIGHBOUR * largest[region]), count) > 0
    return np.asarray(sharp & ((core_size <= 2) | (brightest > BRIGHT)))
