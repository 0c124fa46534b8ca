"""Copies of raw movies in the fewest bits that hold all counts, the gain in the header (-ArcDir, manual 18)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restframe.movie import Movie, RawFrames
from restframe.output.header import Statistics, mrc_header
from restframe.output.place import Writer


@dataclass(frozen=True)
class Packing:
    mode: int  # of MRC
    dtype: str
    low: float
    high: float
    text: str

    def holds(self, seen: Statistics) -> bool:
        return self.low <= seen.low and seen.high <= self.high and (seen.whole or self.dtype == "<f4")


PACKINGS = (  # the first that holds all values is taken
    Packing(101, "u1", 0, 15, "4 bits"),
    Packing(0, "u1", 0, 127, "8 bits"),  # above 127 programs differ on what mode 0 means
    Packing(6, "<u2", 0, 65535, "16 bits"),
    Packing(1, "<i2", -32768, 32767, "16 bits, signed"),
    Packing(2, "<f4", -np.inf, np.inf, "32 bits"),
)


def archive_path(folder: str | Path, movie: str | Path) -> Path:
    """Where a movie's copy goes: its name in ``folder``, the last extension replaced by .mrc."""
    return Path(folder) / f"{Path(movie).stem}.mrc"


def archive_writer(movie: Movie, gain: np.ndarray | None, threads: int, say: Callable[[str], None]) -> Writer:
    """A function that writes all raw frames of ``movie``, those that are left out too, as one MRC file.

    ``gain``: (h, w) as it multiplies the frames; it lies in the extended header, as float32, where MotionCor2 and
    restframe find it. Four bits a pixel, or as many as the counts need, which is said.
    """

    def write(path: Path) -> None:
        packing = PACKINGS[0]
        seen = _write(path, movie, gain, threads, packing)
        if not packing.holds(seen):
            packing = next(p for p in PACKINGS if p.holds(seen))
            _write(path, movie, gain, threads, packing)
        why = "" if packing is PACKINGS[0] else f", since values reach from {seen.low:g} to {seen.high:g}"
        say(f"Raw frames are archived with {packing.text} a pixel{why}")

    return write


def _write(path: Path, movie: Movie, gain: np.ndarray | None, threads: int, packing: Packing) -> Statistics:
    """Write as far as values fit; what all pixels are tells whether they did."""
    seen = Statistics()
    with open(path, "wb") as file:
        file.write(bytes(1024))
        if gain is not None:
            file.write(np.ascontiguousarray(gain, "<f4").data)
        for frame in _all_frames(movie, threads):
            seen.add(frame)
            if packing.holds(seen):
                file.write(_packed(frame, packing).data)
        file.seek(0)
        extended = 0 if gain is None else gain.size * 4
        file.write(mrc_header(movie.shape, packing.mode, movie.pixel_size, extended, seen))
    return seen


def _all_frames(movie: Movie, threads: int) -> Iterator[np.ndarray]:
    for _, block in RawFrames(movie, None, threads, keep_frames=False).blocks():
        yield from block


def _packed(frame: np.ndarray, packing: Packing) -> np.ndarray:
    values = np.ascontiguousarray(frame, packing.dtype)
    if packing.mode != 101:
        return values
    even, odd = values[:, 0::2], values[:, 1::2]
    out = even.copy()
    out[:, : odd.shape[1]] |= odd << 4
    return out
