"""No image that is not finite is ever saved, and no result given."""

import re
import warnings

import mrcfile
import numpy as np
import pytest

import restframe
from restframe.cli.main import main
from restframe.errors import RestframeError, ResultError
from restframe.output.stack import StackFile
from restframe.pipeline import check_finite
from restframe.track.field import MotionField


@pytest.fixture(scope="module")
def movie():
    rng = np.random.default_rng(4)
    scene = np.kron(rng.integers(2, 12, (40, 44)), np.ones((4, 4)))
    return rng.poisson([scene[8:136, 16 - t : 160 - t] for t in range(4)]).astype(np.int16)


def save(path, data):
    """mrcfile warns about such values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.new(path, data=data) as mrc:
            if data.ndim == 3:
                mrc.set_image_stack()


@pytest.mark.parametrize("wrong", ["1e15", "1e30", "3e38", "nan", "inf"])
@pytest.mark.parametrize("inverted", [0, 1])
def test_one_wrong_pixel_of_the_gain(movie, tmp_path, capfd, wrong, inverted):
    gain = np.ones(movie.shape[1:], np.float32)
    gain[20, 30] = np.float32(wrong)
    if inverted:
        gain[20, 30] = 1 / gain[20, 30] if np.isfinite(gain[20, 30]) else gain[20, 30]
    save(tmp_path / "gain.mrc", gain)
    save(tmp_path / "m.mrc", movie)
    words = f"-InMrc {tmp_path}/m.mrc -OutMrc {tmp_path}/o.mrc -Gain {tmp_path}/gain.mrc -InvGain {inverted} -Gpu -1"
    assert main(words.split()) == 0
    out, err = capfd.readouterr()
    image = mrcfile.read(tmp_path / "o.mrc")
    assert err == "" and np.isfinite(image).all()
    without = restframe.correct(movie, defect_map=(gain != 1).astype(np.uint8)).sum
    assert np.abs(image - without).max() < 0.05 * without.std()
    assert re.search(r"^Bad pixels: [1-9]", out, re.MULTILINE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_an_error(value, tmp_path):
    field = MotionField(((0, 0),), np.zeros((1, 3, 2)), (8, 8))
    image = np.ones((8, 8), np.float32)
    check_finite({"sum": image}, field)
    image[2, 3] = value
    with pytest.raises(ResultError, match="1 of 64 pixels of the image sum are not finite"):
        check_finite({"sum": image}, field)
    with pytest.raises(ResultError, match="motion is not finite"):
        check_finite({}, MotionField(((0, 0),), np.full((1, 3, 2), value), (8, 8)))
    stack = StackFile(tmp_path / "s.mrc", 1.0)
    with pytest.raises(ResultError, match=r"s\.mrc would hold pixels that are not finite"):
        stack.take(iter([np.ones((8, 8), np.float32), image]))
    stack.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("default::RuntimeWarning")  # as in the command, which writes them on stdout
@pytest.mark.parametrize("place", ["dark", "movie", "gain"])
@pytest.mark.parametrize("value", [3e38, -3e38])
def test_values_near_the_largest_number(movie, tmp_path, capfd, place, value):
    """A finite image or an error; never an image that is not finite."""
    frames = movie.astype(np.float32)
    references = {name: np.full(movie.shape[1:], fill, np.float32) for name, fill in (("gain", 1), ("dark", 0))}
    (frames[1] if place == "movie" else references[place])[:] = value
    save(tmp_path / "m.mrc", frames)
    for name, data in references.items():
        save(tmp_path / f"{name}.mrc", data)
    words = f"-InMrc {tmp_path}/m.mrc -OutMrc {tmp_path}/o.mrc -Gain {tmp_path}/gain.mrc -Dark {tmp_path}/dark.mrc"
    code = main([*words.split(), "-Gpu", "-1"])
    out, err = capfd.readouterr()
    if code == 0:
        assert np.isfinite(mrcfile.read(tmp_path / "o.mrc")).all()
    else:
        assert not (tmp_path / "o.mrc").exists() and err.count("\n") == 1 and "restframe failed" not in err
    assert "Traceback" not in out + err
    assert issubclass(ResultError, RestframeError)
