"""Strips or frames of a movie as they lie compressed in its file, for a device that decodes thousands at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from restframe.movie.files import read_bytes
from restframe.movie.movie import Movie
from restframe.movie.rendered import Rendered
from restframe.movie.tiff import TiffMovie

if TYPE_CHECKING:  # else only for EER movies: it brings Numba
    from restframe.movie.events import Coding

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


@dataclass(frozen=True, eq=False)
class Events:
    """Raw frames of electrons, each to be added to one of the frames that are asked for."""

    path: Path
    coding: Coding
    level: int  # physical pixels are divided into 2^level a side
    offsets: np.ndarray  # (n,) int64, bytes in the file
    counts: np.ndarray  # (n,) int64
    targets: np.ndarray  # (n,) int32: number of the frame, from 0

    def padded(self, used: np.ndarray) -> np.ndarray:
        """Whether each raw frame, of which ``used`` bits are symbols, ends as it should: (n,) bool, as `add_events`."""
        from restframe.movie.events import LOOSE

        good = used >= 0
        over = self.counts - used // 8 - LOOSE
        for i in np.flatnonzero(good & (over > 1)):
            rest = read_bytes(self.path, int(self.offsets[i] + self.counts[i] - over[i]), int(over[i]))
            good[i] = len(set(rest)) < 2
        return good


def events(movie: Movie, numbers: Sequence[int]) -> Events | None:
    """Of the frames of these numbers; None if the movie has none that can be decoded elsewhere, or too few."""
    if not (isinstance(movie, Rendered) and movie.format == "eer" and movie.dtype in (np.uint8, np.uint16)):
        return None
    from restframe.movie.eer import EerMovie

    if not isinstance(movie.movie, EerMovie):
        return None
    raw = [(target, n) for target, number in enumerate(numbers) for n in movie.frames[number]]
    strips = [movie.movie.strips[n] for _, n in raw]
    if len(raw) < ENOUGH or any(len(s) != 1 for s in strips):
        return None
    offsets, counts = np.array([s[0] for s in strips], np.int64).T
    if counts.min() <= 0 or offsets.min() <= 0 or (offsets + counts).max() > movie.movie.size:
        return None
    targets = np.array([target for target, _ in raw], np.int32)
    return Events(movie.movie.path, movie.movie.coding, movie.movie.level, offsets, counts, targets)
