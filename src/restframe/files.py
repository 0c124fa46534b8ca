"""What may be read: regular files. A pipe or a device can make a reader wait, or go on, for ever."""

from __future__ import annotations

import errno
import os
import stat

from restframe.errors import InputError

KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def why_unreadable(path: str | os.PathLike[str]) -> str | None:
    """What ``path`` is instead of a regular file or a folder, links followed; None for these two."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads to itself"
        if os.path.islink(path):
            return "a link to a file that does not exist"
        return None  # whoever opens it says what is wrong
    return next((name for is_kind, name in KINDS if is_kind(mode)), None)


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise InputError for what is no regular file. A missing file and a folder are left to whoever opens them."""
    kind = why_unreadable(path)
    if kind is not None:
        raise InputError(f"{os.fspath(path)} is {kind}. Only regular files are read: give a file with that content.")
