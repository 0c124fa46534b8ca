"""Reading parts of a file.

Each call opens the file for itself: a file handle has one position, so threads must not share it (`os.pread`, which
needs no position, does not exist on Windows).
"""

from __future__ import annotations

import io
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from restframe.arrays import AnyArray

Fill = Callable[[AnyArray, int], int]  # array, byte offset; returns the bytes read


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


@contextmanager
def shared_reader(path: str | os.PathLike[str]) -> Iterator[Fill]:
    """`read_array` of one file for use by many threads. The file is opened once where the system has `os.preadv`: to
    open a file of 256 MB for each 2 MB takes a third of the time of reading it.
    """
    if not hasattr(os, "preadv"):
        yield lambda array, offset: read_array(path, offset, array)
        return
    descriptor = os.open(path, os.O_RDONLY)

    def fill(array: AnyArray, offset: int) -> int:
        data, position = array.reshape(-1).view("u1").data, 0
        while position < len(data) and (count := os.preadv(descriptor, [data[position:]], offset + position)):
            position += count
        return position

    try:
        yield fill
    finally:
        os.close(descriptor)


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


def file_state(path: str | os.PathLike[str] | None) -> tuple[int, ...] | None:
    """What changes when a file is written to or replaced: size, time of the change, identity. None without a file."""
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev


class Content(Protocol):
    """Bytes that several threads may read."""

    original_bytes: int  # of the whole content, also where not all of it was kept

    def append(self, piece: bytes | bytearray) -> None:
        """Add bytes at the end."""
        ...

    def read_into(self, offset: int, array: AnyArray) -> int:
        """As `read_array`."""
        ...


class FileContent:
    """The bytes of a file as it is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.original_bytes = os.stat(path).st_size

    def append(self, piece: bytes | bytearray) -> None:
        """Not possible: movies are never changed."""
        raise io.UnsupportedOperation("append")

    def read_into(self, offset: int, array: AnyArray) -> int:
        """See `Content.read_into`."""
        return read_array(self.path, offset, array)


class MemoryContent:
    """Bytes in memory."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.original_bytes = 0

    def append(self, piece: bytes | bytearray) -> None:
        """See `Content.append`."""
        self._bytes += piece

    def read_into(self, offset: int, array: AnyArray) -> int:
        """See `Content.read_into`."""
        destination = array.reshape(-1).view("u1").data
        count = max(0, min(len(destination), len(self._bytes) - offset))
        destination[:count] = memoryview(self._bytes)[offset : offset + count]
        return count


class TemporaryContent:
    """Bytes in an open file without a name, which disappears with this object."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        weakref.finalize(self, file.close)
        self._lock = threading.Lock()  # the file has one position
        self.original_bytes = 0

    def append(self, piece: bytes | bytearray) -> None:
        """See `Content.append`."""
        self._file.write(piece)

    def read_into(self, offset: int, array: AnyArray) -> int:
        """See `Content.read_into`."""
        destination = array.reshape(-1).view("u1").data
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(destination)  # type: ignore[attr-defined, no-any-return]
