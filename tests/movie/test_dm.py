"""DM3 and DM4 files."""

import numpy as np
import pytest
from dmfiles import dm_file

from restframe.detector.references import read_reference
from restframe.errors import InputError, ReferenceInputError
from restframe.movie import open_movie, read_frames

TYPES = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8"}


def image(dtype, shape=(23, 34)):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize("data_type", TYPES)
def test_every_type(tmp_path, data_type, byte_order, version):
    for shape in ((23, 34), (4, 23, 34)):
        pixels = image(TYPES[data_type], shape)
        path = tmp_path / "gain.dm"
        path.write_bytes(dm_file(pixels, data_type, version, byte_order))
        movie = open_movie(path)
        assert movie.format == "dm" and movie.shape == (shape[0] if len(shape) == 3 else 1, 23, 34)
        np.testing.assert_array_equal(read_frames(movie), pixels.reshape(movie.shape)[:, ::-1])
        assert movie.metadata.pixel_size == pytest.approx(1.0) and movie.metadata.voltage == 300


@pytest.mark.parametrize("version", [3, 4])
def test_a_gain_has_the_rows_of_a_tiff(tmp_path, version):
    """DM counts rows from the top, as TIFF does: both are reversed, so the gain fits the movie without a flip."""
    gain = np.random.default_rng(1).uniform(0.8, 1.2, (4000, 1030)).astype("f4")  # 16.5 MB
    (tmp_path / "gain.dm4").write_bytes(dm_file(gain, 2, version))
    np.testing.assert_array_equal(read_reference(tmp_path / "gain.dm4"), gain[::-1])


@pytest.mark.parametrize("version", [3, 4])
def test_cut_anywhere_and_flipped_bits(tmp_path, version):
    pixels = image("f4")
    data = dm_file(pixels, 2, version)
    path = tmp_path / "gain.dm4"
    for length in [*range(5, 400, 7), *range(400, len(data) - 8, 191)]:
        path.write_bytes(data[:length])
        with pytest.raises(ReferenceInputError, match="Gain reference"):
            read_reference(path)
    rng = np.random.default_rng(2)
    for position in rng.choice(len(data), 400, replace=False):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            read_reference(path)
        except ReferenceInputError as error:
            assert "gain.dm4" in str(error)


def test_no_image_of_counts(tmp_path):
    (tmp_path / "gain.dm3").write_bytes(dm_file(image("u4"), 23, 3))
    with pytest.raises(InputError, match="no image of counts"):
        open_movie(tmp_path / "gain.dm3")


def test_folders_in_folders_for_ever(tmp_path):
    """A file of 100 kB cannot exhaust the stack."""
    one = b"\1\0\0\0\0\1" + b"\x14\0\0"
    (tmp_path / "gain.dm3").write_bytes(b"\0\0\0\3\0\0\0\0\0\0\0\1" + one * 10_000)
    with pytest.raises(InputError, match="nested more than 64 deep"):
        open_movie(tmp_path / "gain.dm3")
