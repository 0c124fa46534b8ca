import numpy as np
import pytest

from restframe.movie import make_fractions
from restframe.settings import Exposure, Row
from restframe.track.groups import group_frames
from restframe.track.prior import TIME_AXES, TimeAxis, roughness_penalty, speed_penalty
from restframe.track.time_basis import make_time_basis


def sizes(starts, frame_count):
    return np.diff([*starts, frame_count]).tolist()


def test_equal_frames():
    assert sizes(group_frames(np.ones(120), 3), 120) == [3] * 40
    assert sizes(group_frames(np.ones(11), 4), 11) == [4, 4, 3]
    assert sizes(group_frames(np.ones(6), 1), 6) == [1] * 6
    assert group_frames(np.ones(1), 5) == (0,)


@pytest.mark.parametrize(("frame_count", "expected"), [(2, [1, 1]), (3, [2, 1]), (4, [2, 2]), (7, [4, 3]), (8, [4, 4])])
def test_one_group_alone_is_never_made(frame_count, expected):
    assert sizes(group_frames(np.ones(frame_count), 4), frame_count) == expected


def grouped(rows, n_raw, least):
    used = make_fractions(n_raw, Exposure(integration=rows))
    return sizes(group_frames(used.weight, least), len(used.frames))


def test_the_manuals_example_by_raw_frames():
    """Section 16.2, first: column 1 counts raw frames."""
    rows = (Row(20, 1, 0.3), Row(40, 2, 0.3), Row(80, 4, 0.3))
    assert grouped(rows, 140, 4) == [4] * 5 + [2] * 10 + [1] * 20


def test_the_manuals_example_by_dose():
    """Section 16.2, second."""
    rows = (Row(20, 1, 0.3), Row(40, 1, 0.6), Row(80, 1, 1.2))
    assert grouped(rows, 140, 4) == [4] * 5 + [2] * 20 + [1] * 80


def test_a_short_fraction_does_not_undo_the_grouping():
    assert grouped((Row(40, 4), Row(3, 4)), 43, 2) == [2] * 5 + [1]


def test_equal_doses_give_the_groups_of_equal_frames():
    assert grouped((Row(30, 1, 0.1), Row(30, 1, 0.1)), 60, 5) == [5] * 12


def test_trajectories_are_linear_between_the_middles_of_groups():
    dose = np.array([0.5, 1.5, 2.5, 3.5, 5, 7, 9.5, 12.5])
    starts = (0, 4, 6)
    basis = make_time_basis(dose, TimeAxis(), 2, starts).values
    assert basis.shape[1] == len(starts) - 1  # at rest in frame 2
    nodes = [dose[:4].mean(), 6, 11]
    truth = line(dose, nodes)
    fitted = basis @ np.linalg.lstsq(basis, truth, rcond=None)[0]
    np.testing.assert_allclose(fitted, truth, atol=1e-9)


@pytest.mark.parametrize("starts", [(0, 4, 6), tuple(range(8))])
@pytest.mark.parametrize("axis", TIME_AXES[:4])
def test_the_penalties_are_diagonal(starts, axis):
    dose = np.array([0.5, 1.5, 2.5, 3.5, 5, 7, 9.5, 12.5])
    basis, times = make_time_basis(dose, axis, 2, starts), axis.stretched_time(dose)
    values = basis.values
    np.testing.assert_allclose(values[2], 0, atol=1e-12)
    np.testing.assert_allclose(values.T @ speed_penalty(times) @ values, np.eye(values.shape[1]), atol=1e-9)
    np.testing.assert_allclose(values.T @ roughness_penalty(times) @ values, np.diag(basis.roughness), atol=1e-9)
    assert (np.diff(basis.roughness) > 0).all()
    assert basis.roughness[0] < 1e-9 or len(starts) == 3  # even motion is not rough


def line(dose, nodes):
    """Values 1, -2, 5 at the nodes, straight between and beyond, less that in frame 2."""
    first = 1 + (dose - nodes[0]) * (-2 - 1) / (nodes[1] - nodes[0])
    second = -2 + (dose - nodes[1]) * (5 + 2) / (nodes[2] - nodes[1])
    course = np.where(dose <= nodes[1], first, second)
    return course - course[2]
