"""The gain that RELION is given: its content and its name, for every orientation and format."""

from pathlib import Path
from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest

from restframe.detector.references import load_references
from restframe.kernels import make_kernels
from restframe.output.place import place_all
from restframe.output.relion_gain import relion_gain
from restframe.settings import Detector, Machine, Settings

SHAPE = (48, 64)


def made(folder, movie_format, detector, shape=SHAPE, header_gain=None):
    """What is named, and its content as a file, if one is written."""
    corrected = SimpleNamespace(
        references=load_references(detector, shape, header_gain),
        kernels=make_kernels(Machine()),
        movie=SimpleNamespace(format=movie_format),
        result=SimpleNamespace(settings=Settings(detector)),
    )
    gain = relion_gain(corrected, folder)
    place_all(gain.files.items())
    return gain, mrcfile.read(gain.star.name) if gain.files else None


@pytest.mark.parametrize("movie_format", ["eer", "tiff", "mrc"])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("flip", [0, 1, 2])
@pytest.mark.parametrize("rotation", [0, 1, 2, 3])
def test_the_content_is_what_relion_needs(tmp_path, rotation, flip, inverted, movie_format):
    given = np.random.default_rng(1).uniform(0.5, 2, SHAPE if rotation % 2 == 0 else SHAPE[::-1]).astype(np.float32)
    given[3, 4] = 0
    mrcfile.write(tmp_path / "g.mrc", given)
    detector = Detector(gain=tmp_path / "g.mrc", rot_gain=rotation, flip_gain=flip, inv_gain=inverted)
    applied = load_references(detector, SHAPE).gain
    gain, content = made(tmp_path, movie_format, detector)
    if movie_format != "eer" and not (rotation or flip or inverted):
        assert gain.star.name == tmp_path / "g.mrc" and content is None
        return
    expected = (
        np.divide(1, applied, out=np.zeros_like(applied), where=applied != 0) if movie_format == "eer" else applied
    )
    np.testing.assert_array_equal(content, expected)
    assert Path(gain.star.name).suffix == ".mrc" and gain.star.comment
    again, written = made(tmp_path, movie_format, detector)  # by the next movie
    assert again.star.name == gain.star.name and written is None


@pytest.mark.parametrize("movie_format", ["eer", "tiff"])
def test_physical_pixels_of_a_super_resolution_movie(tmp_path, movie_format):
    """RELION enlarges the gain of an EER movie itself, of others not."""
    given = np.random.default_rng(1).uniform(0.5, 2, SHAPE).astype(np.float32)
    _, content = made(tmp_path, movie_format, Detector(gain=given), (96, 128))
    assert content.shape == (SHAPE if movie_format == "eer" else (96, 128))


def test_gains_without_a_file_and_no_gain(tmp_path):
    given = np.random.default_rng(1).uniform(0.5, 2, SHAPE).astype(np.float32)
    for detector, header in ((Detector(gain=given), None), (Detector(), given)):
        gain, content = made(tmp_path, "mrc", detector, header_gain=header)
        np.testing.assert_array_equal(content, given)
        assert Path(gain.star.name).name.startswith("gain_relion_")
        Path(gain.star.name).unlink()
    gain, _ = made(tmp_path, "tiff", Detector())
    assert gain.star.name is None and not gain.files
