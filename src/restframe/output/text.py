"""The part of the text on stdout that other programs read."""

from __future__ import annotations

import numpy as np


def shift_table(shifts: np.ndarray) -> list[str]:
    """The table of whole-frame shifts (t, 2), x and y in unbinned pixels, frames counted from 1.

    The text of MotionCor2 <= 1.5. RELION, Appion and others read the rows right after the phrase up to the empty line,
    so nothing may be printed in between, and the phrase nowhere else.
    """
    rows = [f"...... Frame ({i:3d}) shift: {x:9.3f}  {y:9.3f}" for i, (x, y) in enumerate(rounded(shifts, 3), 1)]
    return ["", "Full-frame alignment shift", *rows, ""]


def rounded(values: np.ndarray, digits: int) -> np.ndarray:
    """Rounded for printing, without negative zeros."""
    return np.round(np.asarray(values, float), digits) + 0.0
