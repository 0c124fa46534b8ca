"""MRC movies: MRC2014 and its dialects (8 bits unsigned, 4 bits), either byte order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from restframe.errors import InputError
from restframe.movie.files import read_array
from restframe.movie.movie import Adding, delivered_dtype, most_of

HEADER_BYTES = 1024
MODES = {0: "u1", 1: "i2", 2: "f4", 5: "u1", 6: "u2", 12: "f2", 101: "u1"}
UNREAD_MODES = (3, 4, 7, 16)  # complex, 32-bit, colour: MRC all the same
IMOD_STAMP = 1146047817  # "IMOD" at byte 152: whoever wrote it says at byte 156 what 8-bit values are
PACKED = 101  # two pixels a byte, the even column in the low nibble


def parse_header(head: bytes, file_bytes: int) -> np.void | None:
    """The header in the byte order that makes sense of it; None if neither does, so this is no MRC file.

    A width in 1..65535 read in the wrong order is above 65535, so the machine stamp, wrong in some files, isn't needed.
    """
    if len(head) < HEADER_BYTES:
        return None
    for order in "<>":
        header = np.frombuffer(head, HEADER_DTYPE.newbyteorder(order), count=1)[0]
        known = int(header["mode"]) in (*MODES, *UNREAD_MODES)
        sizes = all(0 < int(header[n]) <= 65535 for n in ("nx", "ny")) and header["nz"] > 0 <= header["nsymbt"]
        if known and sizes and (header["map"][:3] == b"MAP" or _data_end(header) <= file_bytes):
            return header
    return None


@dataclass(frozen=True, eq=False)
class MrcMovie(Adding):
    """All sections of an MRC file are frames; rows as they lie in it."""

    path: Path
    shape: tuple[int, int, int]
    stored: np.dtype
    packed: bool  # 4 bits a pixel
    order: str  # of bytes: < or >
    start: int  # byte where frame 0 begins
    pixel_size: float
    gain_start: int | None  # byte of the extended header where a gain begins

    format = "mrc"
    spare = 0.0

    @property
    def most(self) -> float:
        return 15.0 if self.packed else most_of(self.stored)

    @property
    def dtype(self) -> np.dtype:
        return delivered_dtype(self.stored)

    def header_gain(self) -> np.ndarray | None:
        if self.gain_start is None:
            return None
        gain = np.empty(self.shape[1:], self.order + "f4")
        read_array(self.path, self.gain_start, gain)
        return gain.astype(np.float32)

    def read(self, frame: int, out: np.ndarray | None = None) -> np.ndarray:
        t, h, w = self.shape
        if not 0 <= frame < t:
            raise IndexError(f"frame {frame} of {t}")
        row = (w + 1) // 2 if self.packed else w
        same = not self.packed and self.stored.str[1:] == self.dtype.str[1:]
        out = np.empty((h, w), self.dtype) if out is None else out
        raw = out if same else np.empty((h, row), self.stored)
        if read_array(self.path, self.start + frame * raw.nbytes, raw) < raw.nbytes:
            raise InputError(f"{self.path}: frame {frame + 1} ends early; the file was cut short. Copy it again.")
        if self.packed:
            out[:, 0::2] = raw & 15
            out[:, 1::2] = (raw >> 4)[:, : w // 2]
        elif not same:
            out[:] = raw
        elif not self.stored.isnative:
            out.byteswap(inplace=True)
        return out


def open_mrc(path: Path) -> MrcMovie:
    """Raises `InputError` for a mode that holds no counts or a file shorter than its header says."""
    with open(path, "rb") as file:
        head, size = file.read(HEADER_BYTES), os.fstat(file.fileno()).st_size
    header = parse_header(head, size)
    if header is None:
        raise InputError(f"{path}: no MRC header found.")
    mode = int(header["mode"])
    if mode not in MODES:
        raise InputError(f"{path}: MRC mode {mode}; expected one of {', '.join(map(str, MODES))}. Convert the movie.")
    shape = int(header["nz"]), int(header["ny"]), int(header["nx"])
    _check_size(path, header, size)
    order = ">" if header.dtype["nx"].byteorder == ">" else "<"
    signed = mode == 0 and _int_at(head, 152, order) == IMOD_STAMP and _int_at(head, 156, order) & 1
    return MrcMovie(
        path=path,
        shape=shape,
        stored=np.dtype("i1" if signed else order + MODES[mode]),
        packed=mode == PACKED,
        order=order,
        start=HEADER_BYTES + int(header["nsymbt"]),
        pixel_size=_pixel_size(header),
        gain_start=_gain_start(head, header, order),
    )


def _frame_bytes(header: np.void) -> int:
    mode, width = int(header["mode"]), int(header["nx"])
    row = (width + 1) // 2 if mode == PACKED else width * np.dtype(MODES.get(mode, "u1")).itemsize
    return row * int(header["ny"])


def _data_end(header: np.void) -> int:
    return HEADER_BYTES + int(header["nsymbt"]) + int(header["nz"]) * _frame_bytes(header)


def _check_size(path: Path, header: np.void, size: int) -> None:
    if size < _data_end(header):
        whole = max(size - HEADER_BYTES - int(header["nsymbt"]), 0) // _frame_bytes(header)
        raise InputError(
            f"{path}: cut short. The header says {header['nz']} frames of {header['nx']} x {header['ny']} pixels in "
            f"mode {header['mode']}, {_data_end(header)} bytes; found {size}, {whole} whole frames. Copy it again."
        )


def _pixel_size(header: np.void) -> float:
    size = float(header["cella"]["x"]) / int(header["mx"]) if header["mx"] > 0 else 0.0
    return size if np.isfinite(size) and size > 0 else 0.0


def _gain_start(head: bytes, header: np.void, order: str) -> int | None:
    """Where a gain begins: what the extended header has left after its numbers for each section is the size of one."""
    ints, floats = np.frombuffer(head, order + "i2", count=2, offset=128).astype(int)
    sections = int(header["nz"]) * 4 * int(ints + floats)
    left = int(header["nsymbt"]) - sections
    return HEADER_BYTES + sections if left == 4 * int(header["nx"]) * int(header["ny"]) else None


def _int_at(head: bytes, offset: int, order: str) -> int:
    return int(np.frombuffer(head, order + "i4", count=1, offset=offset)[0])
