"""The interface of a movie, independent of its file format, and movies that are arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from restframe.arrays import AnyArray, FloatArray
from restframe.errors import InputError
from restframe.movie.metadata import Metadata

DataType = np.dtype[Any]

UNCHANGED_TYPES = ("u1", "i1", "u2", "i2", "f4")
"""Types of pixels that are delivered as they are stored; other real types become float32."""


def delivered_dtype(stored: DataType) -> DataType:
    """The type, in native byte order, in which frames stored as ``stored`` are delivered.

    Raises `InputError` for types that are not real numbers.
    """
    if stored.str[1:] in UNCHANGED_TYPES:
        return stored.newbyteorder("=")
    if stored.kind in "buif":
        return np.dtype(np.float32)
    raise InputError(f"Pixels of type {stored} are no counts; expected real numbers.")


def largest_magnitude(dtype: DataType) -> float:
    """The largest magnitude that a value of this type can have; infinite for floating point."""
    if dtype.kind == "f":
        return float("inf")
    if dtype.kind == "b":
        return 1.0
    return float(max(np.iinfo(dtype).max, -np.iinfo(dtype).min))


def sum_dtype(movie: Movie, frame_count: int) -> DataType:
    """The smallest of the `UNCHANGED_TYPES` in which the sum of ``frame_count`` raw frames cannot overflow.

    Sums of float32, and sums that need more than 16 bits, are float32, exact up to 2^24.
    """
    if frame_count == 1:
        return movie.dtype
    integer_types = {"u": ("u1", "u2"), "i": ("i1", "i2")}.get(movie.dtype.kind, ())
    for name in integer_types:
        if frame_count * movie.largest_count <= np.iinfo(name).max:
            return np.dtype(name)
    return np.dtype(np.float32)


@runtime_checkable
class Movie(Protocol):
    """Frames that can be read one by one, from any thread.

    An implementation offers the properties below, reads one frame (`read`) and adds one frame to a sum (`add`;
    `AddsByReading` does it by reading). Opening a movie reads its structure only; damaged pixels are found by `read`.
    """

    @property
    def path(self) -> Path | None:
        """The file; None for a movie in memory."""
        ...

    @property
    def format(self) -> str:
        """'tiff', 'mrc', 'eer', 'dm' or 'array'."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns: (t, h, w)."""
        ...

    @property
    def dtype(self) -> DataType:
        """The type of the frames that `read` delivers."""
        ...

    @property
    def pixel_size(self) -> float:
        """Size of a pixel in A as the file gives it; 0 if the file gives none."""
        ...

    @property
    def metadata(self) -> Metadata:
        """What the file says beside its frames."""
        ...

    @property
    def largest_count(self) -> float:
        """The largest count that a raw frame can hold; infinite for floating point."""
        ...

    @property
    def tolerated_damage(self) -> float:
        """The fraction of the raw frames that may be damaged; damaged frames are then left out. 0: none may be."""
        ...

    def header_gain(self) -> FloatArray | None:
        """The gain reference (h, w) float32 in the file's header; None if there is none."""
        ...

    def read(self, frame_index: int, destination: AnyArray | None = None) -> AnyArray:
        """One frame, counted from 0: (h, w), the bottom row first as in MRC files, in native byte order.

        ``destination``: an array (h, w) of `dtype`, C-contiguous, that is filled and returned. Raises `InputError` if
        the frame is damaged, IndexError if the movie has no such frame.
        """
        ...

    def add(self, frame_index: int, total: AnyArray) -> None:
        """Add one frame to ``total`` (h, w), whose type can hold the sum.

        Raises `InputError` if the frame is damaged; ``total`` is then as before.
        """
        ...


class AddsByReading:
    """Implements `Movie.add` by means of `Movie.read`."""

    def add(self: Movie, frame_index: int, total: AnyArray) -> None:
        """See `Movie.add`."""
        np.add(total, self.read(frame_index), out=total, casting="same_kind")


@dataclass(frozen=True, eq=False)
class ArrayMovie(AddsByReading):
    """Frames in memory, (t, h, w), which are used without a copy where their type allows it.

    Raises `InputError` for arrays of another shape or of a type that is not real.
    """

    frames: AnyArray

    path = None
    format = "array"
    pixel_size = 0.0
    metadata = Metadata()
    tolerated_damage = 0.0

    def __post_init__(self) -> None:
        if self.frames.ndim != 3 or 0 in self.frames.shape:
            raise InputError(f"The movie is an array of shape {self.frames.shape}; expected frames, rows, columns.")
        delivered_dtype(self.frames.dtype)

    def header_gain(self) -> None:
        """None: an array has no header."""

    @property
    def largest_count(self) -> float:
        """See `Movie.largest_count`."""
        return largest_magnitude(self.frames.dtype)

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `Movie.shape`."""
        frame_count, height, width = self.frames.shape
        return frame_count, height, width

    @property
    def dtype(self) -> DataType:
        """See `Movie.dtype`."""
        return delivered_dtype(self.frames.dtype)

    def read(self, frame_index: int, destination: AnyArray | None = None) -> AnyArray:
        """See `Movie.read`."""
        image = np.empty(self.shape[1:], self.dtype) if destination is None else destination
        image[:] = self.frames[frame_index]
        return image
