"""Numba, told where it keeps compiled loops and how its threads wait. Modules with such loops take it from here."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import gettempdir

# threads that wait for work must not take the time of those that decode
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numba as nb


def _can_cache() -> bool:
    """Whether Numba finds a place for compiled code by itself; in a read-only container it does not."""
    home = Path.home()
    return "NUMBA_CACHE_DIR" in os.environ or os.access(Path(__file__).parent, os.W_OK) or os.access(home, os.W_OK)


if not _can_cache():
    nb.config.CACHE_DIR = str(Path(gettempdir()) / f"restframe-{os.getuid()}")  # type: ignore[attr-defined]

__all__ = ["nb"]
