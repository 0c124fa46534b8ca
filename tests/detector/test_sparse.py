"""Sums and frames of so few electrons that most pixels have none."""

import numpy as np
import pytest

from restframe.detector.defects import counts_per_electron, find_defects
from restframe.detector.references import References
from restframe.detector.survey import survey_frames
from restframe.kernels.cpu import Cpu
from restframe.kernels.reference import Reference
from restframe.movie import RawFrames, open_movie

cpu = Cpu(2)
reference = Reference()


def counts(mean, shape, seed=0):
    return np.random.default_rng(seed).poisson(mean, shape)


@pytest.mark.parametrize("gain", [1.0, 7.5, "uneven"])
@pytest.mark.parametrize("mean", [0.003, 0.03, 0.1, 0.3, 0.6, 1, 1.6, 3, 6])
def test_single_electrons_are_no_hot_pixels(mean, gain):
    total = counts(mean, (300, 400)).astype(np.float32)
    hot = np.zeros(total.shape, bool)
    hot[[50, 120, 200], [300, 17, 211]] = True
    total[hot] = 40 + 12 * mean
    if gain == "uneven":
        gain = np.random.default_rng(1).uniform(0.8, 1.25, total.shape).astype(np.float32)
    np.testing.assert_array_equal(find_defects(cpu, total * gain, np.zeros(total.shape, bool)), hot)


def test_what_an_electron_adds():
    none = np.zeros((200, 300), bool)
    assert counts_per_electron(reference, 2.5 * counts(0.2, (200, 300)), none) == 2.5
    assert counts_per_electron(reference, counts(20, (200, 300)).astype(float), none) == 0
    assert counts_per_electron(reference, np.zeros((200, 300)), none) == 0
    listed = none.copy()
    listed[:, :30] = True  # pixels without counts that are bad say nothing
    assert counts_per_electron(reference, np.where(listed, 0, counts(20, (200, 300))), listed) == 0


@pytest.mark.parametrize("mean", [0.0005, 0.004, 0.05, 0.5])
def test_some_electrons_in_one_pixel_are_no_cosmic_ray(mean):
    frames = counts(mean, (5, 200, 300)).astype(np.uint8)
    frames[2, 100, 100] = 200
    survey, _ = survey_frames(cpu, RawFrames(open_movie(frames)), References(), True, 0)
    assert (survey.calibration.outlier_limits > 4).all() and survey.calibration.outlier_limits[2] < 200
