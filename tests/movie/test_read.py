"""Opening anything: the content decides, and what can't be read is named."""

import gzip

import numpy as np
import pytest
import tifffile

from restframe.errors import InputError
from restframe.movie import ArrayMovie, Movie, open_movie, read_frames


@pytest.mark.parametrize("expected", [None, "tiff", "mrc", "eer"])
@pytest.mark.parametrize("name", ["m.tif", "m.mrc", "m.eer", "noextension"])
def test_content_decides(tmp_path, name, expected):
    movie = np.arange(24, dtype="u1").reshape(2, 3, 4)
    tifffile.imwrite(tmp_path / name, movie, photometric="minisblack")
    opened = open_movie(str(tmp_path / name), expected)
    assert opened.format == "tiff" and opened.path == tmp_path / name and isinstance(opened, Movie)
    np.testing.assert_array_equal(read_frames(opened), movie[:, ::-1])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"hello " * 300, "found an unknown format"),
        (bytes(4096), "found an unknown format"),
        (b"II*\0", "cut short or damaged: only 0 whole frames"),
        (b"II*\0\x08\0\0\0\xff\xff", "cut short or damaged: only 0 whole frames"),
        (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "cut short or damaged: only 1 whole frames"),
        (gzip.compress(b"x" * 2000), "gzip-compressed data that are no MRC file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(2000), "found HDF5"),
    ],
)
def test_what_is_no_movie(tmp_path, content, found):
    path = tmp_path / "m.mrc"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"m\.mrc.*({found})") as error:
        open_movie(path, "mrc")
    assert error.value.exit_code == 3 and len(str(error.value).splitlines()) == 1


def test_message_names_what_was_expected(tmp_path):
    (tmp_path / "m").write_bytes(b"text" * 999)
    with pytest.raises(InputError, match="MRC was expected"):
        open_movie(tmp_path / "m", "mrc")


def test_missing_and_folder(tmp_path):
    with pytest.raises(InputError, match=r"nothere\.tif does not exist"):
        open_movie(tmp_path / "nothere.tif")
    with pytest.raises(InputError, match="is a folder"):
        open_movie(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot be read"):
        open_movie(tmp_path / "file" / "m.tif")


def test_forbidden(tmp_path, monkeypatch):
    def denied(*args):
        raise PermissionError  # what open does for everyone but root, whom tests may run as

    monkeypatch.setattr("restframe.movie.formats.open", denied, raising=False)
    with pytest.raises(InputError, match=r"m\.tif cannot be read: permission denied"):
        open_movie(tmp_path / "m.tif")


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "<i2", ">i2", "f4", ">f4", "f8", "i8", "?", "f2"])
def test_arrays(dtype):
    movie = np.arange(24).reshape(2, 3, 4).astype(dtype)
    opened = open_movie(movie)
    read = read_frames(opened, threads=2)
    assert isinstance(opened, Movie) and isinstance(opened, ArrayMovie)
    assert opened.path is None and opened.format == "array" and opened.shape == (2, 3, 4) and opened.pixel_size == 0
    assert read.dtype == opened.dtype and read.dtype.isnative
    assert read.dtype == (np.dtype(dtype).newbyteorder("=") if dtype not in ("f8", "i8", "?", "f2") else np.float32)
    np.testing.assert_array_equal(read, movie)
    assert open_movie(opened) is opened


@pytest.mark.parametrize("bad", [np.zeros((3, 4)), np.zeros((0, 3, 4)), np.zeros((1, 3, 4), complex)])
def test_arrays_that_are_no_movie(bad):
    with pytest.raises(InputError):
        open_movie(bad)


@pytest.mark.parametrize("threads", [0, 1, 2, 50])
def test_the_frames_asked_for_in_their_order(threads):
    movie = np.arange(5 * 6, dtype="u2").reshape(5, 2, 3)
    np.testing.assert_array_equal(read_frames(open_movie(movie), [4, 0, 3], threads), movie[[4, 0, 3]])
