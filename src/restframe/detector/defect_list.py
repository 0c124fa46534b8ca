"""Bad pixels as people and defect files list them: connected regions, their kinds, and rectangles that cover them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from restframe.arrays import IntArray
from restframe.detector.suspects import connected_regions

SINGLE_PIXELS = 2  # pixels of a region, at most
CLUSTER_SIDE_PX = 16  # the longer side of a cluster, at most
BAND_LENGTH_PX = 64  # a band is at least so long, and many times longer than wide
BAND_RATIO = 4
LARGEST_LISTED = 3
KINDS = ("single pixel", "cluster", "band", "block")


class DefectRegion(NamedTuple):
    """Bad pixels that touch."""

    kind: str  # one of `KINDS`
    x: int  # first column of the rectangle around it
    y: int
    width: int
    height: int
    pixels: int


def defect_regions(positions: IntArray, shape: tuple[int, int]) -> list[DefectRegion]:
    """The regions of bad pixels (n, 2) x, y, given row by row, in a frame (h, w), the largest first."""
    if not len(positions):
        return []
    columns, rows = positions.T
    region = connected_regions(rows, columns, shape[1])
    count = int(region.max()) + 1
    sizes = np.bincount(region, minlength=count)
    first_x, first_y = (np.full(count, length) for length in shape[::-1])
    last_x, last_y = np.zeros((2, count), int)
    for place, first, last in ((columns, first_x, last_x), (rows, first_y, last_y)):
        np.minimum.at(first, region, place)
        np.maximum.at(last, region, place)
    widths, heights = last_x - first_x + 1, last_y - first_y + 1
    regions = [
        DefectRegion(_kind(width, height, pixels), x, y, width, height, pixels)
        for x, y, width, height, pixels in np.stack([first_x, first_y, widths, heights, sizes], 1).tolist()
    ]
    return sorted(regions, key=lambda region: (-region.pixels, region.y, region.x))


def _kind(width: int, height: int, pixels: int) -> str:
    shorter, longer = sorted((width, height))
    if pixels <= SINGLE_PIXELS:
        return "single pixel"
    if longer <= CLUSTER_SIDE_PX:
        return "cluster"
    if longer >= BAND_LENGTH_PX and longer >= BAND_RATIO * shorter:
        return "band"
    return "block"


def defect_sentence(regions: Sequence[DefectRegion]) -> str:
    """Number and kinds of the regions and the largest ones, for people; empty where there are none."""
    if not regions:
        return ""
    counts = Counter(region.kind for region in regions)
    kinds = ", ".join(f"{counts[kind]} {kind}{'s' if counts[kind] != 1 else ''}" for kind in KINDS if counts[kind])
    large = [region for region in regions if region.kind != "single pixel"][:LARGEST_LISTED]
    listed = "; ".join(f"{one.x} {one.y} {one.width} {one.height}" for one in large)
    return f"Defects: {kinds}." + (f" Largest (x y w h): {listed}" if listed else "")


def defect_file_text(positions: IntArray, shape: tuple[int, int]) -> str:
    """Bad pixels (n, 2) x, y of a frame (h, w) as a text for -DefectFile: rectangles ``x y w h`` that cover them and
    nothing else.

    Runs of a row are extended downwards over rows with the same run.
    """
    mask = np.zeros((shape[0] + 1, shape[1] + 2), bool)
    mask[positions[:, 1], positions[:, 0] + 1] = True
    open_runs: dict[tuple[int, int], int] = {}
    lines = ["# x y w h of the bad pixels that were found"]
    for row in range(shape[0] + 1):
        if not open_runs and not mask[row].any():
            continue
        starts, stops = (np.flatnonzero(np.diff(mask[row].astype(np.int8)) == sign) for sign in (1, -1))
        runs = set(zip(starts.tolist(), stops.tolist(), strict=True))
        for run in sorted(set(open_runs) - runs):
            first = open_runs.pop(run)
            lines.append(f"{run[0]} {first} {run[1] - run[0]} {row - first}")
        for run in runs - set(open_runs):
            open_runs[run] = row
    return "\n".join(lines) + "\n"
