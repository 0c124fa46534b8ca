"""The logs to the letter, and as their readers read them."""

import numpy as np
import pytest

from restframe.output.logs import log_files
from restframe.result import PatchShifts, Result
from restframe.track.field import MotionField


@pytest.fixture
def result():
    centres = np.array([[15.5, 10.0], [47.5, 10.0]])
    fitted = np.array([[[0, 0], [0.151, -0.42], [1, 2]], [[0, -0.0], [-0.3, 0.004], [3, 4]]], float)
    weak = np.array([[False, False, False], [False, True, False]])
    return Result(
        sum=np.zeros((20, 62), np.float32),
        pixel_size=1.0,
        field=MotionField.at_rest(3, (20, 63)),
        patches=PatchShifts(centres, fitted + 0.1, fitted, weak),
        global_shifts=np.array([[-0.0, 0.0], [-0.382, 1.918], [-0.351, 1.611]]),
        movie_shape=(3, 20, 63),
    )


def text(files, end):
    return next(text for path, text in files.items() if str(path) == f"d/x{end}").split("\n")


def test_whole_frames_only(result):
    files = log_files(result, "d/x", patch_mode=False, columns=6)
    assert len(files) == 1
    assert text(files, "-Full.log") == [
        "# full frame alignment",
        "   1      0.00      0.00",
        "   2     -0.38      1.92",
        "   3     -0.35      1.61",
        "",
    ]


def test_global_shifts_with_patches(result):
    lines = text(log_files(result, "d/x", patch_mode=True, columns=6), "-Patch-Full.log")
    assert lines[:5] == [
        "# Patch based alignment",
        "# Initial alignment based upon full frames",
        "",
        "   1      0.00      0.00",
        "   2     -0.38      1.92",
    ]


def test_patches_with_six_columns(result):
    lines = text(log_files(result, "d/x", patch_mode=True, columns=6), "-Patch-Patch.log")
    assert lines == [
        "# Patch based alignment",
        "# Number of patches: 2",
        "# Shifts are listed per patch.",
        "# Movie size: 63  20  3",
        "",
        "#Patch 001 raw and fit shifts",
        "   1    15.50    10.00     0.00     0.00    0",
        "   2    15.50    10.00     0.15    -0.42    0",
        "   3    15.50    10.00     1.00     2.00    0",
        "",
        "#Patch 002 raw and fit shifts",
        "   1    47.50    10.00     0.00     0.00    0",
        "   2    47.50    10.00    -0.30     0.00    1",
        "   3    47.50    10.00     3.00     4.00    0",
        "",
        "",
    ]


def test_patches_with_seven_columns(result):
    lines = text(log_files(result, "d/x", patch_mode=True, columns=7), "-Patch-Patch.log")
    assert lines[5:8] == [
        "#Patch 001 raw and fit shifts",
        "   1    15.50    10.00     0.10     0.10     0.00     0.00",
        "   2    15.50    10.00     0.25    -0.32     0.15    -0.42",
    ]
    rows = [line.split() for line in lines if "#" not in line and line.strip()]
    assert len(rows) == 6 and all(len(row) == 7 for row in rows)


def test_frames(result):
    lines = text(log_files(result, "d/x", patch_mode=True, columns=6), "-Patch-Frame.log")
    assert lines[2] == "# Shifts are listed per frame."
    assert lines[5:9] == [
        "   1    15.50    10.00     0.00     0.00    0",
        "   1    47.50    10.00     0.00     0.00    0",
        "",
        "   2    15.50    10.00     0.15    -0.42    0",
    ]


def test_patch_names_stay_when_no_local_motion_was_measured(result):
    bare = Result(result.sum, 1.0, result.field, global_shifts=result.global_shifts, movie_shape=(3, 20, 63))
    files = log_files(bare, "d/x", patch_mode=True, columns=6)
    assert {path.name for path in files} == {"x-Patch-Full.log", "x-Patch-Patch.log", "x-Patch-Frame.log"}
    assert "# Number of patches: 0" in text(files, "-Patch-Patch.log")


def test_other_numbers_of_columns_are_refused(result):
    with pytest.raises(ValueError, match="5"):
        log_files(result, "d/x", patch_mode=True, columns=5)
