"""Reading parts of a file.

Each call opens the file for itself: a file handle has one position, so threads must not share it (`os.pread`, which
needs no position, does not exist on Windows).
"""

from __future__ import annotations

import io
import os

from restframe.arrays import AnyArray


def read_bytes(path: str | os.PathLike[str], offset: int, count: int) -> bytes:
    """``count`` bytes of a file from byte ``offset``. Raises OSError if the file has fewer."""
    with open(path, "rb", buffering=0) as file:
        return read_from(file, offset, count)


def read_from(file: io.FileIO, offset: int, count: int) -> bytes:
    """``count`` bytes of an unbuffered file from byte ``offset``. Raises OSError if the file has fewer."""
    file.seek(offset)
    parts: list[bytes] = []
    while count and (part := file.read(count)):  # one read may return less, and never more than 2 GB
        parts.append(part)
        count -= len(part)
    if count:
        raise OSError(f"{count} bytes are missing")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_array(path: str | os.PathLike[str], offset: int, array: AnyArray) -> int:
    """Fill a contiguous array with the bytes of a file from byte ``offset``. Returns the bytes read: fewer than the
    array has if the file ends before.
    """
    data, position = array.reshape(-1).view("u1").data, 0
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        while position < len(data) and (count := file.readinto(data[position:])):
            position += count
    return position
