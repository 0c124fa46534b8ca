"""The covariance of a measured field agrees with the stated error and with the errors of simulated movies."""

from dataclasses import replace

import numpy as np
import pytest

from restframe.errors import InputError
from restframe.session import measure_motion
from restframe.simulate import PRESETS, simulate
from restframe.track.field import MotionField

RECIPE = replace(PRESETS["demo"], shape=(8, 512, 576), frame_dose=5.0, local_rms=3.0, large=150.0, small=0.0)
FRAMES, HEIGHT, WIDTH = RECIPE.shape


@pytest.fixture(scope="module")
def movie():
    return simulate(RECIPE)


@pytest.fixture(scope="module", params=[(1, 1), (3, 3)], ids=["global", "local"])
def measured(movie, request):
    choices = {"pixel_size": 1.0, "frame_dose": RECIPE.frame_dose, "patches": request.param}
    return measure_motion(movie.counts, gain=movie.gain, **choices)


def positions(count=12):
    columns, rows = (np.arange(count) + 0.5) * WIDTH / count, (np.arange(count) + 0.5) * HEIGHT / count
    return (coordinate.ravel() for coordinate in np.meshgrid(columns, rows))


def rms_error(covariance):
    return np.sqrt(2 * np.diagonal(covariance, axis1=-2, axis2=-1).mean())


def test_the_diagonal_is_the_stated_error(measured):
    uncertainty, stated = measured.field.uncertainty, measured.report.stated_error
    assert rms_error(uncertainty.covariance(uncertainty.model.tile_means)) == pytest.approx(stated, rel=1e-9)
    assert rms_error(measured.field.covariance(*positions())) == pytest.approx(stated, rel=0.15)


def test_shape_and_frames(measured):
    x, y = np.array([[10.0, 300.0, 500.0]] * 2), np.array([[20.0, 250.0, 500.0]] * 2)
    covariance = measured.field.covariance(x, y)
    assert covariance.shape == (2, 3, FRAMES, FRAMES)
    np.testing.assert_allclose(covariance, np.swapaxes(covariance, -1, -2), atol=1e-12)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    some = measured.field.covariance(x, y, frames=[1, 4])
    np.testing.assert_array_equal(some, covariance[..., [1, 4], :][..., [1, 4]])
    assert measured.field.covariance(100.0, 50.0, frames=slice(2)).shape == (2, 2)
    assert measured.field.covariance([], []).shape == (0, FRAMES, FRAMES)


def test_many_places_are_those_of_each(measured):
    x, y = positions(9)  # more than one block
    together = measured.field.covariance(x, y)
    for place in (0, 63, 64, 80):
        np.testing.assert_allclose(together[place], measured.field.covariance(x[place], y[place]), rtol=1e-9)


def test_another_reference_frame(measured):
    """Differences between frames have the same error whatever is taken off all of them."""
    field = measured.field.relative_to(2)
    from_mean, from_frame = field.covariance(200.0, 300.0), field.covariance(200.0, 300.0, relative_to=5)
    assert np.abs(from_frame[5]).max() < 1e-12

    def of_difference(covariance, first, second):
        return covariance[first, first] + covariance[second, second] - 2 * covariance[first, second]

    assert of_difference(from_frame, 0, 5) == pytest.approx(of_difference(from_mean, 0, 5), rel=1e-6)
    assert of_difference(from_frame, 1, 6) == pytest.approx(of_difference(from_mean, 1, 6), rel=1e-6)


def test_errors_are_as_large_as_the_covariance_says():
    """In units of the stated deviation, without the correlation of frames: about one."""
    recipe = replace(RECIPE, local_rms=0.7, large=20.0)
    movie = simulate(recipe)
    choices = {"pixel_size": 1.0, "frame_dose": recipe.frame_dose, "patches": (3, 3)}
    field = measure_motion(movie.counts, gain=movie.gain, **choices).field
    x, y = positions(5)
    errors = np.moveaxis(field(x, y) - movie.truth(x, y), 0, 1)  # (places, t, 2)
    errors -= errors.mean(1, keepdims=True)
    ratios = []
    for error, covariance in zip(errors, field.covariance(x, y), strict=True):
        variance, directions = np.linalg.eigh(covariance)
        known = slice(1, None)  # the mean over frames has no variance
        ratios.append((directions[:, known].T @ error) / np.sqrt(variance[known, None]))
    assert 0.5 < np.sqrt(np.mean(np.square(ratios))) < 2


def test_unknown_errors(measured, tmp_path):
    measured.field.save(tmp_path / "field.json")
    for field in (MotionField.load(tmp_path / "field.json"), measured.field.global_only()):
        with pytest.raises(InputError, match="not known"):
            field.covariance(0.0, 0.0)
