"""What is known about the frames before motion is measured."""

import numpy as np
import pytest

from restframe.detector.binned import BinnedFrames
from restframe.track.series import LOWEST_EXPOSURE, TYPICAL_DOSE, FrameSeries, reference_frame


def series_of(mean_counts, dose) -> FrameSeries:
    frame_count = len(mean_counts)
    every_frame = tuple(range(frame_count))
    binned = BinnedFrames(np.zeros((frame_count, 4, 6), np.int8), 2)
    return FrameSeries(binned, (8, 12), mean_counts, dose, np.cumsum(dose), every_frame, every_frame)


def test_dose_at_the_middle_of_each_frame():
    series = series_of(np.ones(3), np.array([1.0, 3.0, 2.0]))
    assert series.dose_is_known
    np.testing.assert_allclose(series.mid_dose(), [0.5, 2.5, 5.0])


def test_a_typical_dose_where_it_is_not_known():
    series = series_of(np.ones(4), np.zeros(4))
    assert not series.dose_is_known
    np.testing.assert_allclose(series.mid_dose(), TYPICAL_DOSE * np.array([1, 3, 5, 7]) / 8)


def test_exposures_are_relative_to_the_mean():
    exposures = series_of(np.array([2.0, 0.0, 4.0]), np.zeros(3)).relative_exposures()
    np.testing.assert_allclose(exposures, [1.0, 2 * LOWEST_EXPOSURE, 2.0])
    np.testing.assert_array_equal(series_of(np.zeros(3), np.zeros(3)).relative_exposures(), 1)


@pytest.mark.parametrize(("requested", "expected"), [(-1, 3), (0, 0), (2, 2), (6, 5), (100, 5)])
def test_reference_frame(requested, expected):
    assert reference_frame(6, requested) == expected
