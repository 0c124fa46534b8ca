"""Copies of raw movies in the fewest bits that hold all counts, the gain in the header (-ArcDir, manual 18)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restframe.arrays import AnyArray, FloatArray
from restframe.movie import Movie, RawFrames
from restframe.output.header import HEADER_BYTES, Statistics, mrc_header
from restframe.output.place import Writer

FOUR_BIT_MODE = 101  # of MRC: two pixels in a byte, the first one in the lower bits


@dataclass(frozen=True)
class Packing:
    """A way to store counts."""

    mode: int  # of MRC
    dtype: str
    minimum: float
    maximum: float
    description: str

    def holds(self, statistics: Statistics) -> bool:
        """Whether it keeps all values as they are."""
        in_range = self.minimum <= statistics.minimum and statistics.maximum <= self.maximum
        return in_range and (statistics.integers_only or self.dtype == "<f4")


PACKINGS = (  # the first one that holds all values is used
    Packing(FOUR_BIT_MODE, "u1", 0, 15, "4 bits"),
    Packing(0, "u1", 0, 127, "8 bits"),  # above 127 programs differ on what mode 0 means
    Packing(6, "<u2", 0, 65535, "16 bits"),
    Packing(1, "<i2", -32768, 32767, "16 bits, signed"),
    Packing(2, "<f4", -np.inf, np.inf, "32 bits"),
)


def archive_path(folder: str | Path, movie: str | Path) -> Path:
    """Where a movie's copy goes: its name in ``folder``, the last extension replaced by .mrc."""
    return Path(folder) / f"{Path(movie).stem}.mrc"


def archive_writer(movie: Movie, gain: FloatArray | None, threads: int, report: Callable[[str], None]) -> Writer:
    """A function that writes all raw frames of ``movie``, unused ones too, as one MRC file.

    ``gain``: (h, w) as it multiplies the frames; it lies in the extended header, as float32, where MotionCor2 and
    restframe find it. Each pixel takes four bits, or as many as the counts need; ``report`` is told how many.
    """

    def write(path: Path) -> None:
        packing = PACKINGS[0]
        statistics = _write_frames(path, movie, gain, threads, packing)
        if not packing.holds(statistics):
            packing = next(wider for wider in PACKINGS if wider.holds(statistics))
            _write_frames(path, movie, gain, threads, packing)
        reason = f", since values reach from {statistics.minimum:g} to {statistics.maximum:g}"
        report(f"Raw frames are archived with {packing.description} a pixel{'' if packing is PACKINGS[0] else reason}")

    return write


def _write_frames(path: Path, movie: Movie, gain: FloatArray | None, threads: int, packing: Packing) -> Statistics:
    """Write frames as long as their values fit. The statistics of all pixels tell whether all of them did."""
    statistics = Statistics()
    with open(path, "wb") as file:
        file.write(bytes(HEADER_BYTES))
        if gain is not None:
            file.write(np.ascontiguousarray(gain, "<f4").data)
        for frame in _all_frames(movie, threads):
            statistics.add(frame)
            if packing.holds(statistics):
                file.write(_packed(frame, packing).data)
        file.seek(0)
        extended_bytes = 0 if gain is None else gain.size * 4
        file.write(mrc_header(movie.shape, packing.mode, movie.pixel_size, extended_bytes, statistics))
    return statistics


def _all_frames(movie: Movie, threads: int) -> Iterator[AnyArray]:
    for _, block in RawFrames(movie, None, threads, keep_frames=False).blocks():
        yield from block


def _packed(frame: AnyArray, packing: Packing) -> AnyArray:
    """The bytes of a frame (h, w): (h, w), or (h, (w + 1) // 2) where two pixels share one."""
    values = np.ascontiguousarray(frame, packing.dtype)
    if packing.mode != FOUR_BIT_MODE:
        return values
    even_columns, odd_columns = values[:, 0::2], values[:, 1::2]
    pairs = even_columns.copy()
    pairs[:, : odd_columns.shape[1]] |= odd_columns << 4
    return pairs
