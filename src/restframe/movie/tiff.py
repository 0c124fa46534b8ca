"""TIFF movies: one directory for each frame, with strips or tiles.

tifffile reads the structure, imagecodecs the compressions; strips with LZW are decoded by `restframe.movie.lzw`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from restframe.arrays import AnyArray
from restframe.errors import InputError
from restframe.movie.files import read_bytes, read_from
from restframe.movie.movie import AddsByReading, DataType, delivered_dtype, largest_magnitude
from restframe.movie.tiffchain import check_directory_chain

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # the error says once what is wrong

Decoder = Callable[..., Any]

NO_COMPRESSION = 1
LZW_COMPRESSION = 5
JPEG_COMPRESSIONS = (6, 7, 34892)
STRIP_DECODERS: dict[int, Decoder] = {
    LZW_COMPRESSION: imagecodecs.lzw_decode,
    8: imagecodecs.deflate_decode,
    32946: imagecodecs.deflate_decode,
    50000: imagecodecs.zstd_decode,
}
"""By TIFF compression: functions that can decode a strip into the rows of a frame without a copy."""
MAX_GAP_BYTES = 1 << 20
"""Bytes between the strips or tiles of a frame up to which they are read together."""
RESOLUTION_UNITS = {2: 2.54e8, 3: 1e8}
"""The length of a TIFF resolution unit in A: inch, centimetre."""
MIN_PIXEL_SIZE, MAX_PIXEL_SIZE = 0.01, 1000.0  # A: others are not those of a microscope


@dataclass(frozen=True, eq=False)
class TiffMovie(AddsByReading):
    """A TIFF file. Rows are delivered last first: TIFF counts them from the top, MRC from the bottom."""

    path: Path
    shape: tuple[int, int, int]
    stored: DataType
    pixel_size: float
    pages: tuple[tifffile.TiffPage, ...]  # parsed, independent of the open file

    format = "tiff"
    tolerated_damage = 0.0

    def header_gain(self) -> None:
        """None: TIFF movies contain no gain reference."""

    @property
    def largest_count(self) -> float:
        """See `restframe.movie.Movie.largest_count`."""
        return largest_magnitude(self.stored)

    @property
    def dtype(self) -> DataType:
        """See `restframe.movie.Movie.dtype`."""
        return delivered_dtype(self.stored)

    def read(self, frame_index: int, destination: AnyArray | None = None) -> AnyArray:
        """See `restframe.movie.Movie.read`."""
        frame_count, height, width = self.shape
        if not 0 <= frame_index < frame_count:
            raise IndexError(f"frame {frame_index} of {frame_count}")
        image = np.empty((height, width), self.dtype) if destination is None else destination
        as_stored = self.stored.str[1:] == self.dtype.str[1:]
        rows = image.view(self.stored) if as_stored else np.empty((height, width), self.stored)
        try:
            _read_page(self.path, self.pages[frame_index], rows)
        except (RuntimeError, ValueError, OSError, AssertionError) as error:  # what codecs and tifffile raise
            raise InputError(
                f"{self.path}: frame {frame_index + 1} is damaged ({error}). Copy the movie again."
            ) from error
        if not as_stored:
            image[:] = rows
        elif not self.stored.isnative:
            image.byteswap(inplace=True)
        return image


def open_tiff(path: Path) -> TiffMovie:
    """Open a TIFF file. Raises `InputError` if its structure is broken or its pages differ in size or type."""
    check_directory_chain(path)
    try:
        with tifffile.TiffFile(path) as file:
            pages = tuple(page for page in map(_parsed_page, file.pages) if not page.is_reduced)
            file_bytes = file.filehandle.size
    except Exception as error:  # tifffile raises errors of many kinds for damaged files
        raise InputError(f"{path}: the TIFF structure is damaged ({error}). Copy the movie again.") from error
    if not pages:
        raise InputError(f"{path} holds thumbnails only; expected frames of full size.")
    first_page = pages[0]
    for frame_number, page in enumerate(pages, 1):
        _check_page(f"{path}: frame {frame_number}", page, first_page)
        _check_segments(f"{path}: frame {frame_number}", page, file_bytes)
    height, width = first_page.shape
    return TiffMovie(path, (len(pages), height, width), _stored_dtype(first_page), _pixel_size(first_page), pages)


def _parsed_page(page: Any) -> tifffile.TiffPage:
    if not isinstance(page, tifffile.TiffPage):
        raise tifffile.TiffFileError("page not parsed")
    return page


def _stored_dtype(page: tifffile.TiffPage) -> DataType:
    if page.bitspersample == 8:
        return np.dtype(np.uint8)  # counts, whatever the sample format says
    return np.dtype(page.dtype).newbyteorder(page.parent.byteorder)


def _check_page(subject: str, page: tifffile.TiffPage, first_page: tifffile.TiffPage) -> None:
    """Raise `InputError` unless a page is an image of counts like the first page."""
    if len(page.shape) != 2 or 0 in page.shape:
        raise InputError(f"{subject} has shape {page.shape}; expected grey images (rows, columns).")
    if page.shape != first_page.shape or page.dtype != first_page.dtype:
        raise InputError(
            f"{subject} is {_description(page)}, the first is {_description(first_page)}; frames of one size and type "
            "are expected."
        )
    if page.dtype is None or page.bitspersample not in (8, 16, 32, 64):
        raise InputError(f"{subject} has {page.bitspersample} bits a pixel; expected 8 or 16 bits or float32.")
    delivered_dtype(page.dtype)
    if page.compression != NO_COMPRESSION and page.compression not in tifffile.TIFF.DECOMPRESSORS:
        raise InputError(f"{subject} has the unknown TIFF compression {page.compression}; use LZW, Deflate or Zstd.")
    if page.compression in JPEG_COMPRESSIONS:
        raise InputError(f"{subject} is compressed with JPEG, which loses counts; expected none, LZW, Deflate or Zstd.")


def _check_segments(subject: str, page: tifffile.TiffPage, file_bytes: int) -> None:
    """Raise `InputError` unless all strips or tiles of a page lie within the file."""
    offsets, counts = page.dataoffsets, page.databytecounts
    expected_count = int(np.prod(page.chunked))
    if not len(offsets) == len(counts) == expected_count:
        raise InputError(
            f"{subject} has {len(offsets)} strips or tiles; expected {expected_count}. Copy the movie again."
        )
    ends = np.add(offsets, counts)
    if min(counts) <= 0 or min(offsets) <= 0 or ends.max() > file_bytes:
        raise InputError(
            f"{subject} is not all there: its data should end at byte {ends.max()}, the file has {file_bytes}. "
            "Copy it again."
        )


def _description(page: tifffile.TiffPage) -> str:
    return f"{' x '.join(map(str, page.shape[::-1]))} {page.dtype}"


def _pixel_size(page: tifffile.TiffPage) -> float:
    """A; 0 if the tags give none, or give the resolution of a screen or printer."""
    resolution, unit = page.tags.get("XResolution"), page.tags.get("ResolutionUnit")
    if resolution is None or unit is None or int(unit.value) not in RESOLUTION_UNITS or 0 in resolution.value:
        return 0.0
    pixel_size = float(RESOLUTION_UNITS[int(unit.value)] * resolution.value[1] / resolution.value[0])
    return pixel_size if MIN_PIXEL_SIZE < pixel_size < MAX_PIXEL_SIZE else 0.0


def _read_page(path: Path, page: tifffile.TiffPage, rows: AnyArray) -> None:
    """Decode a page into ``rows`` (h, w) of the stored type, the last row of the file first."""
    has_plain_strips = not page.is_tiled and page.predictor == 1 and page.fillorder == 1
    if page.compression == LZW_COMPRESSION and has_plain_strips and _read_lzw_strips(path, page, rows):
        return
    segments = _read_segments(path, page.dataoffsets, page.databytecounts)
    decode = _copy if page.compression == NO_COMPRESSION else STRIP_DECODERS.get(page.compression)
    if decode is not None and has_plain_strips:
        _decode_strips(decode, segments, rows, page.rowsperstrip)
        return
    for index, encoded in enumerate(segments):
        segment, (_, _, top, left, _), (_, height, width, _) = page.decode(encoded, index, jpegtables=page.jpegtables)
        assert segment is not None  # it is None only without data, which `_check_segments` has refused
        destination = rows[::-1][top : top + height, left : left + width]
        destination[:] = segment[0, : destination.shape[0], : destination.shape[1], 0]


def _read_lzw_strips(path: Path, page: tifffile.TiffPage, rows: AnyArray) -> bool:
    """False if the decoder cannot decode them. The decoder of imagecodecs then explains why, or can."""
    from restframe.movie.lzw import decode_strips  # imports Numba

    height, rows_per_strip = len(rows), page.rowsperstrip
    row_bytes = rows.reshape(height, -1).view(np.uint8)
    sizes = [
        min(rows_per_strip, height - first_row) * row_bytes.shape[1] for first_row in range(0, height, rows_per_strip)
    ]
    strips = list(_read_segments(path, page.dataoffsets, page.databytecounts))
    return decode_strips(strips, sizes, row_bytes)


def _decode_strips(decode: Decoder, strips: Iterable[memoryview], rows: AnyArray, rows_per_strip: int) -> None:
    """Decode each strip to its place and reverse the order of its rows.

    A strip may be a single row, so little is done for each of them.
    """
    flat_bytes = rows.reshape(-1).view(np.uint8)
    row_bytes = len(flat_bytes) // len(rows)
    for stop_row, encoded in zip(range(len(rows), 0, -rows_per_strip), strips, strict=True):
        start_row = max(stop_row - rows_per_strip, 0)
        destination = flat_bytes[start_row * row_bytes : stop_row * row_bytes]
        try:
            decoded_bytes = len(decode(encoded, out=destination))
        except RuntimeError:  # damaged, or longer: some programs fill the last strip up
            decoded = np.frombuffer(decode(encoded), np.uint8)[: len(destination)]
            decoded_bytes = len(decoded)
            destination[:decoded_bytes] = decoded
        if decoded_bytes < len(destination):
            raise ValueError(f"a strip gives {decoded_bytes} bytes instead of {len(destination)}")
        if rows_per_strip > 1:
            rows[start_row:stop_row] = rows[start_row:stop_row][::-1]


def _copy(encoded: memoryview, out: AnyArray) -> AnyArray:
    """The decoder of uncompressed strips, with the arguments of those of imagecodecs."""
    length = min(len(encoded), len(out))
    out[:length] = np.frombuffer(encoded, np.uint8, count=length)
    return out[:length]


def _read_segments(path: Path, offsets: Sequence[int], counts: Sequence[int]) -> Iterator[memoryview]:
    """The bytes of each strip or tile, read together if they lie close together, as they do in movies."""
    start, end = min(offsets), max(map(int.__add__, offsets, counts))
    if end - start <= sum(counts) + MAX_GAP_BYTES:
        block = memoryview(read_bytes(path, start, end - start))
        for offset, count in zip(offsets, counts, strict=True):
            yield block[offset - start : offset - start + count]
        return
    with open(path, "rb", buffering=0) as file:
        for offset, count in zip(offsets, counts, strict=True):
            yield memoryview(read_from(file, offset, count))
