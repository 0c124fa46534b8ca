"""Defect lists of SerialEM."""

import numpy as np
import pytest

from restframe.detector.listed import read_defect_file
from restframe.detector.references import load_references
from restframe.errors import DetectorError
from restframe.settings import Detector

HEIGHT, WIDTH = 48, 64


def mask(tmp_path, text, shape=(HEIGHT, WIDTH)):
    (tmp_path / "defects.txt").write_text(text)
    return read_defect_file(tmp_path / "defects.txt", shape)


def expected(*boxes, shape=(HEIGHT, WIDTH)):
    """Boxes of first and last x, first and last y, counted from the top of the displayed image."""
    camera = np.zeros(shape, bool)
    for first_x, last_x, first_y, last_y in boxes:
        camera[first_y : last_y + 1, first_x : last_x + 1] = True
    return camera[::-1]


SIZE = f"CameraSizeX {WIDTH}\nCameraSizeY {HEIGHT}\n"


@pytest.mark.parametrize(
    ("line", "boxes"),
    [
        ("BadColumns 3 4 60", [(3, 4, 0, 47), (60, 60, 0, 47)]),
        ("BadRows 5", [(0, 63, 5, 5)]),
        ("PartialBadColumn 30 2 5 9", [(30, 31, 5, 9)]),
        ("PartialBadRow 7 3 1 60", [(1, 60, 7, 9)]),
        ("BadPixels 9 8 20 21", [(9, 9, 8, 8), (20, 20, 21, 21)]),
        ("BadPixels 9 8\nBadPixels 63 47", [(9, 9, 8, 8), (63, 63, 47, 47)]),
        ("UsableArea 0 0 0 0", []),
        ("UsableArea 2 3 45 60", [(0, 63, 0, 1), (0, 2, 0, 47), (0, 63, 46, 47), (61, 63, 0, 47)]),
        ("WasScaled 1\nBadPixels 8 4", [(8, 9, 4, 5)]),
        ("WasScaled 2\nBadPixels 8 4", [(8, 11, 4, 7)]),
        ("RotationAndFlip 7\nK2Type 1\nFalconType 0\nNumToAvgSuperRes 3\nBadColumns 999", []),
        ("# a comment\n\nbadcolumns\t1\r", [(1, 1, 0, 47)]),
    ],
)
def test_every_word(tmp_path, line, boxes):
    np.testing.assert_array_equal(mask(tmp_path, SIZE + line), expected(*boxes))


@pytest.mark.parametrize("head", ["", "CameraSizeX 64\n", "WasScaled 0\n"])
def test_the_size_may_be_missing(tmp_path, head):
    np.testing.assert_array_equal(mask(tmp_path, head + "BadColumns 3"), expected((3, 3, 0, 47)))


@pytest.mark.parametrize("factor", [2, 4])
def test_physical_pixels_of_a_super_resolution_movie(tmp_path, factor):
    found = mask(tmp_path, SIZE + "BadPixels 9 8", (factor * HEIGHT, factor * WIDTH))
    box = (9 * factor, 10 * factor - 1, 8 * factor, 9 * factor - 1)
    np.testing.assert_array_equal(found, expected(box, shape=(factor * HEIGHT, factor * WIDTH)))


def test_frames_from_the_middle_of_the_camera(tmp_path):
    found = mask(tmp_path, SIZE + "BadPixels 9 8", (HEIGHT - 8, WIDTH - 4))
    np.testing.assert_array_equal(found, expected((7, 7, 4, 4), shape=(HEIGHT - 8, WIDTH - 4)))


@pytest.mark.parametrize(
    "text",
    [
        SIZE + "BadColumns x",
        SIZE + "BadColumns",
        SIZE + "BadColumns -3",
        SIZE + f"BadColumns {'9' * 400}",
        SIZE + "BadPixels 1 2 3",
        SIZE + "PartialBadColumn 1 2 3",
        SIZE + "3 4 5 6",
        "CameraSizeX 32\nCameraSizeY 32\nBadColumns 1",
        "CameraSizeX 999999\nBadColumns 1",
    ],
)
def test_what_cannot_be_read(tmp_path, text):
    with pytest.raises(DetectorError, match=r"Defect file .*defects\.txt") as error:
        mask(tmp_path, text)
    assert len(str(error.value)) < 400


def test_as_the_defect_file(tmp_path):
    (tmp_path / "d.txt").write_text(SIZE + "BadColumns 3 4\n")
    references = load_references(Detector(defect_file=tmp_path / "d.txt"), (HEIGHT, WIDTH))
    assert references.bad.sum() == 2 * HEIGHT and "Listed defects: 96 pixels." in references.notes


@pytest.mark.parametrize("digits", [10, 400, 5000])
def test_rectangles_of_many_digits(tmp_path, digits):
    with pytest.raises(DetectorError, match=r"line 2: found .* expected four integers"):
        mask(tmp_path, f"1 2 3 4\n{'1' * digits} 2 3 4")
