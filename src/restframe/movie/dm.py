"""Images of Gatan DigitalMicrograph, DM3 and DM4: gain references of K2 and K3 cameras, and movies.

A file is a tree of tags. Numbers of the tree itself are big-endian; values have the byte order that the header tells.
This reader skips what it does not need and takes arrays as ranges of the file, so it reads a few kilobytes of any file.
It is written here because the readers that exist are under another licence, or read whole files into memory.

Format: www.er-c.org/cbb/info/dmformat/ (B. Schaffer) and the description of DM4 by the authors of ncempy.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from restframe.arrays import AnyArray
from restframe.errors import InputError
from restframe.movie.files import read_array
from restframe.movie.metadata import PLAUSIBLE_PIXEL_SIZE_A, PLAUSIBLE_VOLTAGE_KV, Metadata, plausible
from restframe.movie.movie import AddsByReading, DataType, delivered_dtype, largest_magnitude

DATA_TAG, FOLDER_TAG, FILE_END = 21, 20, 0
STRUCT_TYPE, STRING_TYPE, ARRAY_TYPE = 15, 18, 20
VALUE_FORMATS = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "B", 9: "B", 10: "B", 11: "q", 12: "Q"}
PIXEL_DTYPES = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8"}
"""By ImageData.DataType."""
MAX_DEPTH, MAX_TAGS, MAX_SIDE = 64, 200_000, 65535
MAX_SHORT_ARRAY = 256  # values; longer arrays are left in the file
UNITS_A = {"nm": 10.0, "a": 1.0, "å": 1.0, "µm": 1e4, "um": 1e4, "pm": 0.01}

Value: TypeAlias = "float | FileArray | dict[str, Value]"


@dataclass(frozen=True)
class FileArray:
    """Values that were left in the file."""

    offset: int  # bytes
    count: int
    value_bytes: int
    text: str = ""  # of short arrays of 16-bit values


@dataclass(frozen=True, eq=False)
class DmMovie(AddsByReading):
    """The largest image of a DM file. Rows are delivered last first: DM counts them from the top, as TIFF does."""

    path: Path
    shape: tuple[int, int, int]
    stored: DataType
    data_start: int  # byte where the first frame begins
    pixel_size: float
    metadata: Metadata

    format = "dm"
    tolerated_damage = 0.0

    def header_gain(self) -> None:
        """None: DM files contain no gain reference beside their image."""

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
        values = np.empty((height, width), self.stored)
        if read_array(self.path, self.data_start + frame_index * values.nbytes, values) < values.nbytes:
            raise InputError(f"{self.path}: frame {frame_index + 1} ends early; the file was cut short. Copy it again.")
        image = np.empty((height, width), self.dtype) if destination is None else destination
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, which is noticed later
            image[:] = values[::-1]
        return image


def open_dm(path: Path) -> DmMovie:
    """Open a DM3 or DM4 file. Raises `InputError` if it is damaged or has no image of counts."""
    with open(path, "rb") as file:
        file_bytes = file.seek(0, 2)
        file.seek(0)
        try:
            tags, byte_order = _TagReader(file, file_bytes).read_file()
        except (struct.error, ValueError) as error:
            raise InputError(f"{path}: the DM file is damaged or cut short ({error}). Copy it again.") from error
    images = tags.get("ImageList")
    candidates = [_image_of(entry) for entry in images.values()] if isinstance(images, dict) else []
    found = [candidate for candidate in candidates if candidate is not None]
    if not found:
        raise InputError(f"{path}: the DM file has no image of counts in two or three dimensions.")
    image = max(found, key=lambda candidate: candidate.data.count)
    frame_count, height, width = image.shape
    stored = np.dtype(byte_order + PIXEL_DTYPES[image.data_type])
    needed_bytes = frame_count * height * width * stored.itemsize
    if image.data.offset + needed_bytes > file_bytes or image.data.count * image.data.value_bytes < needed_bytes:
        raise InputError(
            f"{path}: the DM file claims {frame_count} images of {width} x {height} pixels, which are not all there. "
            "Copy it again."
        )
    metadata = Metadata(image.pixel_size, voltage=image.voltage)
    return DmMovie(path, image.shape, stored, image.data.offset, image.pixel_size, metadata)


@dataclass(frozen=True)
class _Image:
    data: FileArray
    data_type: int
    shape: tuple[int, int, int]
    pixel_size: float
    voltage: float


def _image_of(entry: Value) -> _Image | None:
    """The image of an entry of ImageList; None for thumbnails in colour and what else is no image of counts."""
    data, data_type = _find(entry, "ImageData", "Data"), _find(entry, "ImageData", "DataType")
    dimensions = _find(entry, "ImageData", "Dimensions")
    if not isinstance(data, FileArray) or data_type not in PIXEL_DTYPES or not isinstance(dimensions, dict):
        return None
    sides = [int(side) for side in dimensions.values() if isinstance(side, int | float)]
    if len(sides) not in (2, 3) or not all(0 < side <= MAX_SIDE for side in sides):
        return None
    width, height, frame_count = (*sides, 1)[:3]
    calibration = ("ImageData", "Calibrations", "Dimension", "0")
    scale, unit = _find(entry, *calibration, "Scale"), _find(entry, *calibration, "Units")
    unit_length = UNITS_A.get(unit.text.strip().lower(), 0.0) if isinstance(unit, FileArray) else 0.0
    voltage = _find(entry, "ImageTags", "Microscope Info", "Voltage")
    return _Image(
        data,
        int(data_type) if isinstance(data_type, int | float) else 0,
        (frame_count, height, width),
        plausible(scale * unit_length, PLAUSIBLE_PIXEL_SIZE_A) if isinstance(scale, int | float) else 0.0,
        plausible(voltage / 1e3, PLAUSIBLE_VOLTAGE_KV) if isinstance(voltage, int | float) else 0.0,
    )


def _find(value: Value | None, *names: str) -> Value | None:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


class _TagReader:
    """Reads the tree of tags. Raises struct.error at the end of the file, ValueError for what is impossible."""

    def __init__(self, file: BinaryIO, file_bytes: int) -> None:
        self._file, self._file_bytes = file, file_bytes
        self._tag_count = 0
        self._is_version_4 = False
        self._byte_order = "<"

    def read_file(self) -> tuple[dict[str, Value], str]:
        """The root folder and the byte order of values, < or >."""
        self._is_version_4 = self._unpack(">i") == 4
        self._length()  # of the file; wrong in some files
        self._byte_order = "<" if self._unpack(">i") == 1 else ">"
        return self._folder(0), self._byte_order

    def _unpack(self, value_format: str) -> int:
        number: int = struct.unpack(value_format, self._file.read(struct.calcsize(value_format)))[0]
        return number

    def _length(self) -> int:
        """A number whose size differs between DM3 and DM4."""
        return self._unpack(">q" if self._is_version_4 else ">i")

    def _folder(self, depth: int) -> dict[str, Value]:
        if depth > MAX_DEPTH:
            raise ValueError(f"tags nested more than {MAX_DEPTH} deep")
        self._file.read(2)  # whether it is sorted, and open
        tags: dict[str, Value] = {}
        for index in range(self._length()):
            self._tag_count += 1
            if self._tag_count > MAX_TAGS:
                raise ValueError(f"more than {MAX_TAGS} tags")
            kind = self._unpack(">B")
            if kind == FILE_END:
                break
            name = self._file.read(self._unpack(">H")).decode("latin-1") or str(index)
            if self._is_version_4:
                self._unpack(">q")  # bytes of the tag
            if kind == FOLDER_TAG:
                tags[name] = self._folder(depth + 1)
            elif kind == DATA_TAG:
                value = self._value()
                if value is not None:
                    tags[name] = value
            else:
                raise ValueError(f"a tag of kind {kind}")
        return tags

    def _value(self) -> Value | None:
        """The value of a tag; None for kinds that are of no use here."""
        if self._file.read(4) != b"%%%%":
            raise ValueError("a value does not begin with %%%%")
        description_length = self._length()
        if not 0 < description_length <= MAX_SHORT_ARRAY:
            raise ValueError(f"a value described by {description_length} numbers")
        description = [self._length() for _ in range(description_length)]
        kind = description[0]
        if kind in VALUE_FORMATS:
            return self._unpack(self._byte_order + VALUE_FORMATS[kind])
        if kind == STRUCT_TYPE:
            self._skip(_struct_bytes(description))
            return None
        if kind == STRING_TYPE and description_length == 2:
            self._skip(2 * description[1])
            return None
        if kind == ARRAY_TYPE and description_length >= 3:
            return self._array(description)
        raise ValueError(f"a value of kind {kind}")

    def _array(self, description: list[int]) -> Value:
        count, value_kind = description[-1], description[1]
        if value_kind == STRUCT_TYPE:
            value_bytes = _struct_bytes(description[1:-1])
        elif value_kind in VALUE_FORMATS:
            value_bytes = struct.calcsize("<" + VALUE_FORMATS[value_kind])
        else:
            raise ValueError(f"an array of kind {value_kind}")
        offset = self._file.tell()
        if value_kind == 4 and 0 <= count <= MAX_SHORT_ARRAY:  # texts are arrays of 16-bit characters
            encoding = "utf-16-le" if self._byte_order == "<" else "utf-16-be"
            text = self._file.read(2 * count).decode(encoding, errors="replace")
            self._file.seek(offset)
            self._skip(2 * count)
            return FileArray(offset, count, 2, text)
        self._skip(count * value_bytes)
        return FileArray(offset, count, value_bytes)

    def _skip(self, byte_count: int) -> None:
        position = self._file.tell() + byte_count
        if byte_count < 0 or position > self._file_bytes:
            raise ValueError("a value reaches beyond the end of the file")
        self._file.seek(position)


def _struct_bytes(description: list[int]) -> int:
    """Bytes of a structure, described by its kind, the length of its name, the number of its fields, and for each field
    the length of its name and its kind.
    """
    kinds = description[4::2]
    if len(description) < 3 or len(kinds) != description[2] or not all(kind in VALUE_FORMATS for kind in kinds):
        raise ValueError("a structure that is described wrongly")
    return sum(struct.calcsize("<" + VALUE_FORMATS[kind]) for kind in kinds)
