"""The part of the text on stdout that other programs read."""

from __future__ import annotations

import numpy as np

from restframe.arrays import FloatArray
from restframe.messages import Message, Setting
from restframe.movie import Movie


def shift_table(shifts: FloatArray) -> list[str]:
    """The table of global shifts (t, 2), x and y in unbinned pixels, frames counted from 1.

    The text of MotionCor2 <= 1.5. RELION, Appion and others read the rows right after the phrase up to the empty line,
    so nothing may be printed in between, and the phrase nowhere else.
    """
    rows = [
        f"...... Frame ({frame:3d}) shift: {x:9.3f}  {y:9.3f}" for frame, (x, y) in enumerate(rounded(shifts, 3), 1)
    ]
    return ["", "Full-frame alignment shift", *rows, ""]


def movie_lines(movie: Movie, kind: str, eer_sampling: int = 1) -> list[str]:
    """What a movie is, and where it is not of the ``kind`` that the user says."""
    frame_count, height, width = movie.shape
    lines = [f"Movie: {movie.format.upper()}, {width} x {height} pixels, {frame_count} frames, {movie.dtype}"]
    if movie.format != kind:
        lines.append(f"Warning: {movie.path} was given as {kind.upper()}; it is read as what it is.")
    if movie.format != "eer" and eer_sampling > 1:
        sampling = Setting("eer_sampling", eer_sampling)
        lines.append(Message("Note: ", sampling, f" has no effect on a {movie.format.upper()} movie."))
    return lines


def rounded(values: FloatArray, digits: int) -> FloatArray:
    """Rounded for printing, without negative zeros."""
    without_negative_zeros: FloatArray = np.round(np.asarray(values, float), digits) + 0.0
    return without_negative_zeros
