"""MRC files that other programs accept."""

import io

import mrcfile
import numpy as np
import pytest

from restframe.output.header import PIXELS_PER_BAND
from restframe.output.images import write_mrc


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


@pytest.mark.parametrize("other", [np.float64, np.int16])
def test_other_types_and_strides_become_float32(tmp_path, image, other):
    array = image.astype(other).T[::2]
    write_mrc(tmp_path / "a.mrc", array)
    assert np.array_equal(mrcfile.read(tmp_path / "a.mrc"), array.astype(np.float32))
