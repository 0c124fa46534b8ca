"""Numba, told where it keeps compiled loops and how its threads wait. Modules with such loops take it from here."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISDIR
from tempfile import gettempdir, mkdtemp

# threads that wait for work must not take the time of those that decode
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numba as nb


def _can_cache() -> bool:
    """Whether Numba finds a place for compiled code by itself; in a read-only container it does not."""
    home = Path.home()
    return "NUMBA_CACHE_DIR" in os.environ or os.access(Path(__file__).parent, os.W_OK) or os.access(home, os.W_OK)


def _own_folder() -> str:
    """A folder under the temporary ones that is ours alone: compiled code is run as it lies there, so one that somebody
    else has made or may write to is not used.
    """
    if not hasattr(os, "getuid"):
        return mkdtemp(prefix="restframe-")
    folder = Path(gettempdir()) / f"restframe-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return mkdtemp(prefix="restframe-")
    ours = S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return str(folder) if ours else mkdtemp(prefix="restframe-")


if not _can_cache():
    nb.config.CACHE_DIR = _own_folder()  # type: ignore[attr-defined]

__all__ = ["nb"]
