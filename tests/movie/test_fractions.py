import numpy as np
import pytest

from restframe.errors import SettingsError
from restframe.movie import fractions
from restframe.settings import Exposure


def test_what_is_thrown_away_counts_as_dose():
    used = fractions(10, Exposure(frame_dose=1.5, initial_dose=4.0, throw=2, trunc=3))
    assert list(used.frames) == [2, 3, 4, 5, 6]
    np.testing.assert_allclose(used.dose, 1.5)
    np.testing.assert_allclose(used.accumulated, [8.5, 10.0, 11.5, 13.0, 14.5])


def test_every_frame_by_default():
    used = fractions(3, Exposure())
    assert list(used.frames) == [0, 1, 2]
    np.testing.assert_array_equal(used.accumulated, 0)


def test_one_frame_may_be_left():
    assert list(fractions(5, Exposure(throw=2, trunc=2)).frames) == [2]


@pytest.mark.parametrize(("throw", "trunc"), [(5, 0), (0, 5), (3, 2), (9, 9)])
def test_no_frame_left(throw, trunc):
    with pytest.raises(SettingsError, match=f"-Throw {throw} and -Trunc {trunc} leave none of the movie's 5 frames"):
        fractions(5, Exposure(throw=throw, trunc=trunc))


@pytest.mark.parametrize("name", ["throw", "trunc", "frame_dose", "initial_dose"])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_impossible_values(name, value):
    with pytest.raises(SettingsError, match="expected a value of 0 or more"):
        fractions(5, Exposure(**{name: value}))
