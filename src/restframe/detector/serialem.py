"""Lists of camera defects as SerialEM and IMOD write them: a word and numbers per line.

    CameraSizeX 1024             size of the camera in pixels, for the coordinates below
    CameraSizeY 1024
    WasScaled 0                  above 0: the list was scaled up, each listed pixel is 2 x 2 (4 x 4 where it is 2)
    UsableArea 0 0 1023 1023     top left bottom right, the last pixels included; four zeros: everything
    BadColumns 12 13 700         whole columns
    BadRows 5                    whole rows
    PartialBadColumn 70 2 10 50  first column, number of columns, first and last row
    PartialBadRow 40 1 0 99      first row, number of rows, first and last column
    BadPixels 5 7 60 61          x y x y ...

x counts from the left, y from the top of the image as it is displayed, both from 0. Source of the format: comments and
parser of IMOD's CorrectDefects module (University of Colorado), read for its facts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from restframe.arrays import BoolArray
from restframe.errors import DetectorError

Numbers: TypeAlias = tuple[int, ...]

SIZE_WORDS = ("CameraSizeX", "CameraSizeY")
OTHER_WORDS = ("RotationAndFlip", "K2Type", "FalconType", "NumToAvgSuperRes", "WasScaled")
COUNTS_OF_NUMBERS = {"UsableArea": 4, "PartialBadColumn": 4, "PartialBadRow": 4, "BadPixels": 2}
DEFECT_WORDS = (*COUNTS_OF_NUMBERS, "BadColumns", "BadRows")
WORDS = {word.lower(): word for word in (*SIZE_WORDS, *OTHER_WORDS, *DEFECT_WORDS)}


def is_serialem_list(text: str) -> bool:
    """Whether the first line that is no comment begins with one of the words above."""
    lines = (line.split("#")[0].split() for line in text.splitlines())
    words = next((words for words in lines if words), [])
    return bool(words) and words[0].lower() in WORDS


def serialem_mask(
    text: str, shape: tuple[int, int], enlargements: tuple[int, ...], where: Callable[[int], str]
) -> BoolArray:
    """Mask (h, w) of the defects that a list names, the bottom row of the displayed image first; ``shape``: (h, w).

    A list for the physical pixels of a super-resolution movie is enlarged by one of ``enlargements``. Frames smaller
    than the camera are its central part. ``where(line_number)`` names a line in messages. Raises `DetectorError` for a
    line that cannot be understood and for a camera of another size.
    """
    entries = [
        _entry(words, where(line_number))
        for line_number, line in enumerate(text.splitlines(), 1)
        if (words := line.split("#")[0].split())
    ]
    values = {word: numbers for word, numbers in entries if word in (*SIZE_WORDS, *OTHER_WORDS)}
    width, height = (values.get(word, (0,))[0] for word in SIZE_WORDS)
    enlargement = next(
        (n for n in (1, *enlargements) if (n * (height or shape[0] // n), n * (width or shape[1] // n)) == shape), 1
    )
    camera_height, camera_width = height or shape[0], width or shape[1]
    if shape[0] > enlargement * camera_height or shape[1] > enlargement * camera_width:
        raise DetectorError(
            f"{where(0)} is for a camera of {camera_width} x {camera_height} pixels, the movie's frames are "
            f"{shape[1]} x {shape[0]} (x, y). Give the list of this camera."
        )
    if max(camera_height, camera_width) > 65535:
        raise DetectorError(
            f"{where(0)} is for a camera of {camera_width} x {camera_height} pixels, which do not exist."
        )
    camera = np.zeros((camera_height, camera_width), bool)
    scaled = values.get("WasScaled", (0,))[0]
    pixel_side = 1 if scaled < 1 else 2 if scaled == 1 else 4
    for word, numbers in entries:
        _mark(camera, word, numbers, pixel_side)
    frame = camera[::-1].repeat(enlargement, 0).repeat(enlargement, 1)
    top, left = ((length - frame_length) // 2 for length, frame_length in zip(frame.shape, shape, strict=True))
    return np.ascontiguousarray(frame[top : top + shape[0], left : left + shape[1]])


def _entry(words: list[str], where: str) -> tuple[str, Numbers]:
    """The word of a line, as it is usually written, and its numbers. Raises `DetectorError`."""
    word = WORDS.get(words[0].lower())
    numbers = tuple(int(text) for text in words[1:] if len(text) < 10 and text.lstrip("+-").isdecimal())
    if word is None or len(numbers) != len(words) - 1 or not numbers:
        raise DetectorError(
            f"{where}: found {' '.join(words)[:80]!r}, expected a word of SerialEM's defect lists and integers."
        )
    count = COUNTS_OF_NUMBERS.get(word, 1)
    if (len(numbers) % 2 if word == "BadPixels" else len(numbers) < count) or (
        word != "WasScaled" and word not in OTHER_WORDS and min(numbers) < 0
    ):
        raise DetectorError(f"{where}: found {' '.join(words)[:80]!r}, expected {count} or more numbers, 0 or above.")
    return word, numbers


def _mark(camera: BoolArray, word: str, numbers: Numbers, pixel_side: int) -> None:
    """Mark the pixels of one line in ``camera`` (h, w), the top row first. What lies outside is ignored."""
    if word == "BadColumns":
        for column in numbers:
            camera[:, column : column + 1] = True
    elif word == "BadRows":
        for row in numbers:
            camera[row : row + 1] = True
    elif word == "BadPixels":
        for x, y in zip(numbers[::2], numbers[1::2], strict=True):
            camera[y : y + pixel_side, x : x + pixel_side] = True
    elif word == "PartialBadColumn":
        column, column_count, first_row, last_row = numbers[:4]
        camera[first_row : last_row + 1, column : column + column_count] = True
    elif word == "PartialBadRow":
        row, row_count, first_column, last_column = numbers[:4]
        camera[row : row + row_count, first_column : last_column + 1] = True
    elif word == "UsableArea" and any(numbers[:4]):
        top, left, bottom, right = numbers[:4]
        usable = np.zeros_like(camera)
        usable[top : (bottom or camera.shape[0]) + 1, left : (right or camera.shape[1]) + 1] = True
        camera |= ~usable
