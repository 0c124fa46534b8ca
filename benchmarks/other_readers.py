"""Readers that share no code with restframe, to tell whether a broken file still holds what restframe found in it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
from pathlib import Path

from broken_files import SHAPE


def other_reader(path: Path):  # type: ignore[no-untyped-def]
    """The frames (t, h, w) of a movie or image, read without restframe."""
    import mrcfile
    import numpy as np

    content = path.read_bytes()
    openers = {b"\x1f\x8b": gzip.decompress, b"BZ": bz2.decompress, b"\xfd7": lzma.decompress, b"\x28\xb5": unzstd}
    if content[:2] in openers:
        content = openers[content[:2]](content)
        path = path.with_name("decompressed.mrc")
        path.write_bytes(content)
    if content[:2] in (b"II", b"MM"):
        return other_tiff(path, content)
    if content[:3] == b"\0\0\0":
        data = content.index(b"\0\x04Data") + 6 + 8 + 4 + 8 + 24
        return np.frombuffer(content, "<f4", SHAPE[1] * SHAPE[2], data).reshape(1, *SHAPE[1:])[:, ::-1]
    with mrcfile.open(path, permissive=True) as file:
        header, extended = file.header, file.extended_header.nbytes
        width, height, count, mode = (int(header[name]) for name in ("nx", "ny", "nz", "mode"))
    dtype = {0: "u1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 101: "u1", 5: "u1"}[mode]
    flags = struct.unpack("<2i", content[152:160])
    is_imod = flags[0] == 1146047817 and mode == 0
    stored = (width + 1) // 2 if mode == 101 else width
    values = np.frombuffer(
        content,
        "i1" if is_imod and flags[1] & 1 and not flags[1] & 16 else "<" + dtype,
        count * height * stored,
        1024 + extended,
    )
    values = values.reshape(count, height, stored)
    if mode == 101 or (is_imod and flags[1] & 16):
        values = np.stack([values & 15, values >> 4], -1).reshape(count, height, -1)[
            ..., : width if mode == 101 else 2 * width
        ]
    return values.astype(np.float64)


def unzstd(content: bytes) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.zstd_decode(content))


def other_tiff(path: Path, content: bytes):  # type: ignore[no-untyped-def]
    """tifffile with a decoder of LZW that cannot crash; EER by a decoder of its own."""
    import numpy as np
    import tifffile

    images = []
    with tifffile.TiffFile(path) as file:
        series_length = file.series[0].size // max(file.pages[0].size, 1) if len(file.pages) == 1 else 1
        if series_length > 1:
            return np.asarray(file.asarray(), np.float64)[:, ::-1]
        for page in file.pages:
            if int(page.compression) in (65000, 65001, 65002):
                images.append(plain_eer(page, content))
                continue
            image = np.zeros(page.shape, page.dtype if page.bitspersample != 8 else np.uint8)
            rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.shape[1])
            across = -(-page.shape[1] // columns)
            for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
                encoded = content[offset : offset + count]
                top, left = index // across * rows, index % across * columns
                if int(page.compression) != 5:
                    segment = page.decode(encoded, index)[0].reshape(-1, columns)
                else:
                    decoded = plain_lzw(encoded)
                    used_rows = rows if page.is_tiled else min(rows, page.shape[0] - top)
                    stored = np.dtype(image.dtype).newbyteorder(file.byteorder)
                    segment = np.frombuffer(decoded, stored, used_rows * columns).reshape(used_rows, columns)
                    segment = segment.astype(image.dtype)
                    if page.predictor == 2:
                        segment = np.cumsum(segment, 1, dtype=segment.dtype)
                image[top : top + rows, left : left + columns] = segment[: page.shape[0] - top, : page.shape[1] - left]
            images.append(image[::-1])
    return np.array(images, np.float64)


def plain_lzw(data: bytes) -> bytes:
    """LZW by the text of TIFF 6.0, section 13."""
    bits, position, width = int.from_bytes(data, "big"), 8 * len(data), 9
    table: list[bytes] = []
    result, previous = bytearray(), b""
    while position >= width:
        position -= width
        code = bits >> position & (1 << width) - 1
        if code == 257:
            break
        if code == 256:
            table, width, previous = [bytes([byte]) for byte in range(256)] + [b"", b""], 9, b""
            continue
        entry = table[code] if code < len(table) else previous + previous[:1]
        if previous:
            table.append(previous + entry[:1])
        result += entry
        previous = entry
        width = max(9, min(12, (len(table) + 1).bit_length()))
    return bytes(result)


def plain_eer(page, content: bytes):  # type: ignore[no-untyped-def]
    """One frame by the description of the format, symbol by symbol, at the camera's own pixels."""
    import numpy as np

    compression = int(page.compression)
    tags = page.tags
    run_bits, position_bits = {65000: (8, 4), 65001: (7, 4)}.get(
        compression, (int(tags.valueof(65007, 0)), int(tags.valueof(65008, 0)) + int(tags.valueof(65009, 0)))
    )
    data = b"".join(content[o : o + n] for o, n in zip(page.dataoffsets, page.databytecounts, strict=True))
    bits = int.from_bytes(data, "little")
    image, pixel, position = np.zeros(page.shape[0] * page.shape[1]), 0, 0
    longest = (1 << run_bits) - 1
    while pixel < image.size:
        run = bits >> position & longest
        pixel += run
        has_electron = run != longest
        position += run_bits + (position_bits if has_electron or compression == 65000 else 0)
        if has_electron and pixel < image.size:
            image[pixel] += 1
            pixel += 1
    return image.reshape(page.shape)
