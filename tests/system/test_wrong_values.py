"""Movies, references and settings that make no sense: what is said, and that nonsense is not made in silence."""

import warnings
from dataclasses import fields, replace
from functools import partial
from importlib.util import find_spec

import mrcfile
import numpy as np
import pytest
import tifffile

import restframe
from restframe.cli.main import main
from restframe.errors import DeviceError, SettingsError
from restframe.settings import Detector, Exposure, Machine, Motion, Settings, Sums


@pytest.fixture
def movie():
    rng = np.random.default_rng(5)
    image = 4 * (1 + 0.3 * rng.normal(size=(64, 80)).repeat(3, 0).repeat(3, 1))
    return rng.poisson(np.maximum(image, 0.2), (6, *image.shape)).astype(np.float32)


def save(path, data):
    with warnings.catch_warnings(), mrcfile.new(path) as file:
        warnings.simplefilter("ignore")  # mrcfile's, of what is no number
        file.set_data(data)


def run(capfd, words):
    code = main(words.split())
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


@pytest.mark.parametrize("suffix", ["mrc", "tif"])
def test_values_that_are_no_numbers_stay_where_they_are(movie, suffix, tmp_path, capfd):
    wrong = movie.copy()
    wrong[2, 30:34, 50:55] = np.nan
    wrong[3, 100, 100] = np.inf
    path, out = tmp_path / f"m.{suffix}", tmp_path / "sum.mrc"
    if suffix == "mrc":
        save(path, wrong)
    else:
        tifffile.imwrite(path, wrong, photometric="minisblack")
    code, text, err = run(capfd, f"-In{'Tiff' if suffix == 'tif' else 'Mrc'} {path} -OutMrc {out} -Align 0 -Gpu -1")
    assert (code, err) == (0, "")
    assert "Warning: frame 3: 20 values are NaN, infinite" in text and "frame 4: 1 values" in text
    found, expected = mrcfile.read(out), restframe.correct(movie, align=False).sum
    if suffix == "tif":
        expected = restframe.correct(movie[:, ::-1], align=False).sum
    assert np.isfinite(found).all()
    far = np.abs(found - expected) > 0.5
    assert 0 < np.count_nonzero(far) < 200  # around those 21 pixels only
    if suffix == "mrc":
        np.testing.assert_array_equal(restframe.correct(wrong, align=False).sum, found)


def test_what_has_no_numbers_at_all_is_refused(movie, tmp_path, capfd):
    save(tmp_path / "m.mrc", np.full_like(movie, np.nan))
    code, _, err = run(capfd, f"-InMrc {tmp_path}/m.mrc -OutMrc {tmp_path}/sum.mrc -Gpu -1")
    assert code == 3 and "frame 1 is NaN, infinite" in err
    assert not list(tmp_path.glob("sum*"))


def test_a_gain_of_many_images_and_one_that_is_no_gain(movie, tmp_path, capfd):
    rng = np.random.default_rng(1)
    tifffile.imwrite(tmp_path / "m.tif", movie.astype(np.uint8), photometric="minisblack")
    gain = np.where(rng.random((3, *movie.shape[1:])) < 0.1, 0, 1).astype(np.float32)
    save(tmp_path / "gain.mrc", gain)
    words = f"-InTiff {tmp_path}/m.tif -OutMrc {tmp_path}/sum.mrc -Gain {tmp_path}/gain.mrc -Align 0 -Gpu -1"
    code, text, _ = run(capfd, words)
    assert code == 0 and "holds 3 images; the first one is used." in text and "10% of all pixels are bad" in text


def test_a_range_without_frames_is_told(movie):
    said = []
    choices = {"pixel_size": 1.0, "frame_dose": 1.0, "report": said.append}
    restframe.correct(movie, sum_range=(100, 200), **choices)
    assert "Warning: no frame lies within sum_range=(100.0, 200.0): that sum (_DWS) is zero everywhere." in said
    restframe.correct(movie, **choices)
    assert sum("sum_range" in line for line in said) == 1


def test_sizes_of_next_to_nothing(movie):
    with pytest.raises(SettingsError, match=r"^bin=40\.0: .* of 240 x 192 pixels; at most 24\."):
        restframe.correct(movie, bin=40)
    with pytest.raises(SettingsError, match=r"^patches=\(50, 20\): .* Use at most 30 24"):
        restframe.correct(movie, patches=(50, 20))


def test_motion_that_cannot_be_measured_is_told(movie):
    said = []
    noise = np.random.default_rng(2).poisson(1, (12, 256, 256)).astype(np.uint8)
    restframe.correct(noise, report=said.append)
    assert any(line.startswith("Warning: too little signal") for line in said)


