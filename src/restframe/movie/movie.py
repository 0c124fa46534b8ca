"""What every movie looks like, whatever file it lies in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from restframe.errors import InputError

KEPT = ("u1", "i1", "u2", "i2", "f4")  # delivered as stored; other real types become float32


def delivered_dtype(stored: np.dtype) -> np.dtype:
    """The type, in native byte order, in which frames stored as ``stored`` are delivered.

    Raises `InputError` for what is no real number.
    """
    if stored.str[1:] in KEPT:
        return stored.newbyteorder("=")
    if stored.kind in "buif":
        return np.dtype(np.float32)
    raise InputError(f"Pixels of type {stored} are no counts; expected real numbers.")


def most_of(dtype: np.dtype) -> float:
    """The largest magnitude of a value of this type."""
    if dtype.kind == "f":
        return float("inf")
    if dtype.kind == "b":
        return 1.0
    return float(max(np.iinfo(dtype).max, -np.iinfo(dtype).min))


def sum_dtype(movie: Movie, n: int) -> np.dtype:
    """The smallest type, of those that are `KEPT`, that holds the sum of ``n`` raw frames: it cannot overflow.

    Sums of float32 and of more than 16 bits are float32, exact up to 2^24.
    """
    if n == 1:
        return movie.dtype
    kinds = ("u1", "u2") if movie.dtype.kind == "u" else ("i1", "i2") if movie.dtype.kind == "i" else ()
    return next((np.dtype(k) for k in kinds if n * movie.most <= np.iinfo(k).max), np.dtype(np.float32))


@runtime_checkable
class Movie(Protocol):
    """Frames that can be read one by one, from any thread."""

    @property
    def path(self) -> Path | None: ...

    @property
    def format(self) -> str:
        """'tiff', 'mrc', 'eer' or 'array'."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(t, h, w)"""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Of the frames that `read` delivers."""
        ...

    @property
    def pixel_size(self) -> float:
        """A, as the file says; 0: it does not."""
        ...

    @property
    def most(self) -> float:
        """The largest count that a raw frame can hold; infinite for floating point."""
        ...

    @property
    def spare(self) -> float:
        """Share of the raw frames that may be damaged; they are left out then."""
        ...

    def header_gain(self) -> np.ndarray | None:
        """The gain reference (h, w) float32 that the file's header brings along."""
        ...

    def read(self, frame: int, out: np.ndarray | None = None) -> np.ndarray:
        """Frame number ``frame``, from 0: (h, w) in memory order (TIFF rows turned round), native byte order.

        ``out`` (h, w) of `dtype`, C-contiguous, is filled and returned. Raises `InputError` if the frame is damaged.
        """
        ...

    def add(self, frame: int, out: np.ndarray) -> None:
        """Add the frame to ``out`` (h, w) of a type that holds the sum. If it is damaged ``out`` is as before."""
        ...


class Adding:
    """Adds a frame by reading it."""

    def add(self: Movie, frame: int, out: np.ndarray) -> None:
        np.add(out, self.read(frame), out=out, casting="same_kind")


@dataclass(frozen=True, eq=False)
class ArrayMovie(Adding):
    """Frames in memory, (t, h, w), used as they lie. Raises `InputError` for another shape or type of array."""

    frames: np.ndarray

    path = None
    format = "array"
    pixel_size = 0.0
    spare = 0.0

    def header_gain(self) -> None:
        return None

    @property
    def most(self) -> float:
        return most_of(self.frames.dtype)

    def __post_init__(self) -> None:
        if self.frames.ndim != 3 or 0 in self.frames.shape:
            raise InputError(f"The movie is an array of shape {self.frames.shape}; expected frames, rows, columns.")
        delivered_dtype(self.frames.dtype)

    @property
    def shape(self) -> tuple[int, int, int]:
        t, h, w = self.frames.shape
        return t, h, w

    @property
    def dtype(self) -> np.dtype:
        return delivered_dtype(self.frames.dtype)

    def read(self, frame: int, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty(self.shape[1:], self.dtype) if out is None else out
        out[:] = self.frames[frame]
        return out
