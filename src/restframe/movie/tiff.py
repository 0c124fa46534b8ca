"""TIFF movies: one directory for each frame, with strips or tiles.

tifffile reads the structure, imagecodecs the compressions. LZW is decoded by `restframe.movie.lzw` alone: the decoder
of imagecodecs can crash on damaged data. Compressions that cameras do not use are refused, because their decoders were
not written for damaged files.

A description can say what the directories do not: that more frames follow the only directory (ImageJ), or that each
byte holds two pixels (SerialEM).
"""

from __future__ import annotations

import copy
import json
import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from restframe.arrays import AnyArray, IntArray
from restframe.errors import InputError
from restframe.movie.files import read_bytes, read_from
from restframe.movie.metadata import PLAUSIBLE_PIXEL_SIZE_A, Metadata, plausible
from restframe.movie.movie import AddsByReading, DataType, delivered_dtype, largest_magnitude
from restframe.movie.packing import unpack_pixels
from restframe.movie.tiffchain import count_directories

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # the error says once what is wrong

Decoder = Callable[..., Any]

NO_COMPRESSION = 1
LZW_COMPRESSION = 5
JPEG_COMPRESSIONS = (6, 7, 34892)
DECODERS: dict[int, Decoder] = {
    8: imagecodecs.deflate_decode,
    32946: imagecodecs.deflate_decode,
    32773: imagecodecs.packbits_decode,
    34925: imagecodecs.lzma_decode,
    50000: imagecodecs.zstd_decode,
}
"""By TIFF compression: functions that decode a strip into a buffer, without reading or writing beyond it."""
MAX_BYTES_PER_BYTE = {NO_COMPRESSION: 1, LZW_COMPRESSION: 1400, 8: 1040, 32946: 1040, 32773: 64}
"""By TIFF compression: how many bytes one encoded byte can stand for."""
MAX_BYTES_PER_BYTE_OF_OTHERS = 40_000  # Zstandard and LZMA repeat a byte up to 128 KB in 4 bytes
NO_PREDICTOR, DIFFERENCES, FLOAT_DIFFERENCES = 1, 2, 3
REVERSED_BITS = np.array([int(f"{byte:08b}"[::-1], 2) for byte in range(256)], np.uint8)
SINGLE_NUMBERS = (
    "imagewidth", "imagelength", "rowsperstrip", "tilewidth", "tilelength", "predictor", "fillorder", "compression",
    "bitspersample",
)  # fmt: skip
"""Tags that hold one number, by tifffile's names."""
MAX_SIDE = 65535  # pixels, as in MRC files
PACKED_DESCRIPTION = "4 bits packed"  # by SerialEM: two pixels in each byte, the even column in the lower four bits
PACKED_SHAPES = {(8184, 5760), (11520, 4092), (7676, 3710), (7420, 3838)}
"""Rows and bytes of a row of packed K2 and K3 super-resolution frames. Older SerialEM versions do not describe them."""
METAMORPH_STACK_TAG = 33629  # its count is the number of frames
MAX_DIRECTORY_BYTES = 4096  # of tags for each frame that are no reason for a warning
MAX_GAP_BYTES = 1 << 20
"""Bytes between the strips or tiles of a frame up to which they are read together."""
RESOLUTION_UNITS = {2: 2.54e8, 3: 1e8}
"""The length of a TIFF resolution unit in A: inch, centimetre."""


@dataclass(frozen=True, eq=False)
class TiffMovie(AddsByReading):
    """A TIFF file. Rows are delivered last first: TIFF counts them from the top, MRC from the bottom."""

    path: Path
    shape: tuple[int, int, int]
    stored: DataType
    packed: bool  # 4 bits per pixel
    pixel_size: float
    metadata: Metadata
    pages: tuple[tifffile.TiffPage, ...]  # parsed, independent of the open file

    format = "tiff"
    tolerated_damage = 0.0

    def header_gain(self) -> None:
        """None: TIFF movies contain no gain reference."""

    @property
    def largest_count(self) -> float:
        """See `restframe.movie.Movie.largest_count`."""
        return 15.0 if self.packed else largest_magnitude(self.stored)

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
        as_stored = not self.packed and self.stored.str[1:] == self.dtype.str[1:]
        rows = image.view(self.stored) if as_stored else np.empty(self.pages[frame_index].shape, self.stored)
        try:
            _read_page(self.path, self.pages[frame_index], rows)
        except (RuntimeError, ValueError, OSError) as error:  # what codecs raise
            raise InputError(
                f"{self.path}: frame {frame_index + 1} is damaged ({error}). Copy the movie again."
            ) from error
        if self.packed:
            unpack_pixels(rows, image)
        elif not as_stored:
            with np.errstate(over="ignore"):  # values beyond float32 become infinite, which is noticed later
                image[:] = rows
        elif not self.stored.isnative:
            image.byteswap(inplace=True)
        return image