def test_jpeg_and_a_folder_for_an_output(movie, tmp_path, capfd):
    tifffile.imwrite(tmp_path / "m.tif", movie.astype(np.uint8), photometric="minisblack", compression="jpeg")
    code, _, err = run(capfd, f"-InTiff {tmp_path}/m.tif -OutMrc {tmp_path}/sum.mrc -Gpu -1")
    assert code == 3 and "frame 1 is compressed with JPEG" in err
    code, _, err = run(capfd, f"-InTiff {tmp_path}/m.tif -OutMrc {tmp_path}/ -Gpu -1")
    assert code == 4 and "names a folder" in err


def test_a_reference_behind_the_last_frame_is_told(movie):
    said = []
    for reference in (5, 6, 7):
        restframe.correct(movie, reference=reference, report=said.append)
    assert [line for line in said if "reference=" in line] == [
        "Warning: reference=7: the last frame used, 5 from 0, is the reference."
    ]


WRONG_CHOICES = [
    ("bin", 0, "a number, 1 or more"),
    ("bin", 0.5, "a number, 1 or more"),
    ("pixel_size", -1, "a number, 0 or more"),
    ("pixel_size", float("nan"), "a number, 0 or more"),
    ("pixel_size", "a", "a number, 0 or more"),
    ("pixel_size", True, "a number, 0 or more"),
    ("voltage", "200", "a number, 0 or more"),
    ("frame_dose", float("inf"), "a number, 0 or more"),
    ("throw", "x", "an integer, 0 or more"),
    ("throw", 1.5, "an integer, 0 or more"),
    ("threads", -1, "an integer, 0 or more"),
    ("threads", True, "an integer, 0 or more"),
    ("gain", 5, "a file name or an array"),
    ("rot_gain", 4, "an integer, 0 to 3"),
    ("find_defects", "no", "True or False"),
    ("integration", 5, "a file name or a tuple of rows"),
    ("integration", ((0, 1),), "rows of two integers, 1 or more"),
    ("eer_sampling", 9, "an integer, 1 to 3"),
    ("align", "no", "True or False"),
    ("patches", 5, "two integers, 0 or more"),
    ("patches", ("a", "b"), "two integers, 0 or more"),
    ("patches", (2.5, 2.5), "two integers, 0 or more"),
    ("iterations", 2.5, "an integer, 1 or more"),
    ("group", (0, -3), "two integers, 1 or more"),
    ("phase_only", "no", "True or False"),
    ("reference", 1.5, "an integer"),
    ("weights", "bfacter", "one of data, bfactor"),
    ("crop", (10.5, 10), "two integers, 0 or more"),
    ("magnification", (1, 1), "three numbers"),
    ("magnification", (0, 1, 0), "two scales near 1"),
    ("sum_range", 5, "two numbers"),
    ("sum_range", (25, 3), "two numbers, the smaller one first"),
    ("stack_group", 2.5, "an integer, 1 or more"),
    ("gpus", 0, "a tuple of integers, 0 or more"),
    ("gpus", (-1,), "a tuple of integers, 0 or more"),
    ("gpu_memory", 2, "a number, 0 to 1"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG_CHOICES)
def test_a_wrong_value_is_an_error_that_names_the_field(name, value, expected):
    topic = next(c for c in (Detector, Exposure, Motion, Sums, Machine) if name in {one.name for one in fields(c)})
    movie = np.ones((2, 64, 64), np.uint8)
    for use in (partial(restframe.correct, movie), topic, partial(replace, topic())):
        with pytest.raises(SettingsError, match=rf"^{name}=.+: expected {expected}"):
            use(**{name: value})


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is installed")
def test_a_gpu_without_cupy(movie):
    with pytest.raises(DeviceError, match=r"^gpus=\(0,\): CuPy cannot be imported"):
        restframe.correct(movie, gpus=(0,))
    with pytest.raises(DeviceError, match=r"^gpus=\(0,\): CuPy cannot be imported"):
        restframe.correct(movie, Settings(machine=Machine(gpus=(0,))))


def test_a_voltage_without_a_critical_dose():
    assert Exposure(voltage=400).voltage == 400
    for dose in ({"frame_dose": 1.0}, {"integration": ((10, 1, 0.5),)}):
        with pytest.raises(SettingsError, match=r"^voltage=400\.0: dose weighting is defined for 80 to 300 kV"):
            Exposure(voltage=400, **dose)


def test_numbers_of_numpy_are_numbers(movie):
    found = restframe.correct(movie, align=False, bin=np.float32(2), crop=np.array([100, 100]))
    assert found.sum.shape == (50, 50)


@pytest.mark.parametrize("rows", [((2, 1), (3, 1, 0.7)), ((3, 1, 0.7), (2, 1)), ((1, 1), (3, 1, 0.7), (1, 1))])
def test_a_dose_for_some_frames_only(rows):
    """Frames without a dose still follow each other in time."""
    from restframe.settings import Row

    frames = np.random.default_rng(0).poisson(6, (5, 48, 64)).astype(np.uint8)
    result = restframe.correct(frames, integration=tuple(Row(*row) for row in rows), pixel_size=1.0)
    assert np.isfinite(result.sum).all() and np.isfinite(result.dose_weighted).all()
