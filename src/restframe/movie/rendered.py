"""A movie whose frames are sums of another's: fractions, as they are rendered from raw frames. And frames that may hold
values that are no numbers, which would spread to every pixel of a sum.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from restframe.errors import InputError
from restframe.movie.movie import Adding, ArrayMovie, Movie, sum_dtype

NAMED = 5  # damaged frames that are named, one by one


def all_numbers(movie: Movie) -> bool:
    """Whether it is known, without reading a file, that every value of every frame is a number."""
    return movie.dtype.kind != "f" or (
        isinstance(movie, ArrayMovie) and all(np.isfinite(frame).all() for frame in movie.frames)
    )


class Rendered(Adding):
    """Each frame is the sum of the raw frames in one of ``frames``, of their type or one that it cannot overflow.

    ``dark`` (h, w) is taken off each raw frame; the sums are float32 then. Damaged raw frames of a movie that can spare
    them are left out, values that are no numbers take the mean of their frame: `damage` tells.
    """

    def __init__(self, movie: Movie, frames: tuple[range, ...], dark: np.ndarray | None = None) -> None:
        self.movie, self.frames, self.dark = movie, frames, dark
        self.path: Path | None = movie.path
        self.format = movie.format
        self.pixel_size = movie.pixel_size
        self.shape = len(frames), *movie.shape[1:]
        self.dtype = sum_dtype(movie, max(map(len, frames))) if dark is None else np.dtype(np.float32)
        self.most = max(map(len, frames)) * movie.most
        self.spare = 0.0
        self._damaged: dict[int, InputError] = {}
        self._no_numbers: dict[int, int] = {}  # how many in which frame

    def header_gain(self) -> np.ndarray | None:
        return self.movie.header_gain()

    def read(self, frame: int, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty(self.shape[1:], self.dtype) if out is None else out
        out[:] = 0
        for number in self.frames[frame]:
            try:
                self.movie.add(number, out)
            except InputError as error:
                if not self.movie.spare:
                    raise
                self._damaged[number] = error
        if self.dark is not None:
            out -= np.float32(len(self.frames[frame])) * self.dark
        if self.dtype.kind == "f":
            self._fill(frame, out)
        return out

    def _fill(self, frame: int, out: np.ndarray) -> None:
        """Put the mean where there is no number. Raises `InputError` where that is most of the frame."""
        wrong = ~np.isfinite(out)
        n = int(np.count_nonzero(wrong))
        if not n:
            return
        if 2 * n > out.size:
            where = f"{self.path}: frame" if self.path else "Frame"
            raise InputError(
                f"{where} {self.frames[frame].start + 1} has no number (NaN or infinite) at {n} of {out.size} pixels. "
                "Copy or convert the movie again."
            )
        out[wrong] = out[~wrong].mean(dtype=np.float64)
        self._no_numbers[frame] = n

    def damage(self) -> list[str]:
        """What was found damaged so far, for people. Raises `InputError` if it is more than the movie can spare."""
        lines = [
            f"Warning: frame {self.frames[i].start + 1}: {n} values are no numbers (NaN or infinite) and take the mean."
            for i, n in sorted(self._no_numbers.items())[:NAMED]
        ]
        if len(self._no_numbers) > NAMED:
            lines.append(f"Warning: so it is in {len(self._no_numbers)} frames.")
        messages = [str(self._damaged[number]) for number in sorted(self._damaged)]
        total = sum(map(len, self.frames))
        count = f"{len(messages)} of {total} raw frames are damaged"
        if len(messages) > self.movie.spare * total:
            raise InputError(f"{messages[0]} {count}, too many. Copy the movie again.")
        lines += [f"Warning: {message}" for message in messages[:NAMED]]
        return [*lines, f"Warning: {count} and left out. Their dose is counted."] if messages else lines
