"""Defects that the user lists."""

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from restframe.detector.listed import read_defect_file, read_defect_map
from restframe.detector.references import load_references
from restframe.errors import DetectorError, InputError
from restframe.settings import Detector

SHAPE = (7, 10)


def marked(*rectangles):
    """The same mask pixel by pixel."""
    return np.array(
        [
            [any(x <= i < x + w and y <= j < y + h for x, y, w, h in rectangles) for i in range(SHAPE[1])]
            for j in range(SHAPE[0])
        ]
    )


def test_rectangles_comments_commas_and_empty_lines(tmp_path):
    text = "# x y w h\r\n\n 2 1 3 2 # a cluster\n\t0,0,1,7\n9.0 6 1 1.0"
    (tmp_path / "d.txt").write_text(text)
    np.testing.assert_array_equal(
        read_defect_file(tmp_path / "d.txt", SHAPE), marked((2, 1, 3, 2), (0, 0, 1, 7), (9, 6, 1, 1))
    )


box = st.tuples(st.integers(-12, 12), st.integers(-12, 12), st.integers(1, 12), st.integers(1, 12))


@given(st.lists(box, max_size=4))
def test_what_lies_off_the_frame_is_cut_off(tmp_path_factory, boxes):
    path = tmp_path_factory.getbasetemp() / "boxes.txt"
    path.write_text("\n".join(" ".join(map(str, b)) for b in boxes))
    np.testing.assert_array_equal(read_defect_file(path, SHAPE), marked(*boxes))


@pytest.mark.parametrize("line", ["1 2 3", "1 2 3 4 5", "1 2 x 4", "1 2 0 4", "1 2 3 -4", "1.5 2 3 4", "1 2 3 4e1"])
def test_a_line_that_is_no_rectangle_is_named(tmp_path, line):
    (tmp_path / "d.txt").write_text(f"# head\n1 1 1 1\n{line}\n")
    with pytest.raises(DetectorError, match=r"d\.txt, line 3: found .*expected four integers x y w h"):
        read_defect_file(tmp_path / "d.txt", SHAPE)


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "d.txt").write_bytes(b"\xff\xfe\x00binary")
    for name in ("d.txt", "none.txt", "."):
        with pytest.raises(InputError, match=r"Defect file .* cannot be read"):
            read_defect_file(tmp_path / name, SHAPE)
        with pytest.raises(InputError, match="Defect map: "):
            read_defect_map(tmp_path / name, SHAPE, ())


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "float32"])
def test_a_map_counts_where_it_is_odd(tmp_path, dtype):
    values = np.random.default_rng(0).integers(0, 6, SHAPE).astype(dtype)
    mrcfile.write(tmp_path / "m.mrc", values)
    tifffile.imwrite(tmp_path / "m.tif", values)
    odd = values.astype(int) % 2 == 1
    np.testing.assert_array_equal(read_defect_map(values, SHAPE, ()), odd)
    np.testing.assert_array_equal(read_defect_map(tmp_path / "m.mrc", SHAPE, ()), odd)
    np.testing.assert_array_equal(read_defect_map(tmp_path / "m.tif", SHAPE, ()), odd[::-1])


def test_imods_marks_in_the_upper_bit_are_none():
    assert read_defect_map(np.array([[128, 129], [0, 1]], np.uint8), (2, 2), ()).tolist() == [[False, True]] * 2


@pytest.mark.parametrize("factor", [2, 4])
def test_a_map_of_physical_pixels(factor):
    values = np.eye(*SHAPE, dtype=np.uint8)
    big = tuple(factor * s for s in SHAPE)
    np.testing.assert_array_equal(read_defect_map(values, big, (2, 4)), np.kron(values, np.ones((factor, factor))) == 1)


@pytest.mark.parametrize("shape", [(10, 7), (7, 11), (21, 30), (14, 10)])
def test_a_map_of_another_size(tmp_path, shape):
    mrcfile.write(tmp_path / "m.mrc", np.zeros(SHAPE, np.int16))
    with pytest.raises(
        DetectorError, match=rf"m\.mrc is 10 x 7 pixels, the movie's frames are {shape[1]} x {shape[0]}"
    ):
        read_defect_map(tmp_path / "m.mrc", shape, (2, 4))


def test_a_map_of_fractions():
    with pytest.raises(DetectorError, match="no integers"):
        read_defect_map(np.full(SHAPE, 0.5), SHAPE, ())


def test_file_and_map_together_and_not_turned_with_the_gain(tmp_path):
    (tmp_path / "d.txt").write_text("1 2 3 1")
    values = np.zeros(SHAPE, np.uint8)
    values[5, 5] = 1
    detector = Detector(np.ones(SHAPE, "f4"), defect_file=tmp_path / "d.txt", defect_map=values, flip_gain=1)
    used = load_references(detector, SHAPE)
    np.testing.assert_array_equal(used.bad, marked((1, 2, 3, 1), (5, 5, 1, 1)))
    assert used.notes == ("Listed defects: 4 pixels.",)
    assert load_references(Detector(), SHAPE).bad is None


def test_a_map_of_the_good_pixels():
    with pytest.raises(DetectorError, match="Does the map mark the good ones"):
        load_references(Detector(defect_map=np.ones(SHAPE, np.uint8)), SHAPE)


def gain_with_list(path, text, value_type=2):
    """A .gain file with a list of defects as text (2) or as bytes of no type (7)."""
    tag = (65100, value_type, len(text), text, True)
    tifffile.imwrite(path, np.ones(SHAPE, np.float32), metadata=None, extratags=[tag])
    return Detector(gain=path)


@pytest.mark.parametrize("encoding", ["klingon", "utf-7", "utf-16", ""])
@pytest.mark.parametrize("value_type", [2, 7])
def test_a_gain_whose_list_has_an_unknown_encoding(tmp_path, encoding, value_type):
    """Its text is read where the encoding does not matter; otherwise an error names the tag."""
    text = f'<?xml version="1.0" encoding="{encoding}"?><defects><col>3</col></defects>'.encode()
    detector = gain_with_list(tmp_path / "g.gain", text, value_type)
    try:
        used = load_references(detector, SHAPE)
    except DetectorError as error:
        assert "its list of defects, tag 65100, is no XML" in str(error)
    else:
        assert used.notes == ("Defects listed in the gain reference: 7 pixels.",)


@pytest.mark.parametrize(
    "item", ["<row>1e9</row>", "<col>99999999999-1</col>", "<point>1.5,2</point>", "<area>1,1,4</area>", "<col/>"]
)
def test_a_gain_whose_list_cannot_be_understood(tmp_path, item):
    with pytest.raises(DetectorError, match=r"its list of defects, tag 65100, has a \w+ that is"):
        load_references(gain_with_list(tmp_path / "g.gain", f"<defects>{item}</defects>".encode()), SHAPE)
