"""Text for users that names settings.

The library names a setting as its field (``patches=(5, 5)``), the command names it as its flag (``-Patch 5 5``). A
`Message` is the text with the fields' names; its ``parts`` let the command write the flags instead.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from typing import Any


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
