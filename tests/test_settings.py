"""The table of settings: what fields accept, and that everything made from the table agrees with it."""

from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pytest

from restframe.errors import SettingsError
from restframe.settings import (
    SETTINGS,
    Choices,
    Detector,
    Exposure,
    Machine,
    Motion,
    Row,
    Settings,
    Sums,
    Transfer,
    usable_dose_range,
    with_choices,
)

TOPICS = (Detector, Exposure, Motion, Sums, Transfer, Machine)


def test_choices_are_the_fields():
    assert get_type_hints(Choices) == {name: hint for topic in TOPICS for name, hint in get_type_hints(topic).items()}
    assert list(SETTINGS) == [one.name for topic in TOPICS for one in fields(topic)] == list(Choices.__annotations__)


@pytest.mark.parametrize("info", SETTINGS.values(), ids=lambda info: info.name)
def test_defaults_are_accepted_as_they_are(info):
    settings = with_choices(Settings(), {info.name: info.default})
    assert settings == Settings()
    assert info.rule.description.endswith(".") and info.rule.flag.startswith("-")
    info.rule.description.format_map(dict.fromkeys(SETTINGS, ""))  # it only names fields


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("throw", 2.0, 2),
        ("throw", np.int64(2), 2),
        ("throw", np.float32(2), 2),
        ("voltage", 200, 200.0),
        ("bin", np.float32(1.5), 1.5),
        ("align", np.bool_(False), False),
        ("align", 0, False),
        ("patches", [5, 7.0], (5, 7)),
        ("crop", np.array([10, 20]), (10, 20)),
        ("sum_range", (3, 25), (3.0, 25.0)),
        ("sum_range", (-2, 20), (-2.0, 20.0)),
        ("gpus", [0, np.int32(1)], (0, 1)),
        ("gpus", range(2), (0, 1)),
        ("integration", [(20, 1, 0.5), Row(10, 2)], (Row(20, 1, 0.5), Row(10, 2, 0.0))),
    ],
)
def test_equal_values_of_other_types_become_the_fields_type(name, value, expected):
    settings = with_choices(Settings(), {name: value})
    found = next(getattr(topic, name) for topic in vars(settings).values() if hasattr(topic, name))
    assert found == expected and type(found) is type(expected)
    if isinstance(found, tuple):
        assert [type(single) for single in found] == [type(single) for single in expected]


@pytest.mark.parametrize("value", [10**400, 1j, None, np.array(3.5), "3", [3]])
def test_what_is_no_number(value):
    with pytest.raises(SettingsError, match=r"^throw=.*: expected an integer, 0 or more\.$"):
        Exposure(throw=value)


def test_settings_with_arrays_can_be_compared():
    gain = np.ones((4, 6))
    assert Settings(Detector(gain=gain)) == Settings(Detector(gain=gain.copy()))
    assert Settings(Detector(gain=gain)) != Settings(Detector(gain=2 * gain))
    assert Detector(gain="gain.mrc") != Detector(gain=gain)
    assert Detector() != Motion()


@pytest.mark.parametrize(
    ("sum_range", "expected"),
    [((0, 0), None), ((3, 4), None), ((3, 25), (3, 25)), ((-2, 20), (0, 20)), ((-5, -1), None), ((-5, 0.5), None)],
)
def test_dose_range(sum_range, expected):
    assert Sums(sum_range=sum_range).dose_range == usable_dose_range(*sum_range) == expected
