"""The chain of a TIFF file's directories, one a frame, followed strictly.

tifffile takes a chain that breaks off for its end, and may follow a damaged one for ever.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from restframe.errors import InputError


def check_chain(path: Path) -> None:
    """Follow the chain to its end. Raises `InputError` if it leaves the file or comes back to where it was."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(4)
        order = "<" if magic[:2] == b"II" else ">"
        big = b"+" in magic
        count_format, offset_format, tag_bytes = ("Q", "Q", 20) if big else ("H", "I", 12)
        pointer, seen = (8 if big else 4), set[int]()
        while True:
            offset = _number(file, pointer, order + offset_format)
            if offset == 0 and seen:
                return
            tags = _number(file, offset, order + count_format) if offset and offset not in seen else None
            pointer = 0 if offset is None or tags is None else offset + (8 if big else 2) + tags * tag_bytes
            if not 0 < pointer < size:
                raise InputError(
                    f"{path} is cut short or damaged: only {len(seen)} whole frames can be found. Copy the movie again."
                )
            seen.add(offset or 0)


def _number(file, offset: int, form: str) -> int | None:
    """None: beyond the end of the file."""
    file.seek(offset)
    raw = file.read(struct.calcsize(form))
    return struct.unpack(form, raw)[0] if len(raw) == struct.calcsize(form) else None
