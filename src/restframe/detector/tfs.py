"""The list of known defects in Thermo Fisher's .gain files: XML in a TIFF tag."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from restframe.arrays import BoolArray
from restframe.errors import DetectorError
from restframe.movie.formats import TIFF_MAGIC

DEFECTS_TAG = 65100


def listed_in_gain(path: str | os.PathLike[str], shape: tuple[int, int]) -> BoolArray | None:
    """Mask (h, w) of the defects that a gain file of ``shape`` (h, w) lists; None where it has no such list.

    The rows of the mask are reversed, as those of the gain are. The items of the list are ``point`` x,y; ``area``
    left,top,right,bottom; ``col`` and ``row`` first-last or one number. Last pixels are included.
    Raises `DetectorError` for a list that cannot be understood.
    """
    with open(path, "rb") as file:
        if file.read(4) not in TIFF_MAGIC:
            return None
    with tifffile.TiffFile(path) as tiff:
        text = tiff.pages.first.tags.valueof(DEFECTS_TAG)
    if text is None:
        return None
    try:
        items = list(ElementTree.fromstring(text).iter())
    except (ElementTree.ParseError, TypeError, ValueError, LookupError) as error:  # LookupError: unknown encoding
        raise DetectorError(f"{path}: its list of defects, tag {DEFECTS_TAG}, is no XML ({error}).") from error
    mask = np.zeros(shape, bool)
    for item in items:
        if item.tag in ("point", "area", "col", "row"):
            left, top, right, bottom = _box(path, item.tag, item.text or "", shape)
            mask[top : bottom + 1, left : right + 1] = True
    return mask[::-1]


def _box(path: str | os.PathLike[str], kind: str, text: str, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """x and y of the first and of the last pixel of an item of this ``kind``."""
    words = re.findall(r"[\w.+]+", text)
    numbers = [int(word) for word in words if re.fullmatch(r"[0-9]{1,9}", word)]
    height, width = shape
    if len(numbers) != len(words):
        numbers = []
    if kind == "point" and len(numbers) == 2:
        return numbers[0], numbers[1], numbers[0], numbers[1]
    if kind == "area" and len(numbers) == 4:
        return numbers[0], numbers[1], numbers[2], numbers[3]
    if kind == "col" and len(numbers) in (1, 2):
        return numbers[0], 0, numbers[-1], height - 1
    if kind == "row" and len(numbers) in (1, 2):
        return 0, numbers[0], width - 1, numbers[-1]
    raise DetectorError(f"{Path(path)}: its list of defects, tag {DEFECTS_TAG}, has a {kind} that is {text[:80]!r}.")
