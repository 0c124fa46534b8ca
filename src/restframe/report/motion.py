"""Motion of a record: the field at places, and errors of lengths of paths."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.legendre import legvander

from restframe.arrays import FloatArray
from restframe.output.motion_summary import EARLY_DOSE
from restframe.report.records import Record

ARROWS_ALONG_SIDE = 7  # along the longer side of a frame
TOTAL_FRACTIONS = 0.02, 0.05, 0.1, 0.2, 0.5  # of the short side, that a magnified arrow may take at most


@dataclass(frozen=True, eq=False)
class LocalMotion:
    """Local motion from the first to the last used frame at places of a grid, in unbinned pixels."""

    x: FloatArray  # (places,)
    y: FloatArray
    paths: FloatArray  # (places, t, 2) displacement of the specimen relative to the first used frame, without the
    # global one


def local_motion(record: Record) -> LocalMotion | None:
    """None where the record holds no field, or only global motion."""
    field = record.value("motion.field")
    if not isinstance(field, dict) or len(field["modes"]) < 2:
        return None
    height, width = field["shape"]
    amplitudes = np.array(field["amplitudes"], float)  # (modes, t, 2)
    along_x, along_y = arrow_counts(width, height)
    columns = (np.arange(along_x) + 0.5) * width / along_x - 0.5
    rows = (np.arange(along_y) + 0.5) * height / along_y - 0.5
    x, y = (coordinate.ravel() for coordinate in np.meshgrid(columns, rows))
    highest_degree = max(max(mode) for mode in field["modes"])
    values_x = legvander((2 * x + 1) / width - 1, highest_degree)
    values_y = legvander((2 * y + 1) / height - 1, highest_degree)
    values = np.stack([values_x[:, degree_x] * values_y[:, degree_y] for degree_x, degree_y in field["modes"]])
    local = np.einsum("mtc,mp->ptc", amplitudes[1:], values[1:])
    return LocalMotion(x, y, local - local[:, :1])


def arrow_counts(width: int, height: int) -> tuple[int, int]:
    """How many arrows are drawn along x and y."""
    longest = max(width, height)
    columns, rows = (max(round(ARROWS_ALONG_SIDE * side / longest), 1) for side in (width, height))
    return columns, rows


def path_length_errors(shifts: FloatArray, is_early: list[bool], error_px: float) -> tuple[float, float, float]:
    """Standard deviations of the length of a path, of its early and of its late part, in pixels.

    ``shifts``: (t, 2). ``is_early``: for each of the t - 1 steps. ``error_px``: standard deviation of each position,
    both axes together. To first order: a position moves the length by the difference of the unit vectors of the steps
    before and after it, so only the ends count on a straight path.
    """
    steps = np.diff(shifts, axis=0)
    lengths = np.hypot(*steps.T)[:, None]
    directions = np.divide(steps, lengths, out=np.zeros_like(steps), where=lengths > 0)

    def error_of(chosen: FloatArray) -> float:
        slopes = -np.diff(directions * chosen[:, None], axis=0, prepend=0, append=0)
        return float(error_px / math.sqrt(2) * np.sqrt((slopes**2).sum()))

    early = np.array(is_early, float)
    return error_of(np.ones(len(steps))), error_of(early), error_of(1 - early)


def motion_errors(record: Record) -> tuple[float | None, float | None, float | None]:
    """Errors of total, early and late motion, in A; None where they are unknown."""
    shifts = np.array(record.value("motion.global_shifts_px") or [], float)
    error_px, pixel_size = record.number("motion.stated_error_px"), record.number("motion.pixel_size")
    if len(shifts) < 2 or error_px is None or pixel_size is None:
        return None, None, None
    dose = record.numbers("frames.accumulated_dose")
    is_early = [one <= EARLY_DOSE * (1 + 1e-9) for one in dose[1:]] or [False] * (len(shifts) - 1)
    total, early, late = (pixel_size * error for error in path_length_errors(shifts, is_early, error_px))
    return (total, early, late) if dose else (total, None, None)
