"""MRC files that other programs accept."""

import io

import mrcfile
import numpy as np
import pytest

import restframe
from restframe.errors import ResultError
from restframe.output.header import PIXELS_PER_BAND
from restframe.output.images import write_mrc
from restframe.output.write import write_result
from restframe.result import Result
from restframe.settings import Settings, with_choices
from restframe.track.field import MotionField


@pytest.fixture
def image():
    return np.random.default_rng(3).normal(5, 2, (37, 50)).astype(np.float32)


def test_statistics_of_more_than_one_band(tmp_path):
    image = np.random.default_rng(4).normal(30, 6, (2 * PIXELS_PER_BAND // 700 + 5, 701)).astype(np.float32)
    image[-1, -1], image[0, 0] = 1000, -1000
    write_mrc(tmp_path / "a.mrc", image)
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        found = [float(mrc.header[name]) for name in ("dmin", "dmax", "dmean", "rms")]
    np.testing.assert_allclose(found, [-1000, 1000, image.mean(dtype=float), image.std(dtype=float)], rtol=1e-6)


def test_pixels_and_header(tmp_path, image):
    write_mrc(tmp_path / "a.mrc", image, 0.85)
    with mrcfile.open(tmp_path / "a.mrc") as mrc:
        assert mrc.data.dtype == np.float32 and np.array_equal(mrc.data, image)
        header = mrc.header
        assert (header.mode, header.nx, header.ny, header.nz) == (2, 50, 37, 1)
        assert mrc.is_single_image()
        np.testing.assert_allclose([mrc.voxel_size.x, mrc.voxel_size.y], 0.85, rtol=1e-6)
        np.testing.assert_allclose(
            [header.dmin, header.dmax, header.dmean, header.rms],
            [image.min(), image.max(), image.mean(dtype=float), image.std(dtype=float)],
            rtol=1e-6,
        )


@pytest.mark.parametrize("pixel_size", [0.0, 1.0])
def test_the_validator_has_nothing_to_say(tmp_path, image, pixel_size):
    write_mrc(tmp_path / "a.mrc", image, pixel_size)
    said = io.StringIO()
    assert mrcfile.validate(tmp_path / "a.mrc", print_file=said)
    assert said.getvalue().splitlines()[1:] == ["File appears to be valid."]


def test_equal_images_give_equal_bytes(tmp_path, image):
    write_mrc(tmp_path / "a.mrc", image, 0.85)
    write_mrc(tmp_path / "b.mrc", image[:], 0.85)
    data = (tmp_path / "a.mrc").read_bytes()
    assert data == (tmp_path / "b.mrc").read_bytes()
    assert data[224:304].rstrip(b"\0 ").startswith(b"restframe ") and not data[304:1024].strip(b"\0 ")


def result_with(image, **choices):
    return Result(image, 0.85, MotionField.at_rest(1, image.shape), settings=with_choices(Settings(), choices))


def test_float16(tmp_path, image):
    """Mode 12, with the statistics of what is written; mrcfile and restframe read it."""
    path = tmp_path / "a.mrc"
    write_result(result_with(image, float16=True), {"sum": path}, {})
    assert mrcfile.validate(path, print_file=io.StringIO())
    image[3, 4] = 60001  # the validator squares it with 16 bits, so that it finds an infinite deviation
    assert write_result(result_with(image, float16=True), {"sum": path}, {}) == [path]
    rounded = image.astype(np.float16)
    with mrcfile.open(path) as mrc:
        assert (int(mrc.header.mode), mrc.data.dtype) == (12, np.float16)
        assert np.array_equal(mrc.data, rounded)
        found = [float(mrc.header[name]) for name in ("dmin", "dmax", "dmean", "rms")]
        np.testing.assert_allclose(mrc.voxel_size.x, 0.85, rtol=1e-6)
    exact = rounded.astype(float)
    np.testing.assert_allclose(found, [exact.min(), 60000, exact.mean(), exact.std()], rtol=1e-6)
    assert path.stat().st_size == 1024 + 2 * image.size
    assert np.array_equal(restframe.open_movie(path).read(0), rounded.astype(np.float32))


@pytest.mark.parametrize("value", [65505, -7e4])
def test_values_that_float16_cannot_hold(tmp_path, image, value):
    (tmp_path / "a.mrc").write_bytes(b"earlier")
    image[3, 4] = value
    with pytest.raises(ResultError, match="65504"):
        write_result(result_with(image, float16=True), {"sum": tmp_path / "a.mrc"}, {tmp_path / "log": "text"})
    assert [path.name for path in tmp_path.iterdir()] == ["a.mrc"]
    assert (tmp_path / "a.mrc").read_bytes() == b"earlier"


@pytest.mark.parametrize("other", [np.float64, np.int16])
def test_other_types_and_strides_become_float32(tmp_path, image, other):
    array = image.astype(other).T[::2]
    write_mrc(tmp_path / "a.mrc", array)
    assert np.array_equal(mrcfile.read(tmp_path / "a.mrc"), array.astype(np.float32))