def open_tiff(path: Path) -> TiffMovie:
    """Open a TIFF file. Raises `InputError` if its structure is broken or its pages differ in size or type."""
    directory_count = count_directories(path)
    try:
        with tifffile.TiffFile(path) as file:
            all_pages = [_parsed_page(file.pages[index]) for index in range(directory_count)]
            pages = tuple(page for page in all_pages if not page.is_reduced)
            file_bytes = file.filehandle.size
    except Exception as error:  # tifffile raises errors of many kinds for damaged files
        raise InputError(f"{path}: the TIFF structure is damaged ({error}). Copy the movie again.") from error
    if not pages:
        raise InputError(f"{path} holds thumbnails only; expected frames of full size.")
    first_page = pages[0]
    for frame_number, page in enumerate(pages, 1):
        subject = f"{path}: frame {frame_number}"
        _check_numbers(subject, page)
        _check_page(subject, page, first_page)
        _check_segments(subject, page, file_bytes)
    claimed_bytes = sum(sum(page.databytecounts) for page in pages)
    if claimed_bytes > file_bytes:
        raise InputError(
            f"{path}: its frames claim {claimed_bytes} bytes of data, the file has {file_bytes}. Copy the movie again."
        )
    pages, count_notes = _described_pages(path, pages, file_bytes)
    count_notes += _unused_bytes(path, pages, file_bytes)
    packed, packing_notes = _packing(first_page)
    height, stored_width = first_page.shape
    shape = len(pages), height, stored_width * 2 if packed else stored_width
    metadata = Metadata(pixel_size := _pixel_size(first_page), notes=(*count_notes, *packing_notes))
    return TiffMovie(path, shape, _stored_dtype(first_page), packed, pixel_size, metadata, pages)


def _parsed_page(page: Any) -> tifffile.TiffPage:
    if not isinstance(page, tifffile.TiffPage):
        raise tifffile.TiffFileError("page not parsed")
    return page


def _stored_dtype(page: tifffile.TiffPage) -> DataType:
    if page.bitspersample == 8:
        return np.dtype(np.uint8)  # counts, whatever the sample format says
    return np.dtype(page.dtype).newbyteorder(page.parent.byteorder)


def _check_numbers(subject: str, page: tifffile.TiffPage) -> None:
    """Raise `InputError` unless tags that hold one number do so, and places and lengths of the data are numbers.

    A damaged type of a tag makes texts, fractions or several numbers of them.
    """
    for name in SINGLE_NUMBERS:
        value = getattr(page, name)
        if not isinstance(value, int):
            raise InputError(f"{subject} has {str(value)[:30]} for {name}; expected one number. Copy the movie again.")
    for name in ("dataoffsets", "databytecounts"):
        values = getattr(page, name)
        if not isinstance(values, tuple) or not all(isinstance(value, int) for value in values):
            raise InputError(f"{subject} has {str(values)[:30]} for {name}; expected numbers. Copy the movie again.")


def _check_page(subject: str, page: tifffile.TiffPage, first_page: tifffile.TiffPage) -> None:
    """Raise `InputError` unless a page is an image of counts like the first page."""
    if len(page.shape) != 2 or 0 in page.shape:
        raise InputError(f"{subject} has shape {page.shape}; expected grey images (rows, columns).")
    if page.shape != first_page.shape or page.dtype != first_page.dtype:
        raise InputError(
            f"{subject} is {_description(page)}, the first is {_description(first_page)}; frames of one size and type "
            "are expected."
        )
    if max(page.shape) > MAX_SIDE:
        raise InputError(f"{subject} is {_description(page)}; expected at most {MAX_SIDE} pixels along a side.")
    if page.dtype is None or page.bitspersample not in (8, 16, 32, 64):
        raise InputError(f"{subject} has {page.bitspersample} bits a pixel; expected 8 or 16 bits or float32.")
    delivered_dtype(page.dtype)
    if page.compression in JPEG_COMPRESSIONS:
        raise InputError(f"{subject} is compressed with JPEG, which loses counts; expected none, LZW, Deflate or Zstd.")
    if page.compression not in (NO_COMPRESSION, LZW_COMPRESSION, *DECODERS):
        kind = "TIFF compression" if page.compression in tifffile.TIFF.DECOMPRESSORS else "unknown TIFF compression"
        raise InputError(f"{subject} has the {kind} {int(page.compression)}; expected none, LZW, Deflate or Zstd.")
    if page.predictor not in (NO_PREDICTOR, DIFFERENCES, FLOAT_DIFFERENCES):
        raise InputError(f"{subject} has the TIFF predictor {int(page.predictor)}; expected 1, 2 or 3.")
    if page.predictor == FLOAT_DIFFERENCES and np.dtype(page.dtype).kind != "f":
        raise InputError(
            f"{subject} has the TIFF predictor 3, which is for floating point; its pixels are {page.dtype}."
        )


