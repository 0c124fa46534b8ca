"""The movies of a folder, and the part of each name that goes into the names of its results (manual 12)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from restframe.errors import InputError
from restframe.files import why_unreadable

EXTENSIONS = {"mrc": (".mrc", ".mrcs", ".st"), "tiff": (".tif", ".tiff"), "eer": (".eer",)}
COMPRESSED_ENDS = (".gz", ".bz2", ".xz", ".zst")  # after the extension of an MRC file
ANY_KIND = "any"
SERIAL_ENDS = (".mrc", ".tif", ".eer", ".st")  # the first of these in a name ends its serial part


@dataclass(frozen=True)
class Listing:
    """The movies of a folder."""

    folder: str  # as given, with the slash
    prefix: str
    movies: tuple[tuple[str, str], ...]  # name, serial part; sorted by name
    passed_over: int  # number of files that have the prefix but are no movies of this kind
    left_out: tuple[str, ...] = ()  # movies by name that cannot be read, and what they are: "a.mrc, a named pipe"


def list_movies(start: str, kind: str, suffix: str = "", skips: Sequence[str] = (), recursive: bool = False) -> Listing:
    """The movies whose path begins with ``start``: a folder and a prefix, or a folder alone.

    Names have to begin with the prefix, contain ``suffix`` after it in any case, or, without one, have an extension of
    ``kind`` ('mrc', 'tiff', 'eer', 'any'), and contain none of ``skips``. Where there are movies of one other kind
    only, the flag was wrong and they are meant. Hidden files and folders are left out.
    ``recursive``: movies of folders in the folder too; their names in the listing have these folders in front.
    Raises `InputError` if the folder can't be read.
    """
    folder, slash, prefix = start.rpartition("/")
    folder = folder + slash or "./"
    names = _file_names(folder, recursive)
    if prefix and os.path.isdir(start) and not any(name.startswith(prefix) for name in names):
        folder, prefix = f"{start}/", ""
        names = _file_names(folder, recursive)
    bases = {name: os.path.basename(name) for name in names}
    candidates = [name for name in names if bases[name].startswith(prefix) and not any(s in bases[name] for s in skips)]
    kinds = [one for one in EXTENSIONS if any(_is_movie(bases[name], prefix, "", one) for name in candidates)]
    is_other_kind = kind not in (*kinds, ANY_KIND) and len(kinds) == 1
    meant_kind = kinds[0] if is_other_kind else kind
    fitting = [name for name in candidates if _is_movie(bases[name], prefix, suffix, meant_kind)]
    unreadable = {name: reason for name in fitting if (reason := why_unreadable(os.path.join(folder, name)))}
    movies = tuple((name, serial_part(bases[name], prefix, suffix)) for name in fitting if name not in unreadable)
    left_out = tuple(f"{name}, {reason}" for name, reason in unreadable.items())
    return Listing(folder, prefix, movies, len(candidates) - len(fitting), left_out)


def serial_part(name: str, prefix: str = "", suffix: str = "") -> str:
    """``name`` without the prefix, cut where the suffix begins, or, without one, the extension. Any case."""
    without_prefix = name[len(prefix) :]
    for end in (suffix,) if suffix else SERIAL_ENDS:
        position = without_prefix.lower().find(end.lower())
        if position >= 0:
            return without_prefix[:position]
    return without_prefix


def extensions_of(kind: str) -> tuple[str, ...]:
    """Endings of the names of movies of a kind. MRC files may be compressed."""
    compressed = tuple(end + compression for end in EXTENSIONS["mrc"] for compression in COMPRESSED_ENDS)
    with_compressed = EXTENSIONS | {"mrc": EXTENSIONS["mrc"] + compressed}
    if kind == ANY_KIND:
        return tuple(end for ends in with_compressed.values() for end in ends)
    return with_compressed[kind]


def kind_of(name: str, kind: str) -> str:
    """``kind``, or the one that the name ends in where any is meant."""
    endings = (one for one in EXTENSIONS if name.lower().endswith(extensions_of(one)))
    return next(endings, "mrc") if kind == ANY_KIND else kind


def _is_movie(name: str, prefix: str, suffix: str, kind: str) -> bool:
    without_prefix = name[len(prefix) :].lower()
    return suffix.lower() in without_prefix if suffix else without_prefix.endswith(extensions_of(kind))


def _file_names(folder: str, recursive: bool = False) -> list[str]:
    """The names of the files of a folder, sorted, hidden ones left out."""
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
            names = [entry.name for entry in visible if not _is_folder(entry)]
    except OSError as error:
        raise InputError(f"{Path(folder)} cannot be read: {error.strerror}. Give the folder of the movies.") from error
    if recursive:
        folders = [entry for entry in visible if _is_folder(entry) and not entry.is_symlink()]
        names += [f"{entry.name}/{name}" for entry in folders for name in _names_if_readable(entry.path)]
    return sorted(names)


def _names_if_readable(folder: str) -> list[str]:
    """Of a folder within the folder, which may be removed just now, or belong to somebody else."""
    try:
        return _file_names(folder, recursive=True)
    except InputError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False
