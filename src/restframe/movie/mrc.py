"""MRC movies: MRC2014 and its dialects (8 bits unsigned, 4 bits), either byte order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from restframe.arrays import AnyArray, FloatArray
from restframe.errors import InputError
from restframe.movie.files import read_array
from restframe.movie.movie import AddsByReading, DataType, delivered_dtype, largest_magnitude

HEADER_BYTES = 1024
READABLE_MODES = {0: "u1", 1: "i2", 2: "f4", 5: "u1", 6: "u2", 12: "f2", 101: "u1"}
OTHER_MODES = (3, 4, 7, 16)  # complex, 32-bit, colour: MRC files, but not of counts
PACKED_MODE = 101  # two pixels in each byte, the even column in the lower four bits
IMOD_STAMP = 1146047817  # "IMOD" at byte 152: byte 156 then says whether 8-bit values have a sign
MAX_SIDE = 65535  # pixels


def parse_header(head: bytes, file_bytes: int) -> np.void | None:
    """The header of an MRC file, in the byte order in which its values are possible; None if it is no MRC file.

    ``head``: the first bytes of a file of ``file_bytes`` bytes. A width from 1 to 65535 is above 65535 in the wrong
    byte order, so the machine stamp, which is wrong in some files, is not needed.
    """
    if len(head) < HEADER_BYTES:
        return None
    for byte_order in "<>":
        header: np.void = np.frombuffer(head, HEADER_DTYPE.newbyteorder(byte_order), count=1)[0]
        mode_known = int(header["mode"]) in (*READABLE_MODES, *OTHER_MODES)
        sides_possible = all(0 < int(header[name]) <= MAX_SIDE for name in ("nx", "ny"))
        counts_possible = header["nz"] > 0 <= header["nsymbt"]
        if mode_known and sides_possible and counts_possible:
            stamped = header["map"][:3] == b"MAP"
            if stamped or _data_end(header) <= file_bytes:
                return header
    return None


@dataclass(frozen=True, eq=False)
class MrcMovie(AddsByReading):
    """An MRC file, all sections of which are frames. Rows have the order of the file."""

    path: Path
    shape: tuple[int, int, int]
    stored: DataType
    packed: bool  # 4 bits per pixel
    byte_order: str  # < or >
    data_start: int  # byte where the first frame begins
    pixel_size: float
    gain_start: int | None  # byte of the extended header where a gain begins

    format = "mrc"
    tolerated_damage = 0.0

    @property
    def largest_count(self) -> float:
        """See `restframe.movie.Movie.largest_count`."""
        return 15.0 if self.packed else largest_magnitude(self.stored)

    @property
    def dtype(self) -> DataType:
        """See `restframe.movie.Movie.dtype`."""
        return delivered_dtype(self.stored)

    def header_gain(self) -> FloatArray | None:
        """See `restframe.movie.Movie.header_gain`."""
        if self.gain_start is None:
            return None
        gain = np.empty(self.shape[1:], self.byte_order + "f4")
        read_array(self.path, self.gain_start, gain)
        return gain.astype(np.float32)

    def read(self, frame_index: int, destination: AnyArray | None = None) -> AnyArray:
        """See `restframe.movie.Movie.read`."""
        frame_count, height, width = self.shape
        if not 0 <= frame_index < frame_count:
            raise IndexError(f"frame {frame_index} of {frame_count}")
        row_values = (width + 1) // 2 if self.packed else width
        as_stored = not self.packed and self.stored.str[1:] == self.dtype.str[1:]
        image = np.empty((height, width), self.dtype) if destination is None else destination
        values = image if as_stored else np.empty((height, row_values), self.stored)
        if read_array(self.path, self.data_start + frame_index * values.nbytes, values) < values.nbytes:
            raise InputError(f"{self.path}: frame {frame_index + 1} ends early; the file was cut short. Copy it again.")
        if self.packed:
            image[:, 0::2] = values & 15
            image[:, 1::2] = (values >> 4)[:, : width // 2]
        elif not as_stored:
            image[:] = values
        elif not self.stored.isnative:
            image.byteswap(inplace=True)
        return image


def open_mrc(path: Path) -> MrcMovie:
    """Open an MRC file. Raises `InputError` for a mode that holds no counts or a file shorter than its header says."""
    with open(path, "rb") as file:
        head, file_bytes = file.read(HEADER_BYTES), os.fstat(file.fileno()).st_size
    header = parse_header(head, file_bytes)
    if header is None:
        raise InputError(f"{path}: no MRC header found.")
    mode = int(header["mode"])
    if mode not in READABLE_MODES:
        expected = ", ".join(map(str, READABLE_MODES))
        raise InputError(f"{path}: MRC mode {mode}; expected one of {expected}. Convert the movie.")
    _check_size(path, header, file_bytes)
    byte_order = ">" if header.dtype["nx"].byteorder == ">" else "<"
    by_imod = mode == 0 and _integer_at(head, 152, byte_order) == IMOD_STAMP
    signed = by_imod and _integer_at(head, 156, byte_order) & 1
    return MrcMovie(
        path=path,
        shape=(int(header["nz"]), int(header["ny"]), int(header["nx"])),
        stored=np.dtype("i1" if signed else byte_order + READABLE_MODES[mode]),
        packed=mode == PACKED_MODE,
        byte_order=byte_order,
        data_start=HEADER_BYTES + int(header["nsymbt"]),
        pixel_size=_pixel_size(header),
        gain_start=_gain_start(head, header, byte_order),
    )


def _frame_bytes(header: np.void) -> int:
    mode, width = int(header["mode"]), int(header["nx"])
    row_bytes = (width + 1) // 2 if mode == PACKED_MODE else width * np.dtype(READABLE_MODES.get(mode, "u1")).itemsize
    return row_bytes * int(header["ny"])


def _data_end(header: np.void) -> int:
    return HEADER_BYTES + int(header["nsymbt"]) + int(header["nz"]) * _frame_bytes(header)


def _check_size(path: Path, header: np.void, file_bytes: int) -> None:
    if file_bytes < _data_end(header):
        data_bytes = max(file_bytes - HEADER_BYTES - int(header["nsymbt"]), 0)
        raise InputError(
            f"{path}: cut short. The header says {header['nz']} frames of {header['nx']} x {header['ny']} pixels in "
            f"mode {header['mode']}, {_data_end(header)} bytes; found {file_bytes}, "
            f"{data_bytes // _frame_bytes(header)} whole frames. Copy it again."
        )


def _pixel_size(header: np.void) -> float:
    """A; 0 if the header gives none."""
    pixel_size = float(header["cella"]["x"]) / int(header["mx"]) if header["mx"] > 0 else 0.0
    return pixel_size if np.isfinite(pixel_size) and pixel_size > 0 else 0.0


def _gain_start(head: bytes, header: np.void, byte_order: str) -> int | None:
    """The byte where a gain begins: the extended header has exactly one image after its numbers for each section."""
    integer_count, float_count = np.frombuffer(head, byte_order + "i2", count=2, offset=128).astype(int)
    section_bytes = int(header["nz"]) * 4 * int(integer_count + float_count)
    remaining_bytes = int(header["nsymbt"]) - section_bytes
    image_bytes = 4 * int(header["nx"]) * int(header["ny"])
    return HEADER_BYTES + section_bytes if remaining_bytes == image_bytes else None


def _integer_at(head: bytes, offset: int, byte_order: str) -> int:
    return int(np.frombuffer(head, byte_order + "i4", count=1, offset=offset)[0])
