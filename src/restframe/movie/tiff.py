"""TIFF movies: one directory a frame, strips or tiles. tifffile knows the structure, imagecodecs the compressions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from restframe.errors import InputError
from restframe.movie.files import read_bytes, read_from
from restframe.movie.movie import Adding, delivered_dtype, most_of
from restframe.movie.tiffchain import check_chain

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what is wrong is said once, by the error

LZW = 5  # the compression of most movies; `lzw` is faster, imagecodecs takes what it does not
# Codecs that can decode a strip straight to its place
DIRECT: dict[int, Callable[..., Any]] = {
    LZW: imagecodecs.lzw_decode,
    8: imagecodecs.deflate_decode,
    32946: imagecodecs.deflate_decode,
    50000: imagecodecs.zstd_decode,
}
JPEG = (6, 7, 34892)
GAP = 1 << 20  # bytes between a frame's segments up to which they are read in one go
UNITS = {2: 2.54e8, 3: 1e8}  # A in the resolution's unit: inch, centimetre


@dataclass(frozen=True, eq=False)
class TiffMovie(Adding):
    """Rows are delivered last first: TIFF counts them from the top, MRC from the bottom."""

    path: Path
    shape: tuple[int, int, int]
    stored: np.dtype
    pixel_size: float
    pages: tuple[tifffile.TiffPage, ...]  # parsed, independent of the open file

    format = "tiff"
    spare = 0.0

    def header_gain(self) -> None:
        return None

    @property
    def most(self) -> float:
        return most_of(self.stored)

    @property
    def dtype(self) -> np.dtype:
        return delivered_dtype(self.stored)

    def read(self, frame: int, out: np.ndarray | None = None) -> np.ndarray:
        t, h, w = self.shape
        if not 0 <= frame < t:
            raise IndexError(f"frame {frame} of {t}")
        out = np.empty((h, w), self.dtype) if out is None else out
        same = self.stored.str[1:] == self.dtype.str[1:]
        rows = out.view(self.stored) if same else np.empty((h, w), self.stored)
        try:
            _read_page(self.path, self.pages[frame], rows)
        except (RuntimeError, ValueError, OSError, AssertionError) as error:  # what codecs and tifffile raise
            raise InputError(f"{self.path}: frame {frame + 1} is damaged ({error}). Copy the movie again.") from error
        if not same:
            out[:] = rows
        elif not self.stored.isnative:
            out.byteswap(inplace=True)
        return out


def open_tiff(path: Path) -> TiffMovie:
    """Raises `InputError` if the structure is broken or the pages are no frames of one size and type."""
    check_chain(path)
    try:
        with tifffile.TiffFile(path) as file:
            pages = tuple(page for page in map(_whole_page, file.pages) if not page.is_reduced)
            size = file.filehandle.size
    except Exception as error:  # tifffile meets garbage with errors of many kinds
        raise InputError(f"{path}: the TIFF structure is damaged ({error}). Copy the movie again.") from error
    if not pages:
        raise InputError(f"{path} holds thumbnails only; expected frames of full size.")
    for number, page in enumerate(pages, 1):
        _check_page(path, number, page, pages[0], size)
    height, width = pages[0].shape
    return TiffMovie(path, (len(pages), height, width), _stored_dtype(pages[0]), _pixel_size(pages[0]), pages)


def _whole_page(page: Any) -> tifffile.TiffPage:
    if not isinstance(page, tifffile.TiffPage):
        raise tifffile.TiffFileError("page not parsed")
    return page


def _stored_dtype(page: tifffile.TiffPage) -> np.dtype:
    if page.bitspersample == 8:
        return np.dtype(np.uint8)  # counts, whatever the sample format says
    return np.dtype(page.dtype).newbyteorder(page.parent.byteorder)


def _check_page(path: Path, number: int, page: tifffile.TiffPage, first: tifffile.TiffPage, size: int) -> None:
    where = f"{path}: frame {number}"
    if len(page.shape) != 2 or 0 in page.shape:
        raise InputError(f"{where} has shape {page.shape}; expected grey images (rows, columns).")
    if page.shape != first.shape or page.dtype != first.dtype:
        raise InputError(
            f"{where} is {_words(page)}, the first is {_words(first)}; frames of one size and type are expected."
        )
    if page.dtype is None or page.bitspersample not in (8, 16, 32, 64):
        raise InputError(f"{where} has {page.bitspersample} bits a pixel; expected 8 or 16 bits or float32.")
    delivered_dtype(page.dtype)
    if page.compression != 1 and page.compression not in tifffile.TIFF.DECOMPRESSORS:
        raise InputError(f"{where} has the unknown TIFF compression {page.compression}; use LZW, Deflate or Zstd.")
    if page.compression in JPEG:
        raise InputError(f"{where} is compressed with JPEG, which loses counts; expected none, LZW, Deflate or Zstd.")
    offsets, counts = page.dataoffsets, page.databytecounts
    expected = int(np.prod(page.chunked))
    if not len(offsets) == len(counts) == expected:
        raise InputError(f"{where} has {len(offsets)} strips or tiles; expected {expected}. Copy the movie again.")
    ends = np.add(offsets, counts)
    if min(counts) <= 0 or min(offsets) <= 0 or ends.max() > size:
        raise InputError(
            f"{where} is not all there: its data should end at byte {ends.max()}, the file has {size}. Copy it again."
        )


def _words(page: tifffile.TiffPage) -> str:
    return f"{' x '.join(map(str, page.shape[::-1]))} {page.dtype}"


def _pixel_size(page: tifffile.TiffPage) -> float:
    """A; 0 where the tags give none, or the dots per inch of a screen or printer."""
    tag, unit = page.tags.get("XResolution"), page.tags.get("ResolutionUnit")
    if tag is None or unit is None or int(unit.value) not in UNITS or 0 in tag.value:
        return 0.0
    size = UNITS[int(unit.value)] * tag.value[1] / tag.value[0]
    return size if 0.01 < size < 1000 else 0.0


def _read_page(path: Path, page: tifffile.TiffPage, rows: np.ndarray) -> None:
    """Decode a page into ``rows`` (h, w) of the stored type, the last row of the file first."""
    if page.compression == LZW and not page.is_tiled and page.predictor == 1 and page.fillorder == 1:
        from restframe.movie.lzw import decode_strips  # brings Numba

        lines = rows.reshape(len(rows), -1).view(np.uint8)
        sizes = [
            min(page.rowsperstrip, len(rows) - top) * lines.shape[1] for top in range(0, len(rows), page.rowsperstrip)
        ]
        if decode_strips(list(_segments(path, page.dataoffsets, page.databytecounts)), sizes, lines):
            return  # what it cannot decode, the other decoder explains
    segments = _segments(path, page.dataoffsets, page.databytecounts)
    decode = _copy if page.compression == 1 else DIRECT.get(page.compression)
    if decode is not None and not page.is_tiled and page.predictor == 1 and page.fillorder == 1:
        _decode_strips(decode, segments, rows, page.rowsperstrip)
        return
    for index, data in enumerate(segments):
        segment, (_, _, y, x, _), (_, h, w, _) = page.decode(data, index, jpegtables=page.jpegtables)
        assert segment is not None  # only of no data, which the check has refused
        target = rows[::-1][y : y + h, x : x + w]
        target[:] = segment[0, : target.shape[0], : target.shape[1], 0]


def _decode_strips(decode: Callable[..., Any], segments, rows: np.ndarray, per_strip: int) -> None:
    """Each strip straight to its place, then its rows turned round. Strips may be one row: little is done for each."""
    flat = rows.reshape(-1).view(np.uint8)
    row_bytes = len(flat) // len(rows)
    for bottom, data in zip(range(len(rows), 0, -per_strip), segments, strict=True):
        top = max(bottom - per_strip, 0)
        place = flat[top * row_bytes : bottom * row_bytes]
        try:
            found = len(decode(data, out=place))
        except RuntimeError:  # damaged, or longer: some writers fill the last strip up
            whole = np.frombuffer(decode(data), np.uint8)[: len(place)]
            found = len(whole)
            place[:found] = whole
        if found < len(place):
            raise ValueError(f"a strip gives {found} bytes instead of {len(place)}")
        if per_strip > 1:
            rows[top:bottom] = rows[top:bottom][::-1]


def _copy(data: memoryview, out: np.ndarray) -> np.ndarray:
    length = min(len(data), len(out))
    out[:length] = np.frombuffer(data, np.uint8, count=length)
    return out[:length]


def _segments(path: Path, offsets, counts):
    """The bytes of each strip or tile, in one read where they lie close together, as they do in movies."""
    start, end = min(offsets), max(map(int.__add__, offsets, counts))
    if end - start <= sum(counts) + GAP:
        block = memoryview(read_bytes(path, start, end - start))
        for offset, count in zip(offsets, counts, strict=True):
            yield block[offset - start : offset - start + count]
        return
    with open(path, "rb", buffering=0) as file:
        for offset, count in zip(offsets, counts, strict=True):
            yield memoryview(read_from(file, offset, count))
