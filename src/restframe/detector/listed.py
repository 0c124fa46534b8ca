"""Defects that the user knows of: rectangles in a text file, or an image."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from restframe.errors import DetectorError, InputError, ReferenceInputError
from restframe.messages import Setting
from restframe.movie import open_movie

Source = str | os.PathLike[str] | np.ndarray


def defect_file(path: str | os.PathLike[str], shape: tuple[int, int]) -> np.ndarray:
    """Mask (h, w) of the rectangles in a text file: ``x y w h`` a line, in pixels of the frame, ``shape`` (h, w).

    x, y from 0 at the first pixel of the first row in memory order: for TIFF movies that is the lower left corner, as
    pictures are looked at. Empty lines and what follows # are left out. Parts off the frame are cut off.
    Raises `InputError` for a file that can't be read, `DetectorError` for a line that is no rectangle.
    """
    mask = np.zeros(shape, bool)
    for x, y, w, h in _rectangles(Path(path)):
        mask[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = True
    return mask


def defect_map(source: Source, shape: tuple[int, int], enlargements: tuple[int, ...]) -> np.ndarray:
    """Mask (h, w) of the odd values (bit 0) of an image: an array or an MRC file as it lies, a TIFF with its rows
    turned round. A map of the physical pixels of a super-resolution movie is enlarged.

    Raises `InputError` for a file that can't be read, `DetectorError` for a wrong size or values that are no integers.
    """
    name = "The defect map" + ("" if isinstance(source, np.ndarray) else f" {source}")
    if isinstance(source, np.ndarray):
        image = source
    else:
        try:
            image = open_movie(Path(source)).read(0)
        except InputError as error:
            raise ReferenceInputError(f"Defect map: {error}") from error
    factor = next((n for n in (1, *enlargements) if tuple(s * n for s in image.shape) == shape), 0)
    if not factor:
        found = " x ".join(map(str, image.shape[::-1]))
        raise DetectorError(
            f"{name} is {found} pixels, the movie's frames are {shape[1]} x {shape[0]} (x, y). It is not turned with "
            "the gain: give a map of the frames as they are."
        )
    if image.dtype.kind == "f" and not np.array_equal(image, np.floor(image)):
        raise DetectorError(f"{name} has values that are no integers; expected 1 where a pixel is bad, else 0.")
    return (image.astype(np.int64) & 1).astype(bool).repeat(factor, 0).repeat(factor, 1)


def _rectangles(path: Path) -> list[tuple[int, ...]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ReferenceInputError(
            f"Defect file {path} cannot be read: {reason}. An image of defects is a ", Setting("defect_map"), "."
        ) from error
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        words = re.split(r"[,\s]+", line.partition("#")[0].strip())
        if words == [""]:
            continue
        integers = [int(float(w)) for w in words if re.fullmatch(r"[+-]?\d+(\.0*)?", w)]
        if len(integers) != len(words) or len(words) != 4 or min(integers[2:]) < 1:
            raise DetectorError(
                f"Defect file {path}, line {number}: found {line.strip()!r}, expected four integers x y w h, "
                "w and h 1 or more. Correct the line or take it out."
            )
        out.append(tuple(integers))
    return out
