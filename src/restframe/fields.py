"""Fields of the settings that describe themselves: what a field's metadata and annotation say about its values, and the
check of a value made from them.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from restframe.errors import SettingsError
from restframe.messages import Setting

NUMBER_WORDS = {2: "two", 3: "three"}
LARGEST_INTEGER = 2**53  # floating point arithmetic is exact up to there

Default = TypeVar("Default")

_ROWS: dict[type, tuple[SettingInfo, ...]] = {}  # of the classes seen so far: reading annotations takes time


@dataclass(frozen=True)
class Ranges:
    """Plausible values of a setting, least and largest."""

    usual: tuple[float, float]  # a value outside it is used, with a warning
    possible: tuple[float, float] | None = None  # what can be computed, beside 0, which means unknown


@dataclass(frozen=True)
class Rule:
    """What a field's metadata says about its values. ``description`` names other fields in braces."""

    description: str
    flag: str  # of the command; a second word is a value that stands before the field's own
    unit: str = ""
    low: float | None = None
    high: float | None = None
    usual: tuple[float, float] | None = None  # a value outside it is used, with a warning
    possible: tuple[float, float] | None = None  # what can be computed, beside 0, which means unknown


def setting(
    default: Default,
    description: str,
    flag: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    ranges: Ranges | None = None,
) -> Default:
    """A dataclass field with its `Rule`. Type, number of values and choices are those of the annotation."""
    usual, possible = (None, None) if ranges is None else (ranges.usual, ranges.possible)
    return field(default=default, metadata={"rule": Rule(description, flag, unit, low, high, usual, possible)})


@dataclass(frozen=True)
class SettingInfo:
    """A row of the table of settings: a field's name, default, rule, and what its annotation says."""

    name: str
    default: Any
    rule: Rule
    value_type: type  # bool, int, float, str; object: a path or an array
    count: int | None = 1  # number of values; None: any number
    choices: tuple[str, ...] = ()
    classes: tuple[type, ...] = ()  # of a path or an array

    @property
    def expected(self) -> str:
        """What values the field takes, for error messages."""
        if self.value_type is object:
            readable = {np.ndarray: "an array", tuple: "a tuple of rows"}
            return " or ".join(["a file name", *(text for kind, text in readable.items() if kind in self.classes)])
        text = expected_text(self.value_type, self.rule.low, self.rule.high, self.choices, self.count)
        return text + ranges_text(self.rule.usual, self.rule.possible, self.rule.unit)


def expected_text(
    value_type: type, low: float | None, high: float | None, choices: tuple[str, ...] = (), count: int | None = 1
) -> str:
    """For example "an integer, 0 to 3", "two numbers", "one of data, bfactor"."""
    if choices:
        return f"one of {', '.join(choices)}"
    if value_type is bool:
        return "True or False"
    one, many = ("an integer", "integers") if value_type is int else ("a number", "numbers")
    kind = one if count == 1 else f"a tuple of {many}" if count is None else f"{NUMBER_WORDS[count]} {many}"
    return kind + (f", {bounds_text(low, high)}" if low is not None else "")


def bounds_text(low: float, high: float | None) -> str:
    """For example "0 or more", "0 to 3"."""
    return f"{low:g} or more" if high is None else f"{low:g} to {high:g}"


def ranges_text(usual: tuple[float, float] | None, possible: tuple[float, float] | None, unit: str = "") -> str:
    """What follows the bounds of a value: "; 0.1 to 20 A is usual, 0.001 to 1000 A is possible"."""
    ranges = (("usual", usual), ("possible", possible))
    texts = [f"{bounds_text(*bounds)} {unit}".rstrip() + f" is {word}" for word, bounds in ranges if bounds]
    return "; " + ", ".join(texts) if texts else ""


class Checked:
    """Base of the dataclasses of settings, which checks and normalises the values of a new object."""

    def __post_init__(self) -> None:
        for info in fields_of(type(self)):
            object.__setattr__(self, info.name, checked_value(info, getattr(self, info.name)))


def checked_value(info: SettingInfo, value: object) -> object:
    """``value`` in the type of the field: NumPy's numbers become Python's, sequences become tuples.

    Raises SettingsError for a wrong type or number of values, and for values out of bounds or not among the choices.
    """
    try:
        if info.value_type is object:
            return _checked_instance(value, info.classes)
        if info.count == 1:
            return _checked_scalar(info, value)
        if not isinstance(value, tuple | list | range | np.ndarray) or info.count not in (None, len(value)):
            raise ValueError
        return tuple(_checked_scalar(info, single) for single in value)
    except (ValueError, OverflowError):
        raise SettingsError(Setting(info.name, value), f": expected {info.expected}.") from None


def _checked_instance(value: object, classes: tuple[type, ...]) -> object:
    if not isinstance(value, classes):
        raise ValueError
    return value


def _checked_scalar(info: SettingInfo, value: object) -> bool | int | float | str:
    """One value in the type of the field. Raises ValueError."""
    if info.choices:
        if not isinstance(value, str) or value not in info.choices:
            raise ValueError
        return value
    if info.value_type is bool:
        if not isinstance(value, bool | np.bool_ | Integral) or value not in (0, 1):
            raise ValueError
        return bool(value)
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        raise ValueError
    number = int(value) if isinstance(value, Integral) else float(value)
    if not math.isfinite(number) or not is_possible(number, info.rule):
        raise ValueError
    if info.value_type is int and (number != int(number) or abs(number) > LARGEST_INTEGER):
        raise ValueError
    return int(number) if info.value_type is int else float(number)


def is_possible(number: float, rule: Rule) -> bool:
    """Whether a value is within the bounds of what can be computed."""
    if rule.possible is not None and number != 0 and not rule.possible[0] <= number <= rule.possible[1]:
        return False
    return (rule.low is None or number >= rule.low) and (rule.high is None or number <= rule.high)


def fields_of(settings_class: type[Any]) -> tuple[SettingInfo, ...]:
    """The rows of the table for one class."""
    if settings_class not in _ROWS:
        annotations = get_type_hints(settings_class)
        _ROWS[settings_class] = tuple(_info(one, annotations[one.name]) for one in fields(settings_class))
    return _ROWS[settings_class]


def _info(one: dataclasses.Field[Any], annotation: Any) -> SettingInfo:
    rule: Rule = one.metadata["rule"]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal and isinstance(arguments[0], str):
        return SettingInfo(one.name, one.default, rule, str, choices=arguments)
    if origin is Literal:
        return SettingInfo(one.name, one.default, replace(rule, low=min(arguments), high=max(arguments)), int)
    if origin is tuple:
        count = None if arguments[-1] is Ellipsis else len(arguments)
        return SettingInfo(one.name, one.default, rule, arguments[0], count)
    if origin in (Union, UnionType):
        classes = tuple(get_origin(argument) or argument for argument in arguments)
        return SettingInfo(one.name, one.default, rule, object, classes=classes)
    return SettingInfo(one.name, one.default, rule, annotation)
