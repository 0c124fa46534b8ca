"""Text for users that names settings.

The library names a setting as its field (``patches=(5, 5)``), the command names it as its flag (``-Patch 5 5``). A
`Message` is the text with the fields' names; its ``parts`` let the command write the flags instead.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
MARKS = ("Full-frame alignment shift", "...... Frame")  # phrases by which programs find the table of shifts


def one_line(text: str) -> str:
    """``text`` as one line that cannot be taken for another: names of files may hold anything.

    Control characters are escaped (a newline becomes \\n), and so are the phrases that begin the table of shifts.
    """
    escaped = CONTROL_CHARACTERS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
    for mark in MARKS:
        escaped = escaped.replace(mark, mark.replace(" ", "\\x20"))
    return escaped


class Lines(str):
    """A text of several lines that stay together. Each is made `one_line`, except those of a `Lines` among them.

    >>> print(Lines(["", "Movie 1 of 2: a\\nb.tif"]))
    <BLANKLINE>
    Movie 1 of 2: a\\nb.tif
    """

    def __new__(cls, lines: Iterable[str]) -> Lines:
        return super().__new__(cls, "\n".join(line if isinstance(line, Lines) else one_line(line) for line in lines))

    @classmethod
    def verbatim(cls, text: str) -> Lines:
        """``text`` of our own, as it is."""
        return super().__new__(cls, text)

    def __reduce__(self) -> tuple[Any, ...]:
        return Lines.verbatim, (str(self),)


class _Absent(Enum):
    """Stands for a value that is not given, as None can be a value."""

    ABSENT = "absent"


ABSENT = _Absent.ABSENT


@dataclass(frozen=True)
class Setting:
    """A setting in a message: the name of a field in `restframe.settings` and, if given, its value."""

    field_name: str
    value: object = ABSENT

    def __str__(self) -> str:
        if self.value is ABSENT:
            return self.field_name
        value = os.fspath(self.value) if isinstance(self.value, os.PathLike) else self.value
        return f"{self.field_name}={value!r}"


class Message(str):
    """A text in which settings are named.

    As a str it names the fields. Parts are texts, settings and other messages:

        >>> Message(Setting("throw", 3), " leaves no frame.")
        'throw=3 leaves no frame.'
    """

    parts: tuple[str | Setting, ...]

    def __new__(cls, *parts: str | Setting) -> Message:
        flat: list[str | Setting] = []
        for part in parts:
            flat += part.parts if isinstance(part, Message) else [part]
        message = super().__new__(cls, "".join(map(str, flat)))
        message.parts = tuple(flat)
        return message

    def __reduce__(self) -> tuple[Any, ...]:
        return Message, self.parts
