"""MRC movies against mrcfile and against files made byte by byte."""

import struct

import mrcfile
import numpy as np
import pytest

from restframe.errors import InputError
from restframe.movie import open_movie, read_frames

STORED = {0: "u1", 1: "i2", 2: "f4", 5: "u1", 6: "u2", 12: "f2"}


def header(mode, shape, order="<", extended=0, numbers=(0, 0), imod=None, stamp=True, pixel=1.5):
    """1024 bytes written field by field, as another program would."""
    t, h, w = shape
    head = bytearray(1024)
    struct.pack_into(order + "10i", head, 0, w, h, t, mode, 0, 0, 0, w, h, t)
    struct.pack_into(order + "6f", head, 40, w * pixel, h * pixel, t * pixel, 90, 90, 90)
    struct.pack_into(order + "3i", head, 64, 1, 2, 3)
    struct.pack_into(order + "i", head, 92, extended)
    struct.pack_into(order + "2h", head, 128, *numbers)
    if imod is not None:
        struct.pack_into(order + "2i", head, 152, 1146047817, imod)
    if stamp:
        head[208:212] = b"MAP "
        head[212:214] = b"\x44\x44" if order == "<" else b"\x11\x11"
    return bytes(head)


def counts(dtype, shape=(3, 7, 5)):
    return np.random.default_rng(0).integers(0, 120, shape).astype(dtype)


@pytest.mark.parametrize("extended", [0, 132])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", STORED)
@pytest.mark.parametrize("suffix", [".mrc", ".mrcs", ".st", ""])
def test_every_mode_and_byte_order(tmp_path, mode, order, extended, suffix):
    movie = counts(order + STORED[mode])
    path = tmp_path / f"m{suffix}"
    path.write_bytes(header(mode, movie.shape, order, extended) + bytes(extended) + movie.tobytes())
    opened = open_movie(path)
    read = read_frames(opened, threads=2)
    assert opened.format == "mrc" and opened.shape == movie.shape and opened.header_gain() is None
    assert opened.pixel_size == pytest.approx(1.5)
    assert read.dtype == opened.dtype and read.dtype.isnative
    assert read.dtype == (np.float32 if mode == 12 else STORED[mode])
    np.testing.assert_array_equal(read, movie)


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32", "uint16", "float16"])
def test_files_of_mrcfile(tmp_path, dtype):
    movie = counts(dtype)
    with mrcfile.new(tmp_path / "m.mrc", movie) as file:
        file.set_image_stack()
        file.voxel_size = 0.85
    opened = open_movie(tmp_path / "m.mrc")
    np.testing.assert_array_equal(read_frames(opened), movie)
    assert opened.pixel_size == pytest.approx(0.85)


@pytest.mark.parametrize("width", [1, 4, 5])
def test_four_bits(tmp_path, width):
    """Even columns lie in the low nibble, a row ends on a byte."""
    movie = np.random.default_rng(0).integers(0, 16, (2, 3, width)).astype("u1")
    rows = np.zeros((2, 3, width + width % 2), "u1")
    rows[..., :width] = movie
    packed = bytes(int(low) | int(high) << 4 for low, high in rows.reshape(-1, 2))
    (tmp_path / "m.mrc").write_bytes(header(101, movie.shape) + packed)
    read = read_frames(open_movie(tmp_path / "m.mrc"))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, movie)


@pytest.mark.parametrize(("imod", "dtype"), [(None, "u1"), (0, "u1"), (1, "i1"), (2, "u1"), (3, "i1")])
@pytest.mark.parametrize("order", "<>")
def test_sign_of_bytes(tmp_path, order, imod, dtype):
    raw = np.arange(256, dtype="u1").reshape(1, 16, 16)
    (tmp_path / "m.mrc").write_bytes(header(0, raw.shape, order, imod=imod) + raw.tobytes())
    read = read_frames(open_movie(tmp_path / "m.mrc"))
    np.testing.assert_array_equal(read, raw.view(dtype))
    assert read.dtype == dtype


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("width", [1, 255, 256, 257, 4096])
def test_byte_order_without_stamp(tmp_path, order, width):
    movie = counts(order + "u2", (1, 2, width))
    (tmp_path / "m.mrc").write_bytes(header(6, movie.shape, order, stamp=False) + movie.tobytes())
    np.testing.assert_array_equal(read_frames(open_movie(tmp_path / "m.mrc")), movie)


