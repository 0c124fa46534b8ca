import numpy as np
import pytest

from restframe.movie import make_fractions
from restframe.settings import Exposure, Row
from restframe.track.fit import time_basis
from restframe.track.groups import groups
from restframe.track.prior import AXES, TimeAxis, roughness_penalty, speed_penalty


def sizes(starts, t):
    return np.diff([*starts, t]).tolist()


def test_equal_frames():
    assert sizes(groups(np.ones(120), 3), 120) == [3] * 40
    assert sizes(groups(np.ones(11), 4), 11) == [4, 4, 3]
    assert sizes(groups(np.ones(6), 1), 6) == [1] * 6
    assert groups(np.ones(1), 5) == (0,)


@pytest.mark.parametrize(("t", "expected"), [(2, [1, 1]), (3, [2, 1]), (4, [2, 2]), (7, [4, 3]), (8, [4, 4])])
def test_one_group_alone_is_never_made(t, expected):
    assert sizes(groups(np.ones(t), 4), t) == expected


def grouped(rows, n_raw, least):
    used = make_fractions(n_raw, Exposure(integration=rows))
    return sizes(groups(used.weight, least), len(used.frames))


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


def test_equal_doses_group_as_frames_do():
    assert grouped((Row(30, 1, 0.1), Row(30, 1, 0.1)), 60, 5) == [5] * 12


def test_time_between_the_groups_middles_is_interpolated():
    dose = np.array([0.5, 1.5, 2.5, 3.5, 5, 7, 9.5, 12.5])
    starts = (0, 4, 6)
    basis = time_basis(dose, TimeAxis(), 2, starts).values
    assert basis.shape[1] == len(starts) - 1  # at rest in frame 2
    nodes = [dose[:4].mean(), 6, 11]
    truth = line(dose, nodes)
    found = basis @ np.linalg.lstsq(basis, truth, rcond=None)[0]
    np.testing.assert_allclose(found, truth, atol=1e-9)


@pytest.mark.parametrize("starts", [(0, 4, 6), tuple(range(8))])
@pytest.mark.parametrize("axis", AXES[:4])
def test_the_penalties_are_diagonal(starts, axis):
    dose = np.array([0.5, 1.5, 2.5, 3.5, 5, 7, 9.5, 12.5])
    basis, s = time_basis(dose, axis, 2, starts), axis.of(dose)
    b = basis.values
    np.testing.assert_allclose(b[2], 0, atol=1e-12)
    np.testing.assert_allclose(b.T @ speed_penalty(s) @ b, np.eye(b.shape[1]), atol=1e-9)
    np.testing.assert_allclose(b.T @ roughness_penalty(s) @ b, np.diag(basis.rough), atol=1e-9)
    assert (np.diff(basis.rough) > 0).all()
    assert basis.rough[0] < 1e-9 or len(starts) == 3  # even motion is not rough


def line(dose, nodes):
    """Values 1, -2, 5 at the nodes, straight between and beyond, less that in frame 2."""
    first = 1 + (dose - nodes[0]) * (-2 - 1) / (nodes[1] - nodes[0])
    second = -2 + (dose - nodes[1]) * (5 + 2) / (nodes[2] - nodes[1])
    out = np.where(dose <= nodes[1], first, second)
    return out - out[2]
