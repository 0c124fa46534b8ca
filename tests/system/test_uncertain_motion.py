"""Motion that the frames hardly show, or not at all: nothing is invented, and the stated error covers what is found."""

from dataclasses import replace

import numpy as np
import pytest

from restframe import measure_motion
from restframe.measures import track_error
from restframe.simulate import PRESETS, simulate
from restframe.track.field import MotionField


def movie(frames, side, seed, **choices):
    choices = {"pixel_size": 1.5, "hot": 0.0, "dead": 0.0, "clusters": 0.0, **choices}
    recipe = replace(PRESETS["demo"], shape=(frames, side, side), seed=seed, **choices)
    return simulate(recipe)


def measure(simulated, counts=None, **choices):
    recipe = simulated.recipe
    counts = simulated.counts if counts is None else counts
    known = {"gain": simulated.gain, "pixel_size": recipe.pixel_size, "frame_dose": recipe.frame_dose}
    return measure_motion(counts, **{**known, **choices})


@pytest.fixture(scope="module")
def without_local_motion():
    return [movie(6, 768, seed, frame_dose=6.0, local_rms=1e-6) for seed in (1, 2, 3)]


def test_no_local_motion_is_claimed_where_there_is_none(without_local_motion):
    degrees = [measure(one, patches=(5, 5)).report.local_degree for one in without_local_motion]
    assert degrees == [0, 0, 0]


def test_patches_that_end_with_global_motion_give_the_track_without_patches(without_local_motion):
    for one in without_local_motion:
        local, whole = measure(one, patches=(5, 5)), measure(one)
        assert np.array_equal(local.field.amplitudes, whole.field.amplitudes)
        assert 0.3 < whole.report.stated_error / local.report.stated_error <= 1


def test_weak_movies_are_not_worse_than_without_correction():
    """1.8 and 0.8 counts per pixel and frame."""
    errors, uncorrected, stated = [], [], []
    for seed in (1, 2, 5):
        simulated = movie(12, 1024, seed, frame_dose=4.0)
        truth, pixel_size = simulated.truth, simulated.recipe.pixel_size
        rest = MotionField.at_rest(truth.n_frames, truth.shape)
        for share in (0.2, 0.09):
            counts = np.random.default_rng(seed).binomial(simulated.counts, share).astype(np.uint8)
            found = measure(simulated, counts, frame_dose=4.0 * share)
            errors.append(track_error(found.field, truth, pixel_size).whole_frame)
            uncorrected.append(track_error(rest, truth, pixel_size).whole_frame)
            stated.append(found.report.stated_error * pixel_size)
    assert np.mean(errors) < 0.7 * np.mean(uncorrected)
    assert np.sqrt(np.mean(np.square(errors)) / np.mean(np.square(stated))) < 1.6  # of six movies


def test_pure_noise_is_at_rest():
    recipe = replace(PRESETS["noise"], shape=(24, 512, 512), seed=11)
    simulated = simulate(recipe)
    found = measure(simulated, patches=(5, 5))
    claimed = found.field(*simulated.truth.positions())
    claimed -= claimed.mean(0)
    assert np.sqrt((claimed**2).sum(-1).mean()) < 1.3 * found.report.stated_error
