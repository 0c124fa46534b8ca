"""What Thermo Fisher's .gain files tell beside the gain: the camera's known defects, as XML in a TIFF tag."""

from __future__ import annotations

import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from restframe.errors import DetectorError
from restframe.movie.sniff import TIFF_MAGIC

TAG = 65100


def listed_in_gain(path: str | os.PathLike[str], shape: tuple[int, int]) -> np.ndarray | None:
    """Mask (h, w) of the defects that a gain file of ``shape`` lists, its rows turned round as the gain's are; None if
    it has no such list.

    Items: ``point`` x,y; ``area`` left,top,right,bottom; ``col`` and ``row`` first-last or one number; ends included.
    Raises `DetectorError` for a list that can't be understood.
    """
    with open(path, "rb") as file:
        if file.read(4) not in TIFF_MAGIC:
            return None
    with tifffile.TiffFile(path) as tiff:
        text = tiff.pages.first.tags.valueof(TAG)
    if text is None:
        return None
    try:
        items = list(ElementTree.fromstring(text).iter())
    except (ElementTree.ParseError, TypeError, ValueError) as error:
        raise DetectorError(f"{path}: its list of defects, tag {TAG}, is no XML ({error}).") from error
    mask = np.zeros(shape, bool)
    for item in items:
        if item.tag in ("point", "area", "col", "row"):
            left, top, right, bottom = _box(path, item.tag, item.text or "", shape)
            mask[top : bottom + 1, left : right + 1] = True
    return mask[::-1]


def _box(path: str | os.PathLike[str], kind: str, text: str, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """x and y of the first and the last pixel."""
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    h, w = shape
    if kind == "point" and len(numbers) == 2:
        return numbers[0], numbers[1], numbers[0], numbers[1]
    if kind == "area" and len(numbers) == 4:
        return numbers[0], numbers[1], numbers[2], numbers[3]
    if kind == "col" and len(numbers) in (1, 2):
        return numbers[0], 0, numbers[-1], h - 1
    if kind == "row" and len(numbers) in (1, 2):
        return 0, numbers[0], w - 1, numbers[-1]
    raise DetectorError(f"{Path(path)}: its list of defects, tag {TAG}, has a {kind} that is {text!r}.")
