"""Log files of the motion, as MotionCor2 and MotionCor3 write them.

Shifts in unbinned pixels, minus the motion field, relative to the first used frame; frames counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from restframe.arrays import FloatArray
from restframe.output.text import rounded
from restframe.result import PatchShifts, Result

COLUMNS_WITH_FLAG = 6  # frame x y fit fit flag, as MotionCor3 writes them
COLUMNS_WITH_RAW_SHIFTS = 7  # frame x y raw raw fit fit, as MotionCor2 writes them


def log_files(result: Result, base: str, *, patch_mode: bool, columns: int) -> dict[Path, str]:
    """Names and text of a movie's logs.

    ``base`` begins the names (see output.names). ``patch_mode``: local motion was asked for; programs expect the names
    that follow from that, whatever was measured. ``columns`` in the logs of patches: 7 (for -LogFile) or 6 (for
    -LogDir).
    """
    global_rows = _global_rows(result.global_shifts)
    if not patch_mode:
        return {Path(f"{base}-Full.log"): _text(["# full frame alignment", *global_rows])}
    title = ["# Patch based alignment", "# Initial alignment based upon full frames", ""]
    patches = result.patches if result.patches is not None else _no_patches(len(result.global_shifts))
    shape = result.movie_shape
    by_patch = [*_head(patches, shape, "patch"), *_by_patch(patches, columns)]
    by_frame = [*_head(patches, shape, "frame"), *_by_frame(patches, columns)]
    return {
        Path(f"{base}-Patch-Full.log"): _text([*title, *global_rows]),
        Path(f"{base}-Patch-Patch.log"): _text(by_patch),
        Path(f"{base}-Patch-Frame.log"): _text(by_frame),
    }


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _global_rows(shifts: FloatArray) -> list[str]:
    return [f"{frame:4d}  {x:8.2f}  {y:8.2f}" for frame, (x, y) in enumerate(rounded(shifts, 2), 1)]


def _head(patches: PatchShifts, shape: tuple[int, int, int], order: str) -> list[str]:
    frame_count, height, width = shape
    return [
        "# Patch based alignment",
        f"# Number of patches: {len(patches.centres)}",
        f"# Shifts are listed per {order}.",
        f"# Movie size: {width}  {height}  {frame_count}",
        "",
    ]


def _by_patch(patches: PatchShifts, columns: int) -> Iterator[str]:
    for number, patch_rows in enumerate(_rows(patches, columns), 1):
        yield f"#Patch {number:03d} raw and fit shifts"
        yield from patch_rows
        yield ""


def _by_frame(patches: PatchShifts, columns: int) -> Iterator[str]:
    for frame_rows in zip(*_rows(patches, columns), strict=True):
        yield from frame_rows
        yield ""


def _rows(patches: PatchShifts, columns: int) -> list[list[str]]:
    """One row for each patch and frame: [patch][frame]."""
    if columns not in (COLUMNS_WITH_FLAG, COLUMNS_WITH_RAW_SHIFTS):
        raise ValueError(f"columns is {columns}; patch logs have {COLUMNS_WITH_FLAG} or {COLUMNS_WITH_RAW_SHIFTS}")
    raw, fitted = rounded(patches.raw, 2), rounded(patches.fitted, 2)
    patch_count, frame_count = fitted.shape[:2]

    def row(patch: int, frame: int) -> str:
        (x, y), (fitted_x, fitted_y) = patches.centres[patch], fitted[patch, frame]
        place = f"{frame + 1:4d} {x:8.2f} {y:8.2f}"
        fitted_shift = f"{fitted_x:8.2f} {fitted_y:8.2f}"
        if columns == COLUMNS_WITH_FLAG:
            return f"{place} {fitted_shift} {int(patches.weak[patch, frame]):4d}"
        raw_x, raw_y = raw[patch, frame]
        return f"{place} {raw_x:8.2f} {raw_y:8.2f} {fitted_shift}"

    return [[row(patch, frame) for frame in range(frame_count)] for patch in range(patch_count)]


def _no_patches(frame_count: int) -> PatchShifts:
    no_shifts = np.zeros((0, frame_count, 2))
    return PatchShifts(np.zeros((0, 2)), no_shifts, no_shifts, np.zeros((0, frame_count), bool))
