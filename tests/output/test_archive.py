"""Copies of raw movies: read back equal, by restframe and by MotionCor's rules."""

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from restframe.movie import ArrayMovie, open_movie, read_frames
from restframe.output.archive import archive_path, archive_writer


def written(path, movie, gain=None):
    """(what was said, the header's integers by MotionCor's offsets)"""
    said = []
    archive_writer(movie if not isinstance(movie, np.ndarray) else ArrayMovie(movie), gain, 2, said.append)(path)
    return said[0], np.fromfile(path, "<i4", 256)


def unpacked(path, t, h, w):
    """Frames of mode 101 taken apart nibble by nibble."""
    head = np.fromfile(path, "<i4", 256)
    data = np.fromfile(path, "u1", offset=1024 + int(head[23])).reshape(t, h, (w + 1) // 2)
    return np.array(
        [[[data[i, y, x // 2] >> (4 * (x % 2)) & 15 for x in range(w)] for y in range(h)] for i in range(t)]
    )


def test_the_name():
    assert str(archive_path("arc", "data/a.b.tif")) == "arc/a.b.mrc"


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 7), st.integers(0, 2**32 - 1), st.booleans())
def test_four_bits(tmp_path_factory, t, h, w, seed, with_gain):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 16, (t, h, w)).astype(np.uint8)
    gain = rng.uniform(0, 2, (h, w)).astype(np.float32) if with_gain else None
    path = tmp_path_factory.mktemp("a") / "m.mrc"
    said, head = written(path, frames, gain)
    assert said == "Raw frames are archived with 4 bits a pixel"
    assert (*head[:4], head[23]) == (w, h, t, 101, 4 * h * w * with_gain)
    assert path.stat().st_size == 1024 + int(head[23]) + t * h * ((w + 1) // 2)
    np.testing.assert_array_equal(unpacked(path, t, h, w), frames)
    if with_gain:
        assert head[32] == 0  # no numbers by section, so that all of the extended header is the gain
        np.testing.assert_array_equal(np.fromfile(path, "<f4", h * w, offset=1024).reshape(h, w), gain)
    movie = open_movie(path)
    assert with_gain == (movie.header_gain() is not None)
    if with_gain:
        np.testing.assert_array_equal(movie.header_gain(), gain)
    np.testing.assert_array_equal(read_frames(movie), frames)


@pytest.mark.parametrize(
    ("values", "mode", "bits"),
    [
        (np.array([0, 16], np.uint8), 0, "8 bits"),
        (np.array([0, 127], np.uint16), 0, "8 bits"),
        (np.array([0, 128], np.uint8), 6, "16 bits"),
        (np.array([0, 65535], np.uint16), 6, "16 bits"),
        (np.array([-1, 5], np.int16), 1, "16 bits, signed"),
        (np.array([0, 3], np.float32), 101, "4 bits"),
        (np.array([0, 0.5], np.float32), 2, "32 bits"),
        (np.array([0, 70000], np.float32), 2, "32 bits"),
    ],
)
def test_counts_that_need_more(tmp_path, values, mode, bits):
    frames = np.zeros((3, 4, 5), values.dtype)
    frames[1, 2, 3] = values[0]
    frames[2, 3, 4] = values[1]
    said, head = written(tmp_path / "m.mrc", frames, np.full((4, 5), 2, np.float32))
    assert head[3] == mode
    assert said == f"Raw frames are archived with {bits} a pixel" + (
        "" if mode == 101 else f", since values reach from {frames.min():g} to {frames.max():g}"
    )
    movie = open_movie(tmp_path / "m.mrc")
    back = read_frames(movie)
    np.testing.assert_array_equal(back, frames)
    if mode != 101:
        assert (tmp_path / "m.mrc").stat().st_size == 1024 + 80 + frames.size * np.dtype(mrcfile_type(mode)).itemsize


def mrcfile_type(mode):
    return {0: "i1", 1: "i2", 2: "f4", 6: "u2"}[mode]


def test_other_programs_read_it(tmp_path, capsys):
    frames = np.random.default_rng(1).poisson(30, (3, 8, 9)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "m.tif", frames, photometric="minisblack")
    written(tmp_path / "m.mrc", open_movie(tmp_path / "m.tif"))
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "m.mrc"), frames[:, ::-1])
    assert mrcfile.validate(tmp_path / "m.mrc"), capsys.readouterr().out
    with mrcfile.open(tmp_path / "m.mrc") as mrc:
        assert mrc.header.dmin == frames.min() and mrc.header.dmax == frames.max()
        assert float(mrc.header.dmean) == pytest.approx(frames.mean(), rel=1e-6)
        assert float(mrc.header.rms) == pytest.approx(frames.std(), rel=1e-6)
