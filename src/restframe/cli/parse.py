"""MotionCor2's rules of the command line.

Flags may be written in any case. Values reach up to the next ``-letter`` or ``--letter``. Lists are written with
blanks, with commas or in one argument. The first occurrence of a flag counts. Text that is not understood is reported
and left out.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from restframe.cli.flags import FLAGS, Flag, FlagValue, Status
from restframe.errors import SettingsError
from restframe.fields import LARGEST_INTEGER, Rule, expected_text, is_possible, ranges_text
from restframe.output.command import NO_COMMAND, Command

_FLAG = re.compile(r"--?[A-Za-z]")
_TYPESET_DASH = re.compile(r"[\u2010-\u2015\u2212](?=[A-Za-z])")  # commands copied from the manual's PDF have these
_COMMA_AND_DIGIT = re.compile(r",[0-9]")
_COMMA_AND_ZERO = re.compile(r"[0-9],0[0-9]")  # 1,015 is no list of two values
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Options:
    """What a command line says: every flag's values, the flags that were given, and remarks for stdout."""

    values: dict[str, tuple[FlagValue, ...]]
    given: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    command: Command = NO_COMMAND  # the whole command line

    def text(self, name: str) -> str:
        return str(self.values[name][0])

    def integers(self, name: str) -> tuple[int, ...]:
        return tuple(int(value) for value in self.values[name])

    def numbers(self, name: str) -> tuple[float, ...]:
        return tuple(float(value) for value in self.values[name])

    def integer(self, name: str) -> int:
        return self.integers(name)[0]

    def number(self, name: str) -> float:
        return self.numbers(name)[0]

    def is_on(self, name: str) -> bool:
        """Whether a flag of one integer has another value than 0."""
        return self.integer(name) != 0


def parse(arguments: Sequence[str]) -> Options:
    """Read a command line. Values that are not given are the table's defaults.

    Raises SettingsError for a value that is not a number, out of bounds or not among the choices.
    """
    flags_by_name = {flag.name.lower(): flag for flag in FLAGS}
    values: dict[str, tuple[FlagValue, ...]] = {}
    notes: list[str] = []
    for name, words in _grouped(arguments):
        flag = flags_by_name.get(name.lower())
        empty = not any(word.strip(" ,") for word in words)
        if not name:
            notes.append(f"Warning: {' '.join(words)!r} stands before any flag and is left out.")
        elif flag is None:
            notes.append(_unknown_flag(name, flags_by_name))
        elif flag.name in values:
            notes.append(f"Warning: {flag.name} is given more than once, the first one counts.")
        elif empty and flag.switch:
            values[flag.name] = (1,)
        elif empty:
            notes.append(f"Warning: {flag.name} is given without a value and is left out.")
        else:
            values[flag.name] = _flag_values(flag, words, notes)
            if flag.status is Status.INERT:
                notes.append(f"Note: {flag.name} has no effect in restframe.")
    completed = {flag.name: _with_defaults(flag, values.get(flag.name, ())) for flag in FLAGS}
    return Options(completed, frozenset(values), tuple(notes))


def _grouped(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each flag with the words that follow it; words before the first flag come with an empty name."""
    name = ""
    words: list[str] = []
    for argument in arguments:
        plain = _TYPESET_DASH.sub("-", argument, count=1) if _TYPESET_DASH.match(argument) else argument
        if _FLAG.match(plain):
            if name or words:
                yield name, words
            name, words = plain, []
        else:
            words.append(argument)
    if name or words:
        yield name, words


def _unknown_flag(name: str, flags_by_name: dict[str, Flag]) -> str:
    similar = difflib.get_close_matches(name.lower(), flags_by_name, n=1, cutoff=0.8)
    suggestion = f" Was {flags_by_name[similar[0]].name} meant?" if similar else ""
    return f"Warning: unknown flag {name} is left out.{suggestion}"


def _flag_values(flag: Flag, words: list[str], notes: list[str]) -> tuple[FlagValue, ...]:
    """The values of one flag, at most as many as it takes; ``notes`` gets a line for each surplus."""
    if flag.status is Status.INERT:
        return tuple(words)
    if flag.type is not str:
        _check_decimal_points(flag, words)
        words = [part for word in words for part in re.split(r"[,\s]+", word) if part]
    if flag.arity and len(words) > flag.arity:
        surplus = " ".join(words[flag.arity :])
        plural = "s" if flag.arity > 1 else ""
        notes.append(f"Warning: {flag.name} takes {flag.arity} value{plural}, {surplus!r} is left out.")
        words = words[: flag.arity]
    return tuple(_value(flag, word) for word in words)


def _check_decimal_points(flag: Flag, words: list[str]) -> None:
    """Raise SettingsError where commas stand for decimal points: on the command line they divide values.

    They do where they make more values than the flag takes, or a value that nobody writes, such as 015.
    """
    if flag.many or (flag.type is int and flag.arity > 1):
        return
    written = [part for word in words for part in word.split()]
    value_count = sum(bool(part) for word in written for part in word.split(","))
    decimal = _COMMA_AND_DIGIT if flag.arity == 1 else _COMMA_AND_ZERO
    if not any(decimal.search(word) for word in written) and (value_count <= flag.arity or "," not in "".join(words)):
        return
    with_points = " ".join(word.replace(",", ".") for word in written)
    plural = "s" if flag.arity > 1 else ""
    raise SettingsError(
        f"{flag.name} {' '.join(written)}: commas divide values, and {flag.name} takes {flag.arity} value{plural}. "
        f"Write decimal points: {flag.name} {with_points}."
    )


def _value(flag: Flag, text: str) -> FlagValue:
    if flag.choices and text not in flag.choices:
        raise SettingsError(f"{flag.name} {text}: expected {expected_text(str, None, None, flag.choices)}.")
    if flag.type is str:
        return text
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(number) or (flag.type is int and (number != int(number) or abs(number) > LARGEST_INTEGER)):
        raise SettingsError(f"{flag.name} {text}: expected {expected_text(flag.type, None, None)}.")
    if not is_possible(number, Rule("", flag.name, low=flag.low, high=flag.high, possible=flag.possible)):
        expected = expected_text(flag.type, flag.low, flag.high) + ranges_text(flag.usual, flag.possible, flag.unit)
        raise SettingsError(f"{flag.name} {text}: expected {expected}.")
    return flag.type(number)


def _with_defaults(flag: Flag, values: tuple[FlagValue, ...]) -> tuple[FlagValue, ...]:
    if flag.many:
        return values or flag.default
    if flag.doubled and len(values) == 1:
        values *= 2
    return values + flag.default[len(values) :]