def _check_segments(subject: str, page: tifffile.TiffPage, file_bytes: int) -> None:
    """Raise `InputError` unless all strips or tiles of a page lie within the file and can hold the page."""
    offsets, counts = page.dataoffsets, page.databytecounts
    if page.is_tiled and min(page.tilewidth, page.tilelength) < 1:
        raise InputError(f"{subject} has tiles of {page.tilewidth} x {page.tilelength} pixels. Copy the movie again.")
    if not page.is_tiled and page.rowsperstrip < 1:
        raise InputError(f"{subject} has strips of {page.rowsperstrip} rows (RowsPerStrip). Copy the movie again.")
    rows, columns = _segment_sizes(page)
    if not len(offsets) == len(counts) == len(rows):
        raise InputError(f"{subject} has {len(offsets)} strips or tiles; expected {len(rows)}. Copy the movie again.")
    end = max(map(int.__add__, offsets, counts))
    if min(counts) <= 0 or min(offsets) <= 0 or end > file_bytes:
        raise InputError(
            f"{subject} is not all there: its data should end at byte {end}, the file has {file_bytes}. Copy it again."
        )
    most_per_byte = MAX_BYTES_PER_BYTE.get(page.compression, MAX_BYTES_PER_BYTE_OF_OTHERS)
    claimed_bytes = rows.astype(np.float64) * columns * np.dtype(page.dtype).itemsize
    too_small = claimed_bytes > most_per_byte * np.array(counts, np.float64)
    if too_small.any():
        first = int(too_small.argmax())
        raise InputError(
            f"{subject} claims {int(rows[first]) * columns} pixels in {counts[first]} bytes, which cannot hold them. "
            "Copy the movie again."
        )


