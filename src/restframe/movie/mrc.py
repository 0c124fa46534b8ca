"""MRC movies: MRC2014 and its dialects (8 bits unsigned, 4 bits), either byte order, compressed as a whole or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE, get_ext_header_dtype

from restframe.arrays import AnyArray, FloatArray
from restframe.errors import InputError
from restframe.movie.decompress import compression_name, decompress
from restframe.movie.files import Content, FileContent
from restframe.movie.metadata import PLAUSIBLE_PIXEL_SIZE_A, PLAUSIBLE_VOLTAGE_KV, Metadata, plausible
from restframe.movie.movie import AddsByReading, DataType, delivered_dtype, largest_magnitude
from restframe.movie.packing import unpack_pixels

HEADER_BYTES = 1024
READABLE_MODES = {0: "u1", 1: "i2", 2: "f4", 5: "u1", 6: "u2", 12: "f2", 101: "u1"}
OTHER_MODES = (3, 4, 7, 16)  # complex, 32-bit, colour: MRC files, but not of counts
PACKED_MODE = 101  # two pixels in each byte, the even column in the lower four bits
IMOD_STAMP = 1146047817  # "IMOD" at byte 152: byte 156 then holds the flags below
SIGNED_FLAG = 1  # 8-bit values have a sign
PACKED_FLAG = 16  # two pixels in each byte, as in mode 101; SerialEM then writes half the width
MAX_SIDE = 65535  # pixels
EXTENDED_TYPE_OFFSET = 104  # byte of the header where the kind of the extended header is named
FEI_PIXEL_BIT, FEI_VOLTAGE_BIT = 1 << 14, 1 << 5  # of "Bitmask 1": which values are valid


def parse_header(head: bytes, file_bytes: float) -> np.void | None:
    """The header of an MRC file, in the byte order in which its values are possible; None if it is no MRC file.

    ``head``: the first bytes of a file of ``file_bytes`` bytes. A width from 1 to 65535 is above 65535 in the wrong
    byte order, so the machine stamp, which is wrong in some files, is not needed. The numbers of frames and of bytes in
    the extended header may be wrong; `open_mrc` names them then.
    """
    if len(head) < HEADER_BYTES:
        return None
    for byte_order in "<>":
        header: np.void = np.frombuffer(head, HEADER_DTYPE.newbyteorder(byte_order), count=1)[0]
        mode_known = int(header["mode"]) in (*READABLE_MODES, *OTHER_MODES)
        sides_possible = all(0 < int(header[name]) <= MAX_SIDE for name in ("nx", "ny"))
        counts_possible = header["nz"] >= 0 <= header["nsymbt"]
        if mode_known and sides_possible:
            stamped = header["map"][:3] == b"MAP"
            if stamped or (counts_possible and HEADER_BYTES < _data_end(header) <= file_bytes):
                return header
            if not stamped and header["nz"] == 0 == header["nsymbt"] and _frames_in_file(header, file_bytes) >= 1:
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
    metadata: Metadata
    gain_start: int | None  # byte of the extended header where a gain begins
    content: Content

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
        self.content.read_into(self.gain_start, gain)
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
        if self.content.read_into(self.data_start + frame_index * values.nbytes, values) < values.nbytes:
            raise InputError(f"{self.path}: frame {frame_index + 1} ends early; the file was cut short. Copy it again.")
        if self.packed:
            unpack_pixels(values, image)
        elif not as_stored:
            image[:] = values
        elif not self.stored.isnative:
            image.byteswap(inplace=True)
        return image


def open_mrc(path: Path, max_memory: int = 0) -> MrcMovie:
    """Open an MRC file, or one that gzip, bzip2, xz or Zstandard compressed.

    Compressed data are decompressed to memory, or, with a ``max_memory`` (bytes) above 0, to a temporary file. Raises
    `InputError` for a mode that holds no counts, a header whose numbers are impossible and a file that is shorter than
    its header says.
    """
    with open(path, "rb") as file:
        name = compression_name(file.read(6))
    content: Content = FileContent(path)
    if name is not None:

        def wanted_bytes(head: bytes) -> int:
            header = parse_header(head, np.inf)
            if header is None:
                raise InputError(f"{path}: {name}-compressed data that are no MRC file. Decompress the file first.")
            _check_header(path, header)
            return _data_end(header)

        content = decompress(path, wanted_bytes, HEADER_BYTES, in_memory=max_memory == 0)
    head_values = np.zeros(HEADER_BYTES, np.uint8)
    content.read_into(0, head_values)
    head, file_bytes = head_values.tobytes(), content.original_bytes
    header = parse_header(head, file_bytes)
    if header is None:
        raise InputError(f"{path}: no MRC header found.")
    _check_header(path, header)
    _check_size(path, header, file_bytes)
    mode = int(header["mode"])
    byte_order = ">" if header.dtype["nx"].byteorder == ">" else "<"
    flags = _integer_at(head, 156, byte_order) if _integer_at(head, 152, byte_order) == IMOD_STAMP else 0
    has_packed_flag = mode == 0 and bool(flags & PACKED_FLAG)
    signed = mode == 0 and flags & SIGNED_FLAG and not has_packed_flag
    frame_count, height, width = int(header["nz"]), int(header["ny"]), int(header["nx"])
    pixel_size = _pixel_size(header)
    return MrcMovie(
        path=path,
        shape=(frame_count, height, 2 * width if has_packed_flag else width),
        stored=np.dtype("i1" if signed else byte_order + READABLE_MODES[mode]),
        packed=mode == PACKED_MODE or has_packed_flag,
        byte_order=byte_order,
        data_start=HEADER_BYTES + int(header["nsymbt"]),
        pixel_size=pixel_size,
        metadata=_metadata(path, content, head, header, has_packed_flag),
        gain_start=_gain_start(head, header, byte_order),
        content=content,
    )


def _check_header(path: Path, header: np.void) -> None:
    """Raise `InputError` for values with which no frame can be read."""
    mode = int(header["mode"])
    if mode not in READABLE_MODES:
        expected = ", ".join(map(str, READABLE_MODES))
        raise InputError(f"{path}: MRC mode {mode}; expected one of {expected}. Convert the movie.")
    for name, meaning, low in (("nz", "frames", 1), ("nsymbt", "bytes of extended header", 0)):
        if header[name] < low:
            raise InputError(
                f"{path}: the MRC header says {name} = {header[name]} {meaning}. The movie was not finished, or its "
                "header is damaged. Copy or write it again."
            )


def _frames_in_file(header: np.void, file_bytes: float) -> float:
    """How many whole frames a file of ``file_bytes`` bytes has room for."""
    return max(file_bytes - HEADER_BYTES - int(header["nsymbt"]), 0) // _frame_bytes(header)


def _metadata(path: Path, content: Content, head: bytes, header: np.void, has_packed_flag: bool) -> Metadata:
    """What the header says beside the frames' shape and type."""
    notes = []
    frame_count, frames_in_file = int(header["nz"]), _frames_in_file(header, content.original_bytes)
    if frames_in_file > frame_count:
        notes.append(
            f"Warning: {path}: the MRC header says nz = {frame_count} frames, the file has {frames_in_file:.0f}. "
            f"{frame_count} are used: was the movie still being written, or its header damaged?"
        )
    if has_packed_flag:
        notes.append(
            f"Two pixels of 4 bits in each byte, {2 * int(header['nx'])} x {header['ny']} pixels: the MRC header has "
            f"IMOD's flag {PACKED_FLAG}."
        )
    pixel_size, voltage = _fei_values(content, head, header)
    return Metadata(pixel_size, voltage=voltage, notes=tuple(notes))


