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
    def header_gain(self) -> bool:
        """The file brings a gain reference along in its header."""
        ...

    def read(self, frame: int, out: np.ndarray | None = None) -> np.ndarray:
        """Frame number ``frame``, from 0: (h, w) in memory order (TIFF rows turned round), native byte order.

        ``out`` (h, w) of `dtype`, C-contiguous, is filled and returned. Raises `InputError` if the frame is damaged.
        """
        ...


@dataclass(frozen=True, eq=False)
class ArrayMovie:
    """Frames in memory, (t, h, w), used as they lie. Raises `InputError` for another shape or type of array."""

    frames: np.ndarray

    path = None
    format = "array"
    pixel_size = 0.0
    header_gain = False

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
