"""The chain of a TIFF file's directories, one for each frame, followed strictly.

tifffile takes a chain that breaks off for a complete one, and may follow a damaged chain without end.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from restframe.errors import InputError


def count_directories(path: Path) -> int:
    """The number of directories of the chain. Raises `InputError` if it leaves the file or returns to a directory."""
    with open(path, "rb") as file:
        file_bytes = os.fstat(file.fileno()).st_size
        magic = file.read(4)
        byte_order = "<" if magic[:2] == b"II" else ">"
        is_big = b"+" in magic
        count_format, offset_format, tag_bytes = ("Q", "Q", 20) if is_big else ("H", "I", 12)
        pointer, visited = (8 if is_big else 4), set[int]()
        while True:
            offset = _read_number(file, pointer, byte_order + offset_format)
            if offset is not None and offset >= file_bytes:
                offset = None
            if offset == 0 and visited:
                return len(visited)
            is_new = offset and offset not in visited
            tag_count = _read_number(file, offset, byte_order + count_format) if offset and is_new else None
            pointer = 0
            if offset is not None and tag_count is not None:
                pointer = offset + (8 if is_big else 2) + tag_count * tag_bytes
            if not 0 < pointer < file_bytes:
                raise InputError(
                    f"{path} is cut short or damaged: only {len(visited)} whole frames can be found. "
                    "Copy the movie again."
                )
            visited.add(offset or 0)


def _read_number(file: BinaryIO, offset: int, number_format: str) -> int | None:
    """None if the number lies beyond the end of the file."""
    file.seek(offset)
    encoded = file.read(struct.calcsize(number_format))
    if len(encoded) != struct.calcsize(number_format):
        return None
    number: int = struct.unpack(number_format, encoded)[0]
    return number
