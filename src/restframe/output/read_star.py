"""Motion that is read from RELION's STAR file of a movie (see `restframe.output.star` for what it means).

RELION's own program writes the polynomial in pixels of the binned image when it bins early, which it does unless told
otherwise; restframe's files give it in unbinned pixels, as all else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from restframe.arrays import FloatArray
from restframe.output.star import (
    COEFFICIENT_LABELS,
    FRAME_LABEL,
    GRID_POINTS,
    OWN_MARK,
    SHIFT_LABELS,
    UNUSED_SHIFT,
    polynomial_shifts,
)
from restframe.track.field import MotionField, modes_up_to

COEFFICIENT_COUNT = 36
POLYNOMIAL_DEGREE = 2  # of x and y together
WORD = re.compile(r"'[^']*'|\"[^\"]*\"|\S+")


@dataclass
class Block:
    """One data block: single values, or a table."""

    values: dict[str, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def columns(self, *labels: str) -> FloatArray:
        """Columns of numbers, (rows, labels). Raises ValueError where one is missing."""
        indices = [self.labels.index(label) for label in labels]
        return np.array([[float(row[index]) for index in indices] for row in self.rows], float).reshape(-1, len(labels))


@dataclass(frozen=True, eq=False)
class StarMotion:
    """The motion in a file, and the frames that it leaves out."""

    field: MotionField
    throw: int  # raw frames left out at the start and the end
    trunc: int
    has_local_motion: bool


def is_star_of_motion(text: str) -> bool:
    """Whether a text is a STAR file with the motion of a movie."""
    return "data_global_shift" in text


def parse_star_motion(text: str) -> StarMotion:
    """Raises ValueError, KeyError or IndexError for anything but a complete file."""
    blocks = parse_blocks(text)
    general = blocks["general"].values
    width, height = int(general["rlnImageSizeX"]), int(general["rlnImageSizeY"])
    grouping = int(float(general.get("rlnEERGrouping", 1)))
    rows = blocks["global_shift"].columns(FRAME_LABEL, *SHIFT_LABELS)
    shifts = rows[np.argsort(rows[:, 0]), 1:]
    used = np.flatnonzero(shifts[:, 0] != UNUSED_SHIFT)
    if not len(used) or not (np.diff(used) == 1).all():
        raise ValueError("the used frames do not follow one another")
    global_shifts = shifts[used]
    throw, trunc = grouping * int(used[0]), grouping * int(len(shifts) - 1 - used[-1])
    has_local_motion = int(float(general.get("rlnMotionModelVersion", 0))) == 1
    if not has_local_motion:
        return StarMotion(MotionField(((0, 0),), -global_shifts[None], (height, width)), throw, trunc, False)
    table = blocks["local_motion_model"].columns(*COEFFICIENT_LABELS)
    coefficients = table[np.argsort(table[:, 0]), 1]
    if len(coefficients) != COEFFICIENT_COUNT:
        raise ValueError(f"{len(coefficients)} coefficients of local motion instead of {COEFFICIENT_COUNT}")
    if not text.startswith(OWN_MARK):
        coefficients = coefficients * float(general.get("rlnMicrographBinning", 1))
    motion = field_of_polynomial(global_shifts, coefficients.reshape(2, -1), (height, width))
    return StarMotion(motion, throw, trunc, True)


def field_of_polynomial(global_shifts: FloatArray, coefficients: FloatArray, shape: tuple[int, int]) -> MotionField:
    """The field of global shifts (t, 2) and RELION's coefficients (2, 18); exact. ``shape``: (h, w)."""
    height, width = shape
    columns, rows = np.linspace(0, width - 1, GRID_POINTS), np.linspace(0, height - 1, GRID_POINTS)
    x, y = (coordinate.ravel() for coordinate in np.meshgrid(columns, rows))
    frame_count = len(global_shifts)
    shifts = polynomial_shifts(coefficients, x, y, shape, frame_count)  # (t, points, 2)
    modes = modes_up_to(POLYNOMIAL_DEGREE, POLYNOMIAL_DEGREE, POLYNOMIAL_DEGREE)
    empty_field = MotionField(modes, np.zeros((len(modes), 1, 2)), shape)
    values = empty_field.mode_values(x, y).T  # (points, modes)
    by_point = np.moveaxis(shifts, 1, 0).reshape(len(x), -1)
    amplitudes = -np.linalg.lstsq(values, by_point, rcond=None)[0].reshape(len(modes), frame_count, 2)
    amplitudes[0] -= global_shifts
    return MotionField(modes, amplitudes, shape)


def parse_blocks(text: str) -> dict[str, Block]:
    """The data blocks of a STAR file by name. Text over several lines is not read: RELION writes none."""
    blocks: dict[str, Block] = {}
    block, in_head = Block(), False
    for line in text.splitlines():
        words = [word.strip("'\"") for word in WORD.findall(line)]
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith("data_"):
            block, in_head = Block(), False
            blocks[words[0].removeprefix("data_")] = block
        elif words[0] == "loop_":
            in_head = True
        elif words[0].startswith("_") and in_head:
            block.labels.append(words[0][1:])
        elif words[0].startswith("_"):
            block.values[words[0][1:]] = _value_after_label(words)
        else:
            block.rows.append(words)
    return blocks


def _value_after_label(words: Sequence[str]) -> str:
    return words[1] if len(words) > 1 else ""
