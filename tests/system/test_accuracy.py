"""A small part of benchmarks/accuracy.py, against regression: simulated movies whose motion is known."""

from dataclasses import replace

import numpy as np
import pytest

import restframe
from restframe.measures import track_error
from restframe.session import measure_motion
from restframe.simulate import PRESETS, simulate

SMALL = replace(
    PRESETS["demo"], shape=(16, 768, 800), frame_dose=2.5, large=150.0, small=0.0, local_rms=1.5, pixel_size=1.0
)
QUIET = replace(SMALL, settle=1.0, drift=1.0, walk=0.03, local_rms=0.05)


def measured(recipe):
    """Track error and stated error, A, and the result."""
    movie = simulate(recipe)
    result = restframe.correct(
        movie.counts, gain=movie.gain, pixel_size=1.0, frame_dose=recipe.frame_dose, patches=(5, 5)
    )
    return track_error(result.field, movie.truth, 1.0), result.numbers["error_px"], result


@pytest.mark.parametrize("upside_down", [False, True])
def test_motion_is_found_also_with_a_gain_that_does_not_fit(upside_down):
    error, stated, _ = measured(replace(SMALL, gain_upside_down=upside_down))
    assert error.total < (0.65 if upside_down else 0.50)  # at rest it is 2.4
    assert error.total < 2.5 * stated


def test_a_quiet_specimen_is_left_quiet():
    error, stated, _ = measured(QUIET)
    assert error.total < 0.12
    assert stated < 0.15


def test_noise_gets_no_motion():
    _, _, result = measured(replace(SMALL, large=0.0))
    assert np.abs(result.field(*np.meshgrid([0, 400, 799], [0, 380, 767]))).max() < 0.01
    assert "none" in result.decisions[0]


@pytest.mark.parametrize("level", [0, 5])
def test_a_movie_without_anything_in_it(level):
    """The beam was blocked, or every pixel counted the same: no motion, and the sum of what is there."""
    result = restframe.correct(np.full((6, 300, 320), level, np.uint8), pixel_size=1.0, frame_dose=1.0, patches=(3, 3))
    assert not result.field.amplitudes.any()
    np.testing.assert_allclose(result.sum, 6 * level, atol=1e-4)


def test_motion_measured_alone_is_that_of_a_whole_run():
    movie = simulate(replace(QUIET, shape=(6, 384, 400), local_rms=1.0))
    known = dict(gain=movie.gain, pixel_size=1.0, frame_dose=2.5, patches=(5, 5))
    alone, whole = measure_motion(movie.counts, **known), restframe.correct(movie.counts, **known)
    np.testing.assert_array_equal(alone.field.amplitudes, whole.field.amplitudes)
    assert (alone.field.modes, alone.field.reference) == (whole.field.modes, whole.field.reference)
    assert alone.notes == whole.decisions and alone.numbers["error_px"] == whole.numbers["error_px"]
