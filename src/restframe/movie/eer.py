"""EER movies: hundreds of raw frames of single electrons.

tifffile reads the structure of the file, `restframe.movie.events` decodes the electrons.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from restframe.arrays import AnyArray
from restframe.errors import InputError, SettingsError
from restframe.messages import Setting
from restframe.movie.events import CODINGS, MAX_SYMBOL_BITS, Coding, add_events
from restframe.movie.files import read_bytes
from restframe.movie.tiffchain import check_directory_chain

CODING_IN_TAGS = 65002
"""The TIFF compression whose numbers of bits are given in tags."""
RUN_BITS_TAG, X_BITS_TAG, Y_BITS_TAG = 65007, 65008, 65009


@dataclass(frozen=True, eq=False)
class EerMovie:
    """An EER file. Rows have the order of the file. A raw frame has 0 or 1 electron in each physical pixel."""

    path: Path
    shape: tuple[int, int, int]
    level: int  # each physical pixel is delivered as 2^level x 2^level pixels
    coding: Coding
    strips: tuple[tuple[tuple[int, int], ...], ...]  # of each frame: offset and length in bytes
    file_size: int  # bytes

    format = "eer"
    dtype = np.dtype(np.uint8)
    pixel_size = 0.0
    largest_count = 1.0
    tolerated_damage = 0.1

    def header_gain(self) -> None:
        """None: EER files contain no gain reference."""

    def read(self, frame_index: int, destination: AnyArray | None = None) -> AnyArray:
        """See `restframe.movie.Movie.read`."""
        image = np.empty(self.shape[1:], self.dtype) if destination is None else destination
        image[:] = 0
        self.add(frame_index, image)
        return image

    def add(self, frame_index: int, total: AnyArray) -> None:
        """See `restframe.movie.Movie.add`."""
        if total.dtype.kind != "u":
            total += self.read(frame_index)
            return
        if not 0 <= frame_index < self.shape[0]:
            raise IndexError(f"frame {frame_index} of {self.shape[0]}")
        damage = f"{self.path}: frame {frame_index + 1} is damaged"
        strips = self.strips[frame_index]
        if any(length <= 0 or offset <= 0 or offset + length > self.file_size for offset, length in strips):
            raise InputError(f"{damage}: its data are not in the file.")
        try:
            encoded = b"".join(read_bytes(self.path, offset, length) for offset, length in strips)
        except OSError as error:
            raise InputError(f"{damage} ({error}).") from error
        if not add_events(encoded, self.coding, self.level, total):
            add_events(encoded, self.coding, self.level, total, -1)
            raise InputError(f"{damage}: its events don't end with its last pixel.")


def open_eer(path: Path, sampling: int = 1) -> EerMovie:
    """Open an EER file. ``sampling`` 1, 2 or 3: 1, 2 or 4 pixels along each side of a physical pixel.

    Raises `InputError` if the structure is broken or the frames differ in size or coding, `SettingsError` for finer
    sampling than the file has.
    """
    if sampling not in (1, 2, 3):
        raise SettingsError(Setting("eer_sampling", sampling), ": expected 1, 2 or 3.")
    check_directory_chain(path)
    try:
        with tifffile.TiffFile(path) as file:
            file_size = file.filehandle.size
            pages = [page for page in file.pages if page.compression in (*CODINGS, CODING_IN_TAGS)]
            coding = _page_coding(path, pages[0])
            kinds = {(page.shape, page.compression) for page in pages}
            strips = tuple(tuple(zip(page.dataoffsets, page.databytecounts, strict=True)) for page in pages)
    except InputError:
        raise
    except Exception as error:  # tifffile raises errors of many kinds for damaged files
        raise InputError(f"{path}: the EER structure is damaged ({error}). Copy the movie again.") from error
    if len(kinds) > 1 or len(pages[0].shape) != 2:
        different = sorted(f"{' x '.join(map(str, shape[::-1]))} ({compression})" for shape, compression in kinds)
        raise InputError(f"{path}: frames of one size and compression are expected; found {' and '.join(different)}.")
    height, width = pages[0].shape
    level = sampling - 1
    finest_level = min(coding.x_bits, coding.y_bits)
    if level > finest_level:
        raise SettingsError(
            Setting("eer_sampling", sampling),
            f": {path} divides its pixels no further than ",
            Setting("eer_sampling", finest_level + 1),
            " shows.",
        )
    return EerMovie(path, (len(pages), height << level, width << level), level, coding, strips, file_size)


def _page_coding(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame) -> Coding:
    if page.compression in CODINGS:
        return CODINGS[page.compression]
    tags = page.aspage().tags
    run_bits, x_tag, y_tag = (int(tags.valueof(tag, 0)) for tag in (RUN_BITS_TAG, X_BITS_TAG, Y_BITS_TAG))
    x_bits, y_bits = x_tag or y_tag, y_tag or x_tag
    if min(run_bits, x_bits) < 1 or run_bits + x_bits + y_bits > MAX_SYMBOL_BITS:
        raise InputError(
            f"{path}: compression {CODING_IN_TAGS} tells its bits in tags {RUN_BITS_TAG}, {X_BITS_TAG} and "
            f"{Y_BITS_TAG}; found {run_bits}, {x_bits} and {y_bits}."
        )
    return Coding(run_bits, x_bits, y_bits)
