"""The movies of a folder, and the part of each name that goes into the names of its results (manual 12)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from restframe.errors import InputError

EXTENSIONS = {"mrc": (".mrc", ".mrcs", ".st"), "tiff": (".tif", ".tiff"), "eer": (".eer",)}
CUTS = (".mrc", ".tif", ".eer", ".st")  # the first of these that a name has ends its serial part


@dataclass(frozen=True)
class Listing:
    folder: str  # as given, with the slash
    prefix: str
    movies: tuple[tuple[str, str], ...]  # name, serial part; sorted by name
    passed_over: int  # files that have the prefix but are no movies of this kind


def list_movies(start: str, kind: str, suffix: str = "", skips: Sequence[str] = ()) -> Listing:
    """The movies whose path begins with ``start``: a folder and a prefix, or a folder alone.

    Names have to begin with the prefix, contain ``suffix`` after it in any case, or, without one, have an extension of
    ``kind`` ('mrc', 'tiff', 'eer'), and contain none of ``skips``. Where there are movies of one other kind only, the
    flag was wrong and they are meant. Hidden files and folders are left out.
    Raises `InputError` if the folder can't be read.
    """
    folder, slash, prefix = start.rpartition("/")
    folder = folder + slash or "./"
    names = _names(folder)
    if prefix and os.path.isdir(start) and not any(n.startswith(prefix) for n in names):
        folder, prefix = f"{start}/", ""
        names = _names(folder)
    candidates = [n for n in names if n.startswith(prefix) and not any(s in n for s in skips)]
    present = [k for k in EXTENSIONS if any(_fits(n, prefix, "", k) for n in candidates)]
    meant = present[0] if kind not in present and len(present) == 1 else kind
    movies = tuple((n, serial_part(n, prefix, suffix)) for n in candidates if _fits(n, prefix, suffix, meant))
    return Listing(folder, prefix, movies, len(candidates) - len(movies))


def serial_part(name: str, prefix: str = "", suffix: str = "") -> str:
    """``name`` without the prefix, cut where the suffix begins, or, without one, the extension. Any case."""
    rest = name[len(prefix) :]
    for cut in (suffix,) if suffix else CUTS:
        found = rest.lower().find(cut.lower())
        if found >= 0:
            return rest[:found]
    return rest


def _fits(name: str, prefix: str, suffix: str, kind: str) -> bool:
    rest = name[len(prefix) :].lower()
    return suffix.lower() in rest if suffix else rest.endswith(EXTENSIONS[kind])


def _names(folder: str) -> list[str]:
    """The files of a folder, sorted, hidden ones left out."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and not e.is_dir())
    except OSError as error:
        raise InputError(f"{Path(folder)} cannot be read: {error.strerror}. Give the folder of the movies.") from error