def _segment_sizes(page: tifffile.TiffPage) -> tuple[IntArray, int]:
    """Rows of each strip or tile, (n,), and their columns. The last strip has no more rows than the page has left."""
    height, width = page.shape
    if page.is_tiled:
        tile_count = -(-height // page.tilelength) * -(-width // page.tilewidth)
        return np.full(tile_count, page.tilelength, np.int64), page.tilewidth
    rows_per_strip = min(page.rowsperstrip, height)
    rows = np.full(-(-height // rows_per_strip), rows_per_strip, np.int64)
    rows[-1] = height - rows[:-1].sum()
    return rows, width


def _description(page: tifffile.TiffPage) -> str:
    return f"{' x '.join(map(str, page.shape[::-1]))} {page.dtype}"


def _pixel_size(page: tifffile.TiffPage) -> float:
    """A; 0 if the tags give none, or give the resolution of a screen or printer."""
    resolution, unit = page.tags.get("XResolution"), page.tags.get("ResolutionUnit")
    if resolution is None or unit is None:
        return 0.0
    try:
        numerator, denominator = resolution.value
        return plausible(RESOLUTION_UNITS[int(unit.value)] * denominator / numerator, PLAUSIBLE_PIXEL_SIZE_A)
    except (TypeError, ValueError, KeyError, ArithmeticError):  # no such values
        return 0.0


def _described_pages(
    path: Path, pages: tuple[tifffile.TiffPage, ...], file_bytes: int
) -> tuple[tuple[tifffile.TiffPage, ...], list[str]]:
    """The pages with those that only the description tells of, and notes. Raises `InputError` where they are missing.

    ImageJ writes stacks above 4 GB with one directory; the other frames follow the first one, uncompressed.
    """
    first_page = pages[0]
    program, count = _described_count(first_page)
    if count in (0, len(pages)):
        return pages, []
    if len(pages) > 1 or first_page.compression != NO_COMPRESSION or not _is_contiguous(first_page):
        return pages, [
            f"Warning: {path}: its {program} says {count} frames, the file has {len(pages)}; these are used."
        ]
    frame_bytes = sum(first_page.databytecounts)
    start = min(first_page.dataoffsets)
    if start + count * frame_bytes > file_bytes:
        raise InputError(
            f"{path} is cut short: its {program} says {count} frames, the file holds "
            f"{(file_bytes - start) // frame_bytes}. Copy the movie again."
        )
    moved_pages = tuple(_moved(first_page, index * frame_bytes) for index in range(count))
    return moved_pages, [f"The file has one directory; its {program} says {count} frames."]


def _unused_bytes(path: Path, pages: tuple[tifffile.TiffPage, ...], file_bytes: int) -> list[str]:
    """A warning where the file is so much larger than its frames that others may be in it."""
    frame_bytes = [sum(page.databytecounts) for page in pages]
    unused_bytes = file_bytes - sum(frame_bytes) - MAX_DIRECTORY_BYTES * len(pages)
    if unused_bytes < max(frame_bytes):
        return []
    return [
        f"Warning: {path}: {unused_bytes} of its {file_bytes} bytes belong to none of its {len(pages)} frames. Are "
        "frames missing?"
    ]


def _described_count(page: tifffile.TiffPage) -> tuple[str, int]:
    """Which text tells the number of frames, and the number; 0 where there is none."""
    description = page.description or ""
    if description.startswith("ImageJ="):
        numbers = {
            name: int(digits)
            for name, digits in re.findall(r"^(images|channels|slices|frames)=(\d{1,9})\s*$", description, re.MULTILINE)
        }
        others = math.prod(numbers.get(name, 1) for name in ("channels", "slices", "frames"))
        return "ImageJ description", numbers.get("images", others)
    stack_planes = page.tags.get(METAMORPH_STACK_TAG)
    if stack_planes is not None:
        return "MetaMorph tag", int(stack_planes.count)
    if description.startswith("{") and '"truncated"' in description:
        try:
            fields = json.loads(description)
            frame_pixels = page.shape[0] * page.shape[1]
            pixel_count = math.prod(int(length) for length in fields["shape"])
        except (ValueError, TypeError, KeyError, RecursionError):
            return "description", 0
        return "description", pixel_count // frame_pixels if fields["truncated"] is True else 0
    return "description", 0


def _is_contiguous(page: tifffile.TiffPage) -> bool:
    """Whether the pixels of a page lie in the file in order, without gaps."""
    ends = list(map(int.__add__, page.dataoffsets, page.databytecounts))
    pixel_bytes = page.shape[0] * page.shape[1] * np.dtype(page.dtype).itemsize
    return not page.is_tiled and ends[:-1] == list(page.dataoffsets[1:]) and sum(page.databytecounts) == pixel_bytes


def _moved(page: tifffile.TiffPage, distance: int) -> tifffile.TiffPage:
    """A page like ``page`` whose data begin ``distance`` bytes further in the file."""
    moved = copy.copy(page)
    moved.dataoffsets = tuple(offset + distance for offset in page.dataoffsets)
    return moved


def _packing(page: tifffile.TiffPage) -> tuple[bool, list[str]]:
    """Whether each byte holds two pixels, and a sentence that says so."""
    if page.bitspersample != 8:
        return False, []
    height, row_bytes = page.shape
    if PACKED_DESCRIPTION in (page.description or "").lower():
        reason = f"its description says {PACKED_DESCRIPTION}"
    elif (height, row_bytes) in PACKED_SHAPES:
        reason = f"{row_bytes} x {height} bytes are such frames of SerialEM"
    else:
        return False, []
    return True, [f"Two pixels of 4 bits in each byte, {2 * row_bytes} x {height} pixels: {reason}."]


def _read_page(path: Path, page: tifffile.TiffPage, rows: AnyArray) -> None:
    """Decode a page into ``rows`` (h, w) of the stored type, the last row of the file first."""
    is_plain = not page.is_tiled and page.predictor == NO_PREDICTOR and page.fillorder == 1
    encoded_segments = _read_segments(path, page.dataoffsets, page.databytecounts)
    if is_plain and page.compression == LZW_COMPRESSION:
        _decode_lzw_strips(list(encoded_segments), rows, page.rowsperstrip)
    elif is_plain:
        decode = _copy if page.compression == NO_COMPRESSION else DECODERS[page.compression]
        _decode_strips(decode, encoded_segments, rows, min(page.rowsperstrip, len(rows)))
    else:
        _decode_segments(page, encoded_segments, rows)


def _decode_lzw_strips(strips: Sequence[memoryview], rows: AnyArray, rows_per_strip: int) -> None:
    """Raises ValueError if a strip is damaged."""
    from restframe.movie.lzw import decode_strips  # imports Numba

    height = len(rows)
    row_bytes = rows.reshape(height, -1).view(np.uint8)
    sizes = [
        min(rows_per_strip, height - first_row) * row_bytes.shape[1] for first_row in range(0, height, rows_per_strip)
    ]
    if not decode_strips(strips, sizes, row_bytes):
        raise ValueError("a strip is no valid LZW, or does not end with its last pixel")


def _decode_segments(page: tifffile.TiffPage, encoded_segments: Iterable[memoryview], rows: AnyArray) -> None:
    """Decode strips or tiles one by one: with tiles, with a predictor or with the bits of each byte reversed."""
    height, width = page.shape
    row_counts, columns = _segment_sizes(page)
    full_rows = int(row_counts[0])
    per_row = -(-width // columns)
    for index, (row_count, encoded) in enumerate(zip(row_counts.tolist(), encoded_segments, strict=True)):
        data = np.frombuffer(encoded, np.uint8)
        if page.fillorder == 2:
            data = REVERSED_BITS[data]
        try:
            values = _decode_segment(page.compression, data, (row_count, columns), rows.dtype)
        except (RuntimeError, ValueError):  # damaged, or longer: some programs fill the last strip up
            if row_count == full_rows:
                raise
            values = _decode_segment(page.compression, data, (full_rows, columns), rows.dtype)
        values = _without_predictor(values, page.predictor)
        top, left = index // per_row * full_rows, index % per_row * columns
        place = rows[::-1][top : min(top + full_rows, height), left : min(left + columns, width)]
        place[:] = values[: place.shape[0], : place.shape[1]]


def _decode_segment(compression: int, data: AnyArray, shape: tuple[int, int], dtype: DataType) -> AnyArray:
    """The values of one strip or tile, (h, w), as in the file."""
    reversed_rows = np.empty(shape, dtype)
    if compression == LZW_COMPRESSION:
        _decode_lzw_strips([data.data], reversed_rows, shape[0])
    else:
        decode = _copy if compression == NO_COMPRESSION else DECODERS[compression]
        _decode_strips(decode, [data.data], reversed_rows, shape[0])
    return np.ascontiguousarray(reversed_rows[::-1])


def _without_predictor(values: AnyArray, predictor: int) -> AnyArray:
    """Pixels from what a TIFF predictor made of them."""
    if predictor == DIFFERENCES:
        integers = values.view(f"{values.dtype.str[0]}u{values.dtype.itemsize}")
        np.cumsum(integers, axis=1, dtype=integers.dtype.newbyteorder("="), out=integers)
    elif predictor == FLOAT_DIFFERENCES:
        return np.asarray(imagecodecs.floatpred_decode(values, axis=-1))
    return values


def _decode_strips(decode: Decoder, strips: Iterable[memoryview], rows: AnyArray, rows_per_strip: int) -> None:
    """Decode each strip to its place and reverse the order of its rows.

    A strip may be a single row, so little is done for each of them. Raises ValueError if a strip is damaged.
    """
    flat_bytes = rows.reshape(-1).view(np.uint8)
    row_bytes = len(flat_bytes) // len(rows)
    for stop_row, encoded in zip(range(len(rows), 0, -rows_per_strip), strips, strict=True):
        start_row = max(stop_row - rows_per_strip, 0)
        destination = flat_bytes[start_row * row_bytes : stop_row * row_bytes]
        try:
            decoded_bytes = len(decode(encoded, out=destination))
        except RuntimeError:  # damaged, or longer: some programs fill the last strip up
            if stop_row - start_row == rows_per_strip:
                raise
            decoded = np.frombuffer(decode(encoded, out=bytearray(rows_per_strip * row_bytes)), np.uint8)
            decoded_bytes = min(len(decoded), len(destination))
            destination[:decoded_bytes] = decoded[:decoded_bytes]
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
