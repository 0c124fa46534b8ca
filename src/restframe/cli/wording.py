"""From the library's names of settings to the command's: messages that name fields are written with flags."""

from __future__ import annotations

import os

from restframe.cli.flags import FLAG_WORDS, values_text
from restframe.messages import ABSENT, Message, Setting

KNOWN_MOTION_FLAG = "-InAln"  # gives what the library's functions take as `field`


def with_flags(text: str) -> str:
    """``text`` with flags in place of the fields that it names as a `Message`; other text as it is."""
    if not isinstance(text, Message):
        return text
    return "".join(_flag_and_value(part) if isinstance(part, Setting) else part for part in text.parts)


def _flag_and_value(setting: Setting) -> str:
    """For example "-Patch 5 5", as the user would write it; the flag alone where no value is given."""
    flag = KNOWN_MOTION_FLAG if setting.field_name == "field" else FLAG_WORDS[setting.field_name]
    if setting.value is ABSENT:
        return flag.split()[0]
    if setting.field_name == "max_memory" and isinstance(setting.value, int):
        return f"{flag} {setting.value / 1e9:.3g}GB"
    return f"{flag} {_value_text(setting.value)}"


def _value_text(value: object) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(_value_text, value))
    if isinstance(value, int | float):
        return values_text((value,))
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)
