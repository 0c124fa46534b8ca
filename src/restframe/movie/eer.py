"""EER movies: hundreds of raw frames of single electrons. tifffile knows the structure, `events` the packing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from restframe.errors import InputError, SettingsError
from restframe.messages import Setting
from restframe.movie.events import CODINGS, MOST_BITS, Coding, add_events
from restframe.movie.files import read_bytes
from restframe.movie.tiffchain import check_chain

IN_TAGS = 65002  # this compression tells its coding in tags
RUN, X, Y = 65007, 65008, 65009


@dataclass(frozen=True, eq=False)
class EerMovie:
    """Rows as they lie in the file. A frame has 0 or 1 electron in each physical pixel."""

    path: Path
    shape: tuple[int, int, int]
    level: int  # each physical pixel is delivered as 2^level x 2^level
    coding: Coding
    strips: tuple[tuple[tuple[int, int], ...], ...]  # of each frame: offset and length in bytes
    size: int  # bytes of the file

    format = "eer"
    dtype = np.dtype(np.uint8)
    pixel_size = 0.0
    most = 1.0
    spare = 0.1

    def header_gain(self) -> None:
        return None

    def read(self, frame: int, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty(self.shape[1:], self.dtype) if out is None else out
        out[:] = 0
        self.add(frame, out)
        return out

    def add(self, frame: int, out: np.ndarray) -> None:
        if out.dtype.kind != "u":
            out += self.read(frame)
            return
        if not 0 <= frame < self.shape[0]:
            raise IndexError(f"frame {frame} of {self.shape[0]}")
        where = f"{self.path}: frame {frame + 1} is damaged"
        strips = self.strips[frame]
        if any(length <= 0 or offset <= 0 or offset + length > self.size for offset, length in strips):
            raise InputError(f"{where}: its data are not in the file.")
        try:
            data = b"".join(read_bytes(self.path, offset, length) for offset, length in strips)
        except OSError as error:
            raise InputError(f"{where} ({error}).") from error
        if not add_events(data, self.coding, self.level, out):
            add_events(data, self.coding, self.level, out, -1)
            raise InputError(f"{where}: its events don't end with its last pixel.")


def open_eer(path: Path, sampling: int = 1) -> EerMovie:
    """``sampling`` 1, 2, 3: 1, 2 or 4 pixels to the side of a physical one, of which the frames' shape tells.

    Raises `InputError` if the structure is broken or the frames are not of one size and coding, `SettingsError` for
    more pixels than the file has.
    """
    if sampling not in (1, 2, 3):
        raise SettingsError(Setting("eer_sampling", sampling), ": expected 1, 2 or 3.")
    check_chain(path)
    try:
        with tifffile.TiffFile(path) as file:
            size = file.filehandle.size
            pages = [page for page in file.pages if page.compression in (*CODINGS, IN_TAGS)]
            coding = _coding(path, pages[0])
            kinds = {(page.shape, page.compression) for page in pages}
            strips = tuple(tuple(zip(page.dataoffsets, page.databytecounts, strict=True)) for page in pages)
    except InputError:
        raise
    except Exception as error:  # tifffile meets garbage with errors of many kinds
        raise InputError(f"{path}: the EER structure is damaged ({error}). Copy the movie again.") from error
    if len(kinds) > 1 or len(pages[0].shape) != 2:
        found = " and ".join(sorted(f"{' x '.join(map(str, shape[::-1]))} ({code})" for shape, code in kinds))
        raise InputError(f"{path}: frames of one size and compression are expected; found {found}.")
    height, width = pages[0].shape
    level = sampling - 1
    if level > min(coding.x, coding.y):
        most = min(coding.x, coding.y) + 1
        raise SettingsError(
            Setting("eer_sampling", sampling),
            f": {path} divides its pixels no further than ",
            Setting("eer_sampling", most),
            " shows.",
        )
    return EerMovie(path, (len(pages), height << level, width << level), level, coding, strips, size)


def _coding(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame) -> Coding:
    if page.compression in CODINGS:
        return CODINGS[page.compression]
    run, x, y = (int(page.aspage().tags.valueof(tag, 0)) for tag in (RUN, X, Y))
    x, y = x or y, y or x
    if min(run, x) < 1 or run + x + y > MOST_BITS:
        raise InputError(
            f"{path}: compression {IN_TAGS} tells its bits in tags {RUN}, {X} and {Y}; found {run}, {x} and {y}."
        )
    return Coding(run, x, y)
