"""A movie whose frames are sums of another's: fractions, as they are rendered from raw frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from restframe.errors import InputError
from restframe.movie.movie import Adding, Movie, sum_dtype

NAMED = 5  # damaged frames that are named, one by one


class Rendered(Adding):
    """Each frame is the sum of the raw frames in one of ``frames``, of their type or one that it cannot overflow.

    ``dark`` (h, w) is taken off each raw frame; the sums are float32 then. Damaged raw frames of a movie that can spare
    them are left out: `damage` tells.
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
        return out

    def damage(self) -> list[str]:
        """What was found damaged so far, for people. Raises `InputError` if it is more than the movie can spare."""
        messages = [str(self._damaged[number]) for number in sorted(self._damaged)]
        total = sum(map(len, self.frames))
        count = f"{len(messages)} of {total} raw frames are damaged"
        if len(messages) > self.movie.spare * total:
            raise InputError(f"{messages[0]} {count}, too many. Copy the movie again.")
        lines = [f"Warning: {message}" for message in messages[:NAMED]]
        return [*lines, f"Warning: {count} and left out. Their dose is counted."] if messages else []
