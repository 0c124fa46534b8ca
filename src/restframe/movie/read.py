"""Opening a movie and reading its frames with several threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from restframe.movie.movie import ArrayMovie, Movie
from restframe.movie.raw import RawFrames


def open_movie(
    source: str | os.PathLike[str] | np.ndarray | Movie, expected: str | None = None, eer_sampling: int = 1
) -> Movie:
    """The movie in a file (its format is found from the content), or in an array (t, h, w) used as it lies.

    ``expected`` ('tiff', 'mrc', 'eer') is what the caller takes the file for: it is only named in messages.
    ``eer_sampling``: pixels of an EER movie, 1, 2 or 3 for 1, 2 or 4 to the side of a physical one. Only the structure
    is read. Raises `InputError` for anything that is no readable movie.
    """
    if isinstance(source, np.ndarray):
        return ArrayMovie(source)
    if not isinstance(source, (str, os.PathLike)):
        return source
    from restframe.movie.sniff import sniff

    path = Path(source)
    kind = sniff(path, expected)
    if kind == "eer":
        from restframe.movie.eer import open_eer

        return open_eer(path, eer_sampling)
    if kind == "mrc":
        from restframe.movie.mrc import open_mrc

        return open_mrc(path)
    from restframe.movie.tiff import open_tiff

    return open_tiff(path)


def read_frames(movie: Movie, frames: Sequence[int] | None = None, threads: int = 0) -> np.ndarray:
    """The frames of these numbers (None: all) in one array (t, h, w) of ``movie.dtype``; those of an `ArrayMovie` are
    not copied.

    Each frame is decoded by one of ``threads`` threads (0: as many as cores this process may use) to its place, so the
    result does not depend on their number. Raises `InputError`, which names the frame, when one is damaged.
    """
    raw = RawFrames(movie, frames, threads, block=movie.shape[0])
    return next((block for _, block in raw.blocks()), np.empty(raw.shape, raw.dtype))
