"""Motion that is read from files of RELION and MotionCor, and results that are saved."""

import json

import numpy as np
import pytest

import restframe
from restframe.errors import InputError, OutputError, SettingsError
from restframe.output.logs import log_files
from restframe.output.read_star import field_of_polynomial
from restframe.output.star import polynomial, polynomial_shifts, star_text
from restframe.track.field import MotionField


@pytest.fixture(scope="module")
def movie():
    rng = np.random.default_rng(2)
    scene = np.full((260, 280), 4.0)
    for y, x in zip(rng.integers(0, 250, 220), rng.integers(0, 270, 220), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    return rng.poisson([np.roll(scene, frame, 1)[:, 8:] for frame in range(6)]).astype(np.uint8)


@pytest.fixture(scope="module")
def result(movie):
    rng = np.random.default_rng(1)
    amplitudes = np.zeros((3, 4, 2))
    amplitudes[0, :, 0] = np.arange(4)
    amplitudes[1:] = rng.normal(0, 0.5, (2, 1, 2)) * np.arange(4)[:, None]
    field = MotionField(((0, 0), (1, 0), (0, 1)), amplitudes, movie.shape[1:])
    choices = {"pixel_size": 1.1, "frame_dose": 1.5, "patches": (4, 4), "throw": 1, "trunc": 1}
    return restframe.correct(movie, field=field, **choices)


def distance(first, second):
    x, y = np.array([20.0, 130.0, 250.0]), np.array([30.0, 200.0, 120.0])
    return np.abs(first.relative_to(0)(x, y) - second.relative_to(0)(x, y)).max()


def test_relion_star_there_and_back(result, tmp_path):
    path = tmp_path / "movie.star"
    path.write_text(star_text(result, "movie.tif", result.settings))
    assert distance(restframe.read_motion(path), result.field) < 2e-3


def test_a_polynomial_is_read_exactly():
    rng = np.random.default_rng(3)
    coefficients, shifts, shape = rng.normal(0, 0.1, (2, 18)), rng.normal(0, 3, (7, 2)), (300, 400)
    field = field_of_polynomial(shifts, coefficients, shape)
    x, y = rng.uniform(0, 400, 9), rng.uniform(0, 300, 9)
    expected = shifts[:, None] + polynomial_shifts(coefficients, x, y, shape, 7)
    np.testing.assert_allclose(-field(x, y), expected, atol=1e-9)
    # the mean of the local motion belongs to the global one in a field: terms that are the same everywhere may differ
    np.testing.assert_allclose(polynomial(field)[0][:, 3:], coefficients[:, 3:], atol=1e-8)


def test_relions_own_files_give_the_polynomial_in_binned_pixels(result, tmp_path):
    text = star_text(result, "movie.tif", result.settings)
    (tmp_path / "ours.star").write_text(text)
    relions = text.split("\n", 1)[1].replace(
        "_rlnMicrographBinning                1", "_rlnMicrographBinning                2"
    )
    assert relions != text.split("\n", 1)[1]
    (tmp_path / "relions.star").write_text(relions)
    ours, others = (restframe.read_motion(tmp_path / f"{name}.star") for name in ("ours", "relions"))
    local = [field(10.0, 10.0) - field.global_displacement() for field in (ours, others)]
    np.testing.assert_allclose((local[1] - local[1][0]), 2 * (local[0] - local[0][0]), atol=1e-6)


@pytest.mark.parametrize("columns", [6, 7])
@pytest.mark.parametrize("end", ["-Patch-Patch.log", "-Patch-Full.log"])
def test_logs(result, tmp_path, columns, end):
    for path, text in log_files(result, str(tmp_path / "movie"), patch_mode=True, columns=columns).items():
        path.write_text(text)
    assert distance(restframe.read_motion(tmp_path / f"movie{end}"), result.field) < 0.05


def test_logs_of_global_motion(result, tmp_path):
    for path, text in log_files(result, str(tmp_path / "movie"), patch_mode=False, columns=7).items():
        path.write_text(text)
    with pytest.raises(InputError, match="shape"):
        restframe.read_motion(tmp_path / "movie-Full.log")
    field = restframe.read_motion(tmp_path / "movie-Full.log", shape=result.field.shape)
    assert distance(field, result.field.global_only()) < 0.01


def test_own_files(result, tmp_path):
    result.field.save(tmp_path / "field.json")
    assert distance(restframe.read_motion(tmp_path / "field.json"), result.field) == 0


@pytest.mark.parametrize(("name", "most"), [("field.json", 0), ("field.aln", 0), ("FIELD.STAR", 2e-3)])
@pytest.mark.parametrize("is_local", [True, False])
def test_a_field_alone_there_and_back(result, tmp_path, name, most, is_local):
    field = result.field if is_local else result.field.global_only()
    field.save(tmp_path / name, movie="movie.tif", pixel_size=1.1, frame_dose=1.5, voltage=300)
    assert distance(restframe.read_motion(tmp_path / name), field) <= most


def test_star_of_a_field_alone_is_that_of_its_result(movie, tmp_path):
    """Of a movie whose frames are all used."""
    rng = np.random.default_rng(1)
    field = MotionField(((0, 0), (1, 0), (0, 1)), rng.normal(0, 0.5, (3, 6, 2)), movie.shape[1:])
    result = restframe.correct(movie, field=field, pixel_size=1.1, frame_dose=1.5, patches=(5, 5), find_defects=False)
    result.field.save(tmp_path / "a.star", movie="movie.tif", pixel_size=1.1, frame_dose=1.5, voltage=300)
    lines = star_text(result, "movie.tif", result.settings).splitlines()
    assert (tmp_path / "a.star").read_text().splitlines() == [line for line in lines if "PreExposure" not in line]


def test_what_is_not_known_is_left_out(result, tmp_path):
    result.field.save(tmp_path / "a.star")
    text = (tmp_path / "a.star").read_text()
    assert not any(label in text for label in ("MovieName", "Voltage", "DoseRate", "OriginalPixelSize"))
    assert "rlnMotionModelVersion" in text


def test_a_field_cannot_be_saved_there(result, tmp_path):
    with pytest.raises(OutputError):
        result.field.save(tmp_path / "none" / "a.star")


@pytest.mark.parametrize("text", ["", "data_general\n\ndata_global_shift\n", "nonsense", "{}"])
def test_other_files(tmp_path, text):
    (tmp_path / "a.star").write_text(text)
    with pytest.raises(InputError):
        restframe.read_motion(tmp_path / "a.star")
    with pytest.raises(InputError):
        restframe.read_motion(tmp_path / "none-Patch-Patch.log")


def test_save(result, tmp_path):
    paths = result.save(tmp_path / "new", "movie")
    assert [path.name for path in paths] == ["movie.aln", "movie_DW.mrc", "movie_DWS.mrc", "movie.mrc", "movie.json"]
    assert all(path.is_file() for path in paths)
    record = json.loads(paths[-1].read_text())
    assert {one["path"] for one in record["outputs"]} == {path.name for path in paths[:-1]}
    assert distance(restframe.read_motion(paths[0]), result.field) == 0
    for name in (None, "a/b"):
        with pytest.raises(SettingsError):
            result.save(tmp_path, name)
