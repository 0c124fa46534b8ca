"""Motion that is given must be that of a specimen."""

import json

import numpy as np
import pytest

from restframe import correct
from restframe.errors import InputError
from restframe.output.alignment import read_alignment
from restframe.track.field import MotionField, modes_up_to

MODES = modes_up_to(2, 2, 2)


def field(value=0.0, mode=0, frame=1, frame_count=3, shape=(96, 128)):
    amplitudes = np.zeros((len(MODES), frame_count, 2))
    amplitudes[mode, frame] = value
    return MotionField(MODES, amplitudes, shape)


@pytest.mark.parametrize(("value", "mode"), [(0, 0), (30, 0), (120, 0), (10, 1), (15, 2), (6, 5)])
def test_what_is_possible(value, mode):
    assert field(value, mode).impossibility() is None


@pytest.mark.parametrize(
    ("value", "mode", "reason"),
    [
        (np.nan, 0, "not finite"),
        (np.inf, 3, "not finite"),
        (1e300, 1, "moves the image by"),
        (140, 0, "moves the image by 140 pixels, more than the frame of 128 x 96"),
        (75, 1, "would fold"),
        (-100, 2, "would fold"),
        (1e4, 1, "moves the image by"),
    ],
)
def test_what_is_not(value, mode, reason):
    assert reason in field(value, mode).impossibility()
    frames = np.random.default_rng(0).poisson(9, (3, 96, 128)).astype(np.uint8)
    with pytest.raises(InputError, match="known motion cannot be right"):
        correct(frames, field=field(value, mode))


def alignment(content, head="128 96 3 1"):
    lines = ["setting", f"   stackSize: {head}", "   patches: 0 0 0", "   throw: 0 0", "globalShift", "   stackID 0"]
    return "\n".join([*lines, content, ""])


def shifts(last):
    return "\n".join(f"  {number}  {0.5 * number if number < 2 else last}  0.25" for number in range(3))


def test_a_file_of_motioncor_is_read(tmp_path):
    (tmp_path / "m.aln").write_text(alignment(shifts("1.5")))
    assert read_alignment(tmp_path / "m.aln").field.amplitudes[0, 2].tolist() == [-1.5, -0.25]


@pytest.mark.parametrize("last", ["nan", "inf", "-1e9", "9" * 400, "129", "x"])
def test_shifts_that_cannot_be(tmp_path, last):
    (tmp_path / "m.aln").write_text(alignment(shifts(last)))
    with pytest.raises(InputError, match=r"m\.aln (is no complete \.aln file|cannot be right)"):
        read_alignment(tmp_path / "m.aln")


@pytest.mark.parametrize("head", ["128 96 -3 1", "0 96 3 1", f"{'9' * 400} 96 3 1", f"128 96 {'9' * 30} 1", "1"])
def test_heads_that_cannot_be(tmp_path, head):
    (tmp_path / "m.aln").write_text(alignment(shifts("1"), head))
    with pytest.raises(InputError, match=r"no complete \.aln file"):
        read_alignment(tmp_path / "m.aln")


@pytest.mark.parametrize(
    "change",
    [
        {"modes": [[0, 0], [10**6, 0]]},
        {"modes": [[0, 0], [0, 10**9]]},
        {"modes": [[0, 0], [-1, 0]]},
        {"modes": [[1, 0], [0, 0]]},
        {"amplitudes": [[[float("nan"), 0]] * 3, [[0, 0]] * 3]},
        {"amplitudes": [[[1e6, 0]] * 3, [[0, 0]] * 3]},
        {"amplitudes": [[[0, 0]] * 3, [[1e4, 0]] * 3]},
        {"amplitudes": []},
        {"amplitudes": [[]]},
        {"amplitudes": "x"},
        {"reference": 10**400},
        {"shape": [96]},
    ],
)
def test_fields_that_cannot_be(tmp_path, change):
    content = MotionField(((0, 0), (1, 0)), np.zeros((2, 3, 2)), (96, 128)).to_dict()
    (tmp_path / "m.aln").write_text(alignment(shifts("1") + "\n#restframe-field " + json.dumps(content | change)))
    with pytest.raises(InputError, match=r"m\.aln (is no complete \.aln file|cannot be right)"):
        read_alignment(tmp_path / "m.aln")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_nested_for_ever(tmp_path, opening):
    (tmp_path / "m.aln").write_text(alignment(shifts("1") + "\n#restframe-field " + opening * 100_000))
    with pytest.raises(InputError, match=r"no complete \.aln file"):
        read_alignment(tmp_path / "m.aln")
    (tmp_path / "field.json").write_text(opening * 100_000)
    with pytest.raises(InputError, match="holds no motion field"):
        MotionField.load(tmp_path / "field.json")


@pytest.mark.parametrize("line", ["patches: 0 0 0", "throw: 0 0"])
def test_numbers_of_many_digits_in_the_head(tmp_path, line):
    (tmp_path / "m.aln").write_text(alignment(shifts("1")).replace(line, line.replace("0", "9" * 400, 1)))
    with pytest.raises(InputError, match=r"no complete \.aln file"):
        read_alignment(tmp_path / "m.aln")
