"""Numba's cache of compiled loops, made safe against damage.

Numba unpickles what it finds in its cache folder. A file that is empty, cut short or changed would end every run, or
damaged code would be executed. Here each file carries a checksum. A file without the right one is removed, one line
says so, and the loop is compiled again. Caches of other packages are left alone.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from numba.core import caching

NumbaCacheFile: Any = caching.IndexDataCacheFile  # Numba has no types
logger = logging.getLogger("restframe")

MARK = b"restframe-sha256"
SEAL_BYTES = len(MARK) + hashlib.sha256().digest_size
_reported_folders: set[str] = set()  # one line for each folder, not for each loop


def with_checksum(data: bytes) -> bytes:
    """``data`` and its checksum; pickle ignores what follows its data."""
    return data + MARK + hashlib.sha256(data).digest()


def has_checksum(content: bytes) -> bool:
    """Whether ``content`` is what `with_checksum` made."""
    return with_checksum(content[:-SEAL_BYTES]) == content


class CheckedCacheFile(NumbaCacheFile):  # type: ignore[misc]
    """The index and data files of one loop, with checksums."""

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[io.BytesIO]:
        buffer = io.BytesIO()
        yield buffer
        with super()._open_for_write(filepath) as file:
            file.write(with_checksum(buffer.getvalue()))

    def _load_index(self) -> dict[Any, Any]:
        return super()._load_index() if self._is_intact(self._index_path) else {}

    def _load_data(self, name: str) -> Any:
        return super()._load_data(name) if self._is_intact(self._data_path(name)) else None

    def _is_intact(self, path: str) -> bool:
        """Whether a file has the right checksum. Removes a damaged one; a missing one is left to Numba."""
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            return True
        if has_checksum(content):
            return True
        folder = os.path.dirname(path)
        if folder not in _reported_folders:
            _reported_folders.add(folder)
            logger.warning("compiled loops in %s are damaged or of an earlier version; they are compiled again", folder)
        with suppress(OSError):
            os.unlink(path)
        return False


def check_cache_of(dispatcher: Any) -> None:
    """Let a loop that `numba.njit` made with ``cache=True`` use files with checksums."""
    cache_file = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if type(cache_file) is NumbaCacheFile:
        cache_file.__class__ = CheckedCacheFile
