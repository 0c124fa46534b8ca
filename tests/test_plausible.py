"""Values outside their usual range are used and named; those outside what can be computed are errors."""

import math
import re

import numpy as np
import pytest

import restframe
from restframe.errors import SettingsError
from restframe.plausible import unusual_values
from restframe.settings import SETTINGS, Settings, with_choices


@pytest.fixture(scope="module")
def movie():
    """A specimen that moves by half a pixel from frame to frame, (12, 128, 128)."""
    rng = np.random.default_rng(3)
    scene = np.kron(rng.integers(2, 12, (48, 48)), np.ones((4, 4)))
    return rng.poisson([scene[8:136, 20 - t // 2 : 148 - t // 2] for t in range(12)]).astype(np.uint8)


def warnings_of(movie, **choices):
    said = []
    result = restframe.correct(movie, report=said.append, **choices)
    return result, [line for line in said if "usual range" in line]


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({"pixel_size": 0.01}, "Warning: pixel_size=0.01 is outside the usual range, 0.1 to 20 A."),
        ({"pixel_size": 0.05}, "Warning: pixel_size=0.05 is outside the usual range, 0.1 to 20 A."),
        ({"pixel_size": 25.0}, "Warning: pixel_size=25.0 is outside the usual range, 0.1 to 20 A."),
        ({"pixel_size": 0.1}, None),
        ({"pixel_size": 20.0}, None),
        ({"frame_dose": 33.0, "pixel_size": 1.0}, None),
        (
            {"frame_dose": 34.0, "pixel_size": 1.0},
            "Warning: frame_dose=34.0 makes a total dose of 408 e/A², outside the usual range, up to 400 e/A².",
        ),
        (
            {"integration": ((12, 1, 50.0),)},
            "Warning: integration makes a total dose of 600 e/A², outside the usual range, up to 400 e/A².",
        ),
        (
            {"initial_dose": 500.0, "frame_dose": 1.0},
            "Warning: initial_dose=500.0 is outside the usual range, 0 to 400 e/A².",
        ),
        ({"magnification": (1.3, 1.0, 5.0)}, "Warning: magnification=(1.3, 1.0, 5.0) is outside the usual range"),
        ({"voltage": 60.0}, "Warning: voltage=60.0 is outside the usual range, 80 to 300 kV."),
        ({"bin": 16.0}, None),
        ({"bfactor": (1e5, 100.0)}, "Warning: bfactor=(100000.0, 100.0) is outside the usual range, 0 to 10000 px²."),
    ],
)
def test_a_value_outside_the_usual_range_is_named_and_used(movie, choices, expected):
    result, warnings = warnings_of(movie, **choices)
    assert np.isfinite(result.sum).all() and math.isclose(result.sum.mean(), movie.sum(0).mean(), rel_tol=0.02)
    assert (warnings == []) if expected is None else warnings[0].startswith(expected)


@pytest.mark.parametrize("dose", [40.0, 200.0, 1000.0])
def test_doses_that_leave_little_give_finite_sums(movie, dose):
    result, warnings = warnings_of(movie, pixel_size=1.5, frame_dose=dose)
    assert np.isfinite(result.dose_weighted).all() and "400 e/A²" in warnings[-1]


@pytest.mark.parametrize(
    "choices", [{"frame_dose": 5000.0}, {"frame_dose": 1e5}, {"initial_dose": 1e4, "frame_dose": 1.0}]
)
def test_doses_that_leave_nothing_are_errors(movie, choices):
    name = next(iter(choices))
    with pytest.raises(SettingsError, match=rf"^{name}=.*no dose weights.* up to 400 e/A² is usual"):
        restframe.correct(movie, pixel_size=1.5, **choices)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pixel_size", 1e6),
        ("pixel_size", 1e-4),
        ("frame_dose", 1e6),
        ("frame_dose", 1e-300),
        ("initial_dose", 1e300),
        ("bfactor", (1e300, 100.0)),
        ("threads", 10**7),
        ("magnification", (1e300, 1.0, 0.0)),
        ("magnification", (1.0, 0.01, 0.0)),
        ("magnification", (1.0, 1.0, 1e9)),
        ("iterations", 10**30),
        ("stack_group", 1e300),
    ],
)
def test_what_cannot_be_computed_is_an_error(name, value):
    with pytest.raises(SettingsError, match=rf"^{name}=.*expected") as caught:
        with_choices(Settings(), {name: value})
    assert name in ("iterations", "stack_group") or "usual" in str(caught.value)


def test_ranges_of_the_table():
    assert unusual_values(Settings()) == ()
    for info in SETTINGS.values():
        rule = info.rule
        if rule.usual and rule.possible:
            assert rule.possible[0] <= max(rule.usual[0], rule.possible[0]) < rule.usual[1] <= rule.possible[1]
        if rule.usual:
            low, high = rule.usual
            default = info.default if isinstance(info.default, tuple) else (info.default,)
            assert all(number == 0 or low <= number <= high for number in default)
            assert re.search(r"usual", info.expected)
