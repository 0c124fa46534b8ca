"""The compressed data of frames as they are in the file, for a device that decodes thousands of pieces in parallel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import BoolArray, IntArray
from restframe.movie.files import read_from
from restframe.movie.movie import Movie
from restframe.movie.rendered import RenderedMovie
from restframe.movie.tiff import TiffMovie

if TYPE_CHECKING:  # imports Numba, which only EER movies need
    from restframe.movie.events import Coding

CODEC_NAMES = {5: "lzw", 8: "deflate", 32946: "deflate"}
"""By TIFF compression."""
MIN_PIECES = 256
"""Strips or raw frames below which a movie does not keep a device busy."""


@dataclass(frozen=True, eq=False)
class CompressedStrips:
    """Strips of frames. Each strip has whole rows of one frame; the strips of a frame follow each other."""

    path: Path
    codec: str
    offsets: IntArray  # (t, n) int64, bytes in the file
    counts: IntArray  # (t, n) int64, bytes
    sizes: IntArray  # (n,) int64, bytes after decoding


def compressed_strips(movie: Movie, frame_numbers: Sequence[int]) -> CompressedStrips | None:
    """The strips of these frames; None if a device cannot decode them or there are fewer than `MIN_PIECES`."""
    if not isinstance(movie, TiffMovie) or movie.packed or movie.stored.str[1:] != movie.dtype.str[1:]:
        return None
    if movie.stored.itemsize > 1 and movie.stored.newbyteorder("<") != movie.stored:
        return None
    pages = [movie.pages[frame_number] for frame_number in frame_numbers]
    if {(page.is_tiled, page.predictor, page.fillorder) for page in pages} != {(False, 1, 1)}:
        return None
    layouts = {(CODEC_NAMES.get(page.compression), page.rowsperstrip, len(page.dataoffsets)) for page in pages}
    codec, rows_per_strip, strip_count = layouts.pop()
    if layouts or codec is None or strip_count * len(pages) < MIN_PIECES:
        return None
    _, height, width = movie.shape
    row_counts = np.full(strip_count, min(rows_per_strip, height), np.int64)
    row_counts[-1] = height - row_counts[:-1].sum()
    return CompressedStrips(
        movie.path,
        codec,
        np.array([page.dataoffsets for page in pages], np.int64),
        np.array([page.databytecounts for page in pages], np.int64),
        row_counts * width * movie.stored.itemsize,
    )


@dataclass(frozen=True, eq=False)
class CompressedEvents:
    """Raw frames of electrons, each to be added to one of the requested frames."""

    path: Path
    coding: Coding
    level: int  # each physical pixel is divided into 2^level along each side
    offsets: IntArray  # (n,) int64, bytes in the file
    counts: IntArray  # (n,) int64, bytes
    targets: IntArray  # (n,) int32: index, from 0, of the requested frame
    zero_padding: bool  # all bits after the last symbol of an intact frame are 0

    def ends_well(self, used_bits: IntArray) -> BoolArray:
        """Whether only padding follows the symbols of each raw frame, as `add_events` requires: (n,).

        ``used_bits``: (n,) bits of the symbols, negative where they do not end with the frame.
        """
        from restframe.movie.events import ARBITRARY_PADDING_BYTES, padding_is_allowed

        intact = used_bits >= 0
        padding_bytes = self.counts - used_bits // 8
        uncertain_bytes = 0 if self.zero_padding else ARBITRARY_PADDING_BYTES + 1
        with open(self.path, "rb", buffering=0) as file:
            for index in np.flatnonzero(intact & (padding_bytes > uncertain_bytes)):
                padding_start = self.offsets[index] + used_bits[index] // 8
                padding = read_from(file, int(padding_start), int(padding_bytes[index]))
                intact[index] = padding_is_allowed(padding, int(used_bits[index] % 8), self.zero_padding)
        return intact


def compressed_events(movie: Movie, frame_numbers: Sequence[int]) -> CompressedEvents | None:
    """The electrons of these frames; None if the movie has none or has fewer than `MIN_PIECES` raw frames of them."""
    if not (isinstance(movie, RenderedMovie) and movie.format == "eer" and movie.dtype in (np.uint8, np.uint16)):
        return None
    from restframe.movie.eer import EerMovie

    eer_movie = movie.movie
    if not isinstance(eer_movie, EerMovie):
        return None
    targets_and_frames = [
        (target, raw_frame) for target, number in enumerate(frame_numbers) for raw_frame in movie.frames[number]
    ]
    strips = [eer_movie.strips[raw_frame] for _, raw_frame in targets_and_frames]
    if len(strips) < MIN_PIECES or any(len(frame_strips) != 1 for frame_strips in strips):
        return None
    offsets, counts = np.array([frame_strips[0] for frame_strips in strips], np.int64).T
    if counts.min() <= 0 or offsets.min() <= 0 or (offsets + counts).max() > eer_movie.file_size:
        return None
    targets = np.array([target for target, _ in targets_and_frames], np.int32)
    return CompressedEvents(
        eer_movie.path, eer_movie.coding, eer_movie.level, offsets, counts, targets, eer_movie.has_zero_padding
    )
