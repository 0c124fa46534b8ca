"""Defects that the user lists: rectangles in a text file, or an image."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from restframe.arrays import AnyArray, BoolArray
from restframe.detector.orientation import SUPER_RESOLUTION_FACTORS
from restframe.detector.serialem import is_serialem_list, serialem_mask
from restframe.errors import DetectorError, InputError, ReferenceInputError
from restframe.files import why_unreadable
from restframe.messages import Setting
from restframe.movie import open_movie

MAX_SHOWN_CHARACTERS = 80  # of a wrong line


def read_defect_file(path: str | os.PathLike[str], shape: tuple[int, int]) -> BoolArray:
    """Mask (h, w) of the rectangles in a text file: ``x y w h`` per line, in pixels of the frame of ``shape`` (h, w).

    x and y count from 0 at the first pixel of the first row in memory. For TIFF movies that is the lower left corner of
    the image as it is displayed. Empty lines and what follows # are ignored. Parts outside the frame are ignored.
    A list of SerialEM (`restframe.detector.serialem`) is read, too.
    Raises `InputError` for a file that cannot be read, `DetectorError` for a line that is no rectangle.
    """
    text = _text_of(Path(path))
    if is_serialem_list(text):
        return serialem_mask(text, shape, SUPER_RESOLUTION_FACTORS, lambda number: _where(path, number))
    mask = np.zeros(shape, bool)
    for x, y, width, height in _rectangles(text, path):
        mask[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = True
    return mask


def read_defect_map(
    source: str | os.PathLike[str] | AnyArray, shape: tuple[int, int], enlargements: tuple[int, ...]
) -> BoolArray:
    """Mask (h, w) of the pixels with odd values (bit 0) in an image; ``shape``: (h, w) of the frames.

    ``source``: an array or an MRC file as it is, or a TIFF file, rows reversed. A map of the physical pixels of a
    super-resolution movie is enlarged by one of ``enlargements``.
    Raises `InputError` for a file that cannot be read, `DetectorError` for a wrong size or values that are no integers.
    """
    name = "The defect map" + ("" if isinstance(source, np.ndarray) else f" {source}")
    if isinstance(source, np.ndarray):
        image = source
    else:
        try:
            image = open_movie(Path(source)).read(0)
        except InputError as error:
            raise ReferenceInputError(f"Defect map: {error}") from error
    fitting = (factor for factor in (1, *enlargements) if tuple(length * factor for length in image.shape) == shape)
    factor = next(fitting, 0)
    if not factor:
        map_size = " x ".join(map(str, image.shape[::-1]))
        raise DetectorError(
            f"{name} is {map_size} pixels, the movie's frames are {shape[1]} x {shape[0]} (x, y). It is not turned "
            "with the gain: give a map of the frames as they are."
        )
    if image.dtype.kind == "f" and not np.array_equal(image, np.floor(image)):
        raise DetectorError(f"{name} has values that are no integers; expected 1 where a pixel is bad, else 0.")
    if not np.isfinite(image).all() or abs(image).max(initial=0) > 2**31:
        raise DetectorError(f"{name} has values that are no integers; expected 1 where a pixel is bad, else 0.")
    odd = (image.astype(np.int64) & 1).astype(bool)
    return odd.repeat(factor, 0).repeat(factor, 1)


def _text_of(path: Path) -> str:
    if kind := why_unreadable(path):
        raise ReferenceInputError(f"Defect file {path} is {kind}. Only regular files are read.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ReferenceInputError(
            f"Defect file {path} cannot be read: {reason}. An image of defects is a ", Setting("defect_map"), "."
        ) from error


def _where(path: str | os.PathLike[str], line_number: int) -> str:
    """Names a line in a message; line 0 is the file as a whole."""
    return f"Defect file {os.fspath(path)}" + (f", line {line_number}" if line_number else "")


def _rectangles(text: str, path: str | os.PathLike[str]) -> list[tuple[int, ...]]:
    """x, y, width and height of each line."""
    rectangles = []
    for number, line in enumerate(text.splitlines(), 1):
        words = re.split(r"[,\s]+", line.partition("#")[0].strip())
        if words == [""]:
            continue
        integers = [int(float(word)) for word in words if re.fullmatch(r"[+-]?\d{1,9}(\.0*)?", word)]
        if len(integers) != len(words) or len(words) != 4 or min(integers[2:]) < 1:
            raise DetectorError(
                f"{_where(path, number)}: found {line.strip()[:MAX_SHOWN_CHARACTERS]!r}, expected four integers x y w "
                "h, w and h 1 or more. Correct the line or take it out."
            )
        rectangles.append(tuple(integers))
    return rectangles
