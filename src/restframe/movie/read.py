"""Opening a movie and reading its frames with several threads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from restframe.arrays import AnyArray
from restframe.movie.movie import ArrayMovie, Movie
from restframe.movie.raw import RawFrames


def open_movie(
    source: str | os.PathLike[str] | AnyArray | Movie,
    expected_format: str | None = None,
    eer_sampling: int = 1,
    max_memory: int = 0,
) -> Movie:
    """Open a movie: a file, whose format is detected from its content, or an array (t, h, w), which is not copied.

    ``expected_format`` ('tiff', 'mrc', 'eer') is named in error messages only. ``eer_sampling``: for EER movies, 1, 2
    or 3 for 1, 2 or 4 pixels along each side of a physical pixel. ``max_memory``: above 0, a compressed file is
    decompressed to a temporary file instead of memory. Otherwise only the structure of the file is read. Raises
    `InputError` for anything that is not a readable movie.

    Example: ``open_movie("movie.tif").shape``
    """
    if isinstance(source, np.ndarray):
        return ArrayMovie(source)
    if not isinstance(source, (str, os.PathLike)):
        return source
    from restframe.movie.formats import detect_format

    path = Path(source)
    file_format = detect_format(path, expected_format)
    if file_format == "eer":
        from restframe.movie.eer import open_eer

        return open_eer(path, eer_sampling)
    if file_format == "mrc":
        from restframe.movie.mrc import open_mrc

        return open_mrc(path, max_memory)
    if file_format == "dm":
        from restframe.movie.dm import open_dm

        return open_dm(path)
    from restframe.movie.tiff import open_tiff

    return open_tiff(path)


def read_frames(movie: Movie, frame_numbers: Sequence[int] | None = None, threads: int = 0) -> AnyArray:
    """Frames of a movie (None: all) in one array (t, h, w) of ``movie.dtype``; an `ArrayMovie` is not copied.

    Each frame is decoded by one of ``threads`` threads (0: as many as this process may use cores), so the result does
    not depend on their number. Raises `InputError`, which names the frame, if a frame is damaged.

    Example: ``read_frames(open_movie("movie.mrc"), range(10))``
    """
    raw = RawFrames(movie, frame_numbers, threads, frames_per_block=movie.shape[0])
    return next((frames for _, frames in raw.blocks()), np.empty(raw.shape, raw.dtype))