def _fei_values(content: Content, head: bytes, header: np.void) -> tuple[float, float]:
    """Pixel size in A and voltage in kV from an extended header of Thermo Fisher (FEI1, FEI2); 0 where unknown.

    Its first section is that of the first frame. "Bitmask 1" says which values are valid; some programs leave it 0.
    """
    byte_order = ">" if header.dtype["nx"].byteorder == ">" else "<"
    kind = head[EXTENDED_TYPE_OFFSET : EXTENDED_TYPE_OFFSET + 4]
    section_dtype = get_ext_header_dtype(kind, byte_order)
    if section_dtype is None or int(header["nsymbt"]) < section_dtype.itemsize:
        return 0.0, 0.0
    raw = np.zeros(section_dtype.itemsize, np.uint8)
    content.read_into(HEADER_BYTES, raw)
    section = raw.view(section_dtype)[0]
    valid = int(section["Bitmask 1"]) or -1
    pixel_size = float(section["Pixel size X"]) * 1e10 if valid & FEI_PIXEL_BIT else 0.0
    voltage = float(section["HT"]) / 1e3 if valid & FEI_VOLTAGE_BIT else 0.0
    return plausible(pixel_size, PLAUSIBLE_PIXEL_SIZE_A), plausible(voltage, PLAUSIBLE_VOLTAGE_KV)


def _frame_bytes(header: np.void) -> int:
    mode, width = int(header["mode"]), int(header["nx"])
    row_bytes = (width + 1) // 2 if mode == PACKED_MODE else width * np.dtype(READABLE_MODES.get(mode, "u1")).itemsize
    return row_bytes * int(header["ny"])


def _data_end(header: np.void) -> int:
    return HEADER_BYTES + int(header["nsymbt"]) + int(header["nz"]) * _frame_bytes(header)


def _check_size(path: Path, header: np.void, file_bytes: int) -> None:
    if file_bytes < _data_end(header):
        raise InputError(
            f"{path}: cut short. The header says {header['nz']} frames of {header['nx']} x {header['ny']} pixels in "
            f"mode {header['mode']}, {_data_end(header)} bytes; found {file_bytes}, "
            f"{_frames_in_file(header, file_bytes):.0f} whole frames. Copy it again."
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
