"""Log files of the motion, as MotionCor2 and MotionCor3 write them.

Shifts in unbinned pixels, minus the motion field, relative to the first used frame; frames counted from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from restframe.output.text import rounded
from restframe.result import PatchShifts, Result


def log_files(result: Result, base: str, *, patch_mode: bool, columns: int) -> dict[Path, str]:
    """Names and text of a movie's logs.

    ``base`` begins the names (see output.names). ``patch_mode``: local motion was asked for; callers expect the names
    that follow from that, whatever was found. ``columns`` in the logs of patches: 7 (frame x y raw raw fit fit, for
    -LogFile) or 6 (frame x y fit fit flag, for -LogDir).
    """
    if not patch_mode:
        return {Path(f"{base}-Full.log"): _text(["# full frame alignment", *_global_rows(result.global_shifts)])}
    head = ["# Patch based alignment", "# Initial alignment based upon full frames", ""]
    patches = result.patches if result.patches is not None else _no_patches(len(result.global_shifts))
    shape = result.movie_shape
    return {
        Path(f"{base}-Patch-Full.log"): _text([*head, *_global_rows(result.global_shifts)]),
        Path(f"{base}-Patch-Patch.log"): _text([*_head(patches, shape, "patch"), *_by_patch(patches, columns)]),
        Path(f"{base}-Patch-Frame.log"): _text([*_head(patches, shape, "frame"), *_by_frame(patches, columns)]),
    }


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _global_rows(shifts: np.ndarray) -> list[str]:
    return [f"{i:4d}  {x:8.2f}  {y:8.2f}" for i, (x, y) in enumerate(rounded(shifts, 2), 1)]


def _head(patches: PatchShifts, shape: tuple[int, int, int], what: str) -> list[str]:
    t, h, w = shape
    return [
        "# Patch based alignment",
        f"# Number of patches: {len(patches.centres)}",
        f"# Shifts are listed per {what}.",
        f"# Movie size: {w}  {h}  {t}",
        "",
    ]


def _by_patch(patches: PatchShifts, columns: int) -> Iterator[str]:
    rows = _rows(patches, columns)
    for number, patch in enumerate(rows, 1):
        yield f"#Patch {number:03d} raw and fit shifts"
        yield from patch
        yield ""


def _by_frame(patches: PatchShifts, columns: int) -> Iterator[str]:
    for frame in zip(*_rows(patches, columns), strict=True):
        yield from frame
        yield ""


def _rows(patches: PatchShifts, columns: int) -> list[list[str]]:
    """One row a patch and frame: [p][t]."""
    if columns not in (6, 7):
        raise ValueError(f"columns is {columns}; patch logs have 6 or 7")
    raw, fitted = rounded(patches.raw, 2), rounded(patches.fitted, 2)

    def row(p: int, t: int) -> str:
        (x, y), (fx, fy) = patches.centres[p], fitted[p, t]
        if columns == 6:
            return f"{t + 1:4d} {x:8.2f} {y:8.2f} {fx:8.2f} {fy:8.2f} {int(patches.weak[p, t]):4d}"
        rx, ry = raw[p, t]
        return f"{t + 1:4d} {x:8.2f} {y:8.2f} {rx:8.2f} {ry:8.2f} {fx:8.2f} {fy:8.2f}"

    return [[row(p, t) for t in range(fitted.shape[1])] for p in range(len(patches.centres))]


def _no_patches(frames: int) -> PatchShifts:
    none = np.zeros((0, frames, 2))
    return PatchShifts(np.zeros((0, 2)), none, none, np.zeros((0, frames), bool))
