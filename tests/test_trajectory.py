"""Motion during each frame, from the mean positions in all frames."""

import numpy as np
import pytest

from restframe.trajectory import intraframe_motion


def test_steady_motion_in_frames_of_unequal_length():
    durations = np.array([1.0, 3.0, 1.0, 2.0])
    middle_times = np.cumsum(durations) - durations / 2
    positions = np.outer(middle_times, [0.5, -2.0])
    np.testing.assert_allclose(intraframe_motion(positions, durations.tolist()), np.outer(durations, [0.5, -2.0]))


def test_a_parabola_is_exact_at_the_ends_too():
    times = np.arange(6) + 0.5
    positions = np.stack([times**2, 3 * times - times**2], axis=1)
    expected = np.stack([2 * times, 3 - 2 * times], axis=1)
    np.testing.assert_allclose(intraframe_motion(positions, [1.0] * 6), expected, atol=1e-12)


@pytest.mark.parametrize(("frame_count", "expected"), [(1, [[0, 0]]), (2, [[3, 0], [3, 0]])])
def test_one_and_two_frames(frame_count, expected):
    positions = np.array([[0.0, 0.0], [3.0, 0.0]])[:frame_count]
    np.testing.assert_allclose(intraframe_motion(positions, [1.0] * frame_count), expected)
