"""MotionCor2's rules of the command line.

Flags in any case; values reach up to the next ``-letter`` or ``--letter``; lists with blanks, with commas or in one
argument; the first occurrence of a flag counts; what is not understood is reported and left out.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from restframe.cli.flags import FLAGS, Flag, Status, Value
from restframe.errors import SettingsError

_FLAG = re.compile(r"--?[A-Za-z]")
_TYPESET_DASH = re.compile(r"[\u2010-\u2015\u2212](?=[A-Za-z])")  # commands copied from the manual's PDF have these
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Options:
    """What a command line says: every flag's values, which flags were given, remarks for stdout."""

    values: dict[str, tuple[Value, ...]]
    given: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def text(self, name: str) -> str:
        return str(self.values[name][0])

    def integers(self, name: str) -> tuple[int, ...]:
        return tuple(int(v) for v in self.values[name])

    def numbers(self, name: str) -> tuple[float, ...]:
        return tuple(float(v) for v in self.values[name])

    def integer(self, name: str) -> int:
        return self.integers(name)[0]

    def number(self, name: str) -> float:
        return self.numbers(name)[0]


def parse(arguments: Sequence[str]) -> Options:
    """Read a command line. Values that are left out are the table's defaults.

    Raises SettingsError for a value that is no number or out of bounds.
    """
    table = {flag.name.lower(): flag for flag in FLAGS}
    found: dict[str, tuple[Value, ...]] = {}
    notes: list[str] = []
    for word, words in _grouped(arguments):
        flag = table.get(word.lower())
        if not word:
            notes.append(f"Warning: {' '.join(words)!r} stands before any flag and is left out.")
        elif flag is None:
            notes.append(_unknown(word, table))
        elif flag.name in found:
            notes.append(f"Warning: {flag.name} is given more than once, the first one counts.")
        elif not any(w.strip(" ,") for w in words):
            notes.append(f"Warning: {flag.name} is given without a value and is left out.")
        else:
            found[flag.name] = _values(flag, words, notes)
            if flag.status is Status.INERT:
                notes.append(f"Note: {flag.name} has no effect in restframe.")
    values = {f.name: _completed(f, found.get(f.name, ())) for f in FLAGS}
    return Options(values, frozenset(found), tuple(notes))


def _grouped(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each flag with the words that follow it; words before the first flag come with an empty one."""
    word = ""
    words: list[str] = []
    for argument in arguments:
        plain = _TYPESET_DASH.sub("-", argument, count=1) if _TYPESET_DASH.match(argument) else argument
        if _FLAG.match(plain):
            if word or words:
                yield word, words
            word, words = plain, []
        else:
            words.append(argument)
    if word or words:
        yield word, words


def _unknown(word: str, table: dict[str, Flag]) -> str:
    close = difflib.get_close_matches(word.lower(), table, n=1, cutoff=0.8)
    hint = f" Was {table[close[0]].name} meant?" if close else ""
    return f"Warning: unknown flag {word} is left out.{hint}"


def _values(flag: Flag, words: list[str], notes: list[str]) -> tuple[Value, ...]:
    """The values of one flag, at most as many as it takes."""
    if flag.status is Status.INERT:
        return tuple(words)
    parts = words if flag.type is str else [p for w in words for p in re.split(r"[,\s]+", w) if p]
    if flag.arity and len(parts) > flag.arity:
        rest = " ".join(parts[flag.arity :])
        notes.append(f"Warning: {flag.name} takes {flag.arity} value{'s'[: flag.arity > 1]}, {rest!r} is left out.")
        parts = parts[: flag.arity]
    return tuple(_value(flag, part) for part in parts)


def _value(flag: Flag, text: str) -> Value:
    if flag.choices and text not in flag.choices:
        raise SettingsError(f"{flag.name} {text}: expected one of {', '.join(flag.choices)}.")
    if flag.type is str:
        return text
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    kind = "an integer" if flag.type is int else "a number"
    if not math.isfinite(number) or (flag.type is int and number != int(number)):
        raise SettingsError(f"{flag.name} {text}: expected {kind}.")
    if (flag.low is not None and number < flag.low) or (flag.high is not None and number > flag.high):
        bounds = f"{flag.low:g} or more" if flag.high is None else f"{flag.low:g} to {flag.high:g}"
        raise SettingsError(f"{flag.name} {text}: expected {kind}, {bounds}.")
    return flag.type(number)


def _completed(flag: Flag, values: tuple[Value, ...]) -> tuple[Value, ...]:
    if flag.many:
        return values or flag.default
    if flag.doubled and len(values) == 1:
        values *= 2
    return values + flag.default[len(values) :]


def show(values: tuple[Value, ...]) -> str:
    """Values as text, as the parameter echo and the help print them."""
    return " ".join(v if isinstance(v, str) else f"{v:.10g}" for v in values)
