"""Compressed strips of a movie as they lie in its file, for a device that decodes thousands of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restframe.movie.movie import Movie
from restframe.movie.tiff import TiffMovie

CODECS = {5: "lzw", 8: "deflate", 32946: "deflate"}  # by TIFF compression
ENOUGH = 256  # strips in a movie that keep a device busy


@dataclass(frozen=True, eq=False)
class Strips:
    """Every strip holds whole rows of one frame, which follow each other from the top."""

    path: Path
    codec: str
    offsets: np.ndarray  # (t, n) int64, bytes in the file
    counts: np.ndarray  # (t, n) int64
    sizes: np.ndarray  # (n,) int64, bytes decoded


def strips(movie: Movie, numbers: Sequence[int]) -> Strips | None:
    """Of the frames of these numbers; None if the movie has none that can be decoded elsewhere, or too few."""
    if not isinstance(movie, TiffMovie) or movie.stored.str[1:] != movie.dtype.str[1:]:
        return None
    if movie.stored.itemsize > 1 and movie.stored.newbyteorder("<") != movie.stored:
        return None
    pages = [movie.pages[n] for n in numbers]
    if {(p.is_tiled, p.predictor, p.fillorder) for p in pages} != {(False, 1, 1)}:
        return None
    kinds = {(CODECS.get(p.compression), p.rowsperstrip, len(p.dataoffsets)) for p in pages}
    codec, rows, n = kinds.pop()
    if kinds or codec is None or n * len(pages) < ENOUGH:
        return None
    _, h, w = movie.shape
    tall = np.full(n, min(rows, h), np.int64)
    tall[-1] = h - tall[:-1].sum()
    return Strips(
        movie.path,
        codec,
        np.array([p.dataoffsets for p in pages], np.int64),
        np.array([p.databytecounts for p in pages], np.int64),
        tall * w * movie.stored.itemsize,
    )
