"""Numba, configured: where compiled loops are kept, and how threads wait.

Modules with compiled loops import Numba (``nb``), or its decorators and types, from here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from stat import S_ISDIR
from tempfile import gettempdir, mkdtemp
from typing import Any

from restframe.environment import remove_unusable

remove_unusable(os.environ)
# threads that wait for work must not take the time of those that decode
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numba as nb  # noqa: E402 - reads the environment
from numba import int64, prange, uint8, uint32, uint64  # noqa: E402

from restframe.compiled_cache import check_cache_of  # noqa: E402


def _cache_is_writable() -> bool:
    """Whether Numba finds a folder for compiled code by itself; in a read-only container it does not."""
    source_folder = Path(__file__).parent
    return "NUMBA_CACHE_DIR" in os.environ or os.access(source_folder, os.W_OK) or os.access(Path.home(), os.W_OK)


def _private_folder() -> str:
    """A folder for temporary files to which only this user may write.

    Compiled code is executed from it. A folder that belongs to another user, or to which others may write, is
    therefore not used; a new folder takes its place.
    """
    if not hasattr(os, "getuid"):  # Windows
        return mkdtemp(prefix="restframe-")
    folder = Path(gettempdir()) / f"restframe-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return mkdtemp(prefix="restframe-")
    is_private = S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    return str(folder) if is_private else mkdtemp(prefix="restframe-")


if not _cache_is_writable():
    nb.config.CACHE_DIR = _private_folder()  # type: ignore[attr-defined]


def njit(**options: Any) -> Any:
    """`numba.njit`, whose cache is checked for damage. Use it with arguments: ``@njit(cache=True)``."""

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = nb.njit(**options)(function)
        check_cache_of(dispatcher)
        return dispatcher

    return compiled


__all__ = ["int64", "nb", "njit", "prange", "uint8", "uint32", "uint64"]