def test_wrong_machine_stamp_is_not_believed(tmp_path):
    movie = counts("<i2")
    head = bytearray(header(1, movie.shape))
    head[212:214] = b"\x11\x11"
    (tmp_path / "m.mrc").write_bytes(head + movie.tobytes())
    np.testing.assert_array_equal(read_frames(open_movie(tmp_path / "m.mrc")), movie)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("extra", "found"), [(0, True), (4, False)])
def test_gain_in_the_extended_header(tmp_path, order, extra, found):
    movie = counts("u1")
    gain = np.random.default_rng(2).uniform(0.5, 2, movie.shape[1:]).astype("f4")
    extended = bytes(3 * 4 * (2 + 5)) + gain.astype(order + "f4").tobytes() + bytes(extra)
    head = header(5, movie.shape, order, len(extended), numbers=(2, 5))
    (tmp_path / "m.mrc").write_bytes(head + extended + movie.tobytes())
    opened = open_movie(tmp_path / "m.mrc")
    if found:
        np.testing.assert_array_equal(opened.header_gain(), gain)
        assert opened.header_gain().dtype == np.float32
    else:
        assert opened.header_gain() is None
    np.testing.assert_array_equal(read_frames(opened), movie)


@pytest.mark.parametrize("mode", [0, 1, 101])
def test_cut_file(tmp_path, mode):
    movie = counts("u1" if mode != 1 else "i2", (3, 7, 6 if mode != 101 else 3))
    shape = (3, 7, 6)
    raw = header(mode, shape) + movie.tobytes()
    (tmp_path / "m.mrc").write_bytes(raw[:-1])
    with pytest.raises(InputError, match=rf"m\.mrc: cut short.*3 frames of 6 x 7.*{len(raw)} bytes; .* 2 whole"):
        open_movie(tmp_path / "m.mrc")
    (tmp_path / "m.mrc").write_bytes(raw + b"more")
    assert open_movie(tmp_path / "m.mrc").shape == shape


def test_cut_after_opening_names_the_frame(tmp_path):
    movie = counts("u1")
    raw = header(0, movie.shape) + movie.tobytes()
    (tmp_path / "m.mrc").write_bytes(raw)
    opened = open_movie(tmp_path / "m.mrc")
    (tmp_path / "m.mrc").write_bytes(raw[:-40])
    with pytest.raises(InputError, match="frame 2 ends early"):
        read_frames(opened, threads=3)


@pytest.mark.parametrize("mode", [3, 4, 7, 16])
def test_modes_that_hold_no_counts(tmp_path, mode):
    (tmp_path / "m.mrc").write_bytes(header(mode, (1, 2, 2)) + bytes(64))
    with pytest.raises(InputError, match=f"MRC mode {mode}; expected one of 0, 1, 2"):
        open_movie(tmp_path / "m.mrc")


@pytest.mark.parametrize("pixel", [0.0, float("nan"), -1.0])
def test_unknown_pixel_size(tmp_path, pixel):
    (tmp_path / "m.mrc").write_bytes(header(0, (1, 2, 2), pixel=pixel) + bytes(4))
    assert open_movie(tmp_path / "m.mrc").pixel_size == 0


def test_read_fills_what_it_is_given(tmp_path):
    for mode in (1, 12, 101):
        movie = counts({1: ">i2", 12: ">f2", 101: "u1"}[mode], (2, 4, 3 if mode != 101 else 2))
        (tmp_path / "m.mrc").write_bytes(header(mode, (2, 4, 3), ">") + movie.tobytes())
        opened = open_movie(tmp_path / "m.mrc")
        out = np.zeros((4, 3), opened.dtype)
        assert opened.read(1, out) is out
        np.testing.assert_array_equal(out, opened.read(1))
        assert out.any()
