"""Files that a general program compressed: gzip, bzip2, xz and Zstandard.

Data are decompressed once, into memory or into a temporary file without a name, and never further than the reader asks
for, so that a small file cannot fill the memory.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from restframe.errors import InputError
from restframe.movie.files import Content, MemoryContent, TemporaryContent

PIECE_BYTES = 1 << 20
XZ_MEMORY_BYTES = 400_000_000  # xz -9 needs 65 MB
MAX_SURPLUS_BYTES = 1 << 28  # after the wanted bytes, read only to verify the checksum at the end
ZSTD_MAGIC, ZSTD_SKIPPABLE_MAGIC = b"\x28\xb5\x2f\xfd", b"\x2a\x4d\x18"
ZSTD_MAX_BLOCK_BYTES = 1 << 17
DAMAGE = (EOFError, OSError, ValueError, RuntimeError, zlib.error, lzma.LZMAError)
"""What the decompressors raise for damaged data."""


def compression_name(head: bytes) -> str | None:
    """The program that compressed a file, by its first bytes; None if none did."""
    return next((name for magic, name in NAMES.items() if head.startswith(magic)), None)


def decompress(path: Path, wanted_bytes: Callable[[bytes], int], head_bytes: int, in_memory: bool) -> Content:
    """The decompressed content of a file.

    ``wanted_bytes`` tells from the first ``head_bytes`` bytes how many bytes are needed in all; more are not kept.
    ``in_memory``: otherwise the content goes to a temporary file without a name. Raises `InputError` if the data are
    damaged, and what ``wanted_bytes`` raises.
    """
    with open(path, "rb") as file:
        name = compression_name(file.read(6))
        file.seek(0)
        pieces = PIECES[str(name)](file)
        try:
            head = bytearray()
            for piece in pieces:
                head += piece
                if len(head) >= head_bytes:
                    break
        except DAMAGE as error:
            raise _damaged(path, name, error) from error
        limit = wanted_bytes(bytes(head[:head_bytes]))
        # the file is closed, and with that removed, together with the content
        content = MemoryContent() if in_memory else TemporaryContent(tempfile.TemporaryFile())  # noqa: SIM115
        content.append(head[:limit])
        total = len(head)
        try:
            for piece in pieces:
                if total < limit:
                    content.append(piece[: limit - total])
                total += len(piece)
                if total > limit + MAX_SURPLUS_BYTES:
                    break
        except DAMAGE as error:
            raise _damaged(path, name, error) from error
    content.original_bytes = total
    return content


def _damaged(path: Path, name: str | None, error: Exception) -> InputError:
    return InputError(f"{path}: the {name} data are damaged or cut short ({error}). Copy the file again.")


def _gzip_pieces(file: BinaryIO) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=file) as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece


def _bzip2_pieces(file: BinaryIO) -> Iterator[bytes]:
    with bz2.BZ2File(file) as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece


def _xz_pieces(file: BinaryIO) -> Iterator[bytes]:
    """As `lzma.open`, with a limit on memory: a damaged header may ask for 4 GB."""
    data = file.read(PIECE_BYTES)
    while data:
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY_BYTES)
        while not decompressor.eof:
            yield decompressor.decompress(data, PIECE_BYTES)
            data = b""
            if decompressor.needs_input and not decompressor.eof:
                data = file.read(PIECE_BYTES)
                if not data:
                    raise EOFError("the end is missing")
        data = decompressor.unused_data.lstrip(b"\0") or file.read(PIECE_BYTES).lstrip(b"\0")


def _zstd_pieces(file: BinaryIO) -> Iterator[bytes]:
    """Frame by frame. The blocks of a frame say how many bytes it can hold at most."""
    import imagecodecs

    data = memoryview(file.read())
    while data:
        if data[1:4] == ZSTD_SKIPPABLE_MAGIC and data[0] >> 4 == 5:
            data = data[8 + int.from_bytes(data[4:8], "little") :]
            continue
        frame_bytes, most_bytes = _zstd_frame_sizes(data)
        decoded = memoryview(imagecodecs.zstd_decode(bytes(data[:frame_bytes]), out=bytearray(most_bytes)))
        for start in range(0, len(decoded), PIECE_BYTES):
            yield bytes(decoded[start : start + PIECE_BYTES])
        data = data[frame_bytes:]


def _zstd_frame_sizes(data: memoryview) -> tuple[int, int]:
    """Bytes of the first frame in ``data``, and the most that it can hold (RFC 8878). Raises ValueError."""
    if data[:4] != ZSTD_MAGIC or len(data) < 6:
        raise ValueError("no Zstandard frame")
    descriptor = data[4]
    single_segment = bool(descriptor & 32)
    size_bytes = (1 if single_segment else 0, 2, 4, 8)[descriptor >> 6]
    position = 5 + (not single_segment) + (0, 1, 2, 4)[descriptor & 3] + size_bytes
    most_bytes, last_block = 0, False
    while not last_block:
        if position + 3 > len(data):
            raise ValueError("the end is missing")
        block_header = int.from_bytes(data[position : position + 3], "little")
        last_block, kind, size = bool(block_header & 1), block_header >> 1 & 3, block_header >> 3
        if kind == 3 or (kind != 0 and size > ZSTD_MAX_BLOCK_BYTES):
            raise ValueError("a block is damaged")
        most_bytes += ZSTD_MAX_BLOCK_BYTES if kind == 2 else size
        position += 3 + (1 if kind == 1 else size)
    position += 4 if descriptor & 4 else 0
    if position > len(data):
        raise ValueError("the end is missing")
    return position, most_bytes


NAMES = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", ZSTD_MAGIC: "Zstandard"}
PIECES: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    "gzip": _gzip_pieces,
    "bzip2": _bzip2_pieces,
    "xz": _xz_pieces,
    "Zstandard": _zstd_pieces,
}
