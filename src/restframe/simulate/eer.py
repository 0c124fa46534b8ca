"""Movies in the EER format, as written by a camera that reports single electrons."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from restframe.arrays import IntArray
from restframe.movie.events import Coding

METADATA = b"<metadata><item name='simulated'>restframe</item></metadata>\0"
SHORT, LONG, LONG8, UNDEFINED = 3, 4, 16, 7  # types of TIFF values


def encode(pixels: IntArray, x: IntArray, y: IntArray, pixel_count: int, coding: Coding) -> bytes:
    """Encode one frame of electrons.

    ``pixels``: (n,) the pixels with an electron, ascending, of ``pixel_count``; ``x``, ``y``: (n,) the positions of
    the electrons within their pixels, from 0 to 2^bits - 1.
    """
    last_pixel = pixels[-1] if len(pixels) else -1
    runs = np.append(np.diff(pixels, prepend=-1) - 1, pixel_count - 1 - last_pixel)
    x_stored, y_stored = x ^ (1 << coding.x_bits >> 1), y ^ (1 << coding.y_bits >> 1)
    positions = x_stored | (y_stored << coding.x_bits)
    longest_run = (1 << coding.run_bits) - 1
    full_symbols, remaining_runs = np.divmod(runs, longest_run)
    # the symbols of the longest run come before the last symbol of each run
    last_symbols = np.cumsum(full_symbols + 1) - 1
    symbols = np.full(last_symbols[-1] + 1, longest_run, np.uint32)
    symbols[last_symbols] = remaining_runs | np.append(positions, 0) << coding.run_bits
    symbol_bits = coding.run_bits + coding.x_bits + coding.y_bits
    lengths = np.full(len(symbols), symbol_bits if coding.position_always_stored else coding.run_bits)
    lengths[last_symbols] = symbol_bits
    bit_numbers = np.arange(symbol_bits)
    bits = ((symbols[:, None] >> bit_numbers.astype(np.uint32)) & 1).astype(np.uint8)
    encoded = np.packbits(bits[bit_numbers < lengths[:, None]], bitorder="little").tobytes()
    return encoded + b"\0" * (len(encoded) % 2)


def write_eer(
    path: Path,
    shape: tuple[int, int],
    frames: Iterable[bytes],
    compression: int,
    coding: Coding | None = None,
    metadata: bytes = METADATA,
) -> None:
    """Write a BigTIFF of frames (h, w) as `encode` gives them; a ``coding`` is written to tags (compression 65002).

    ``metadata``: XML that each directory holds.
    """
    height, width = shape
    with open(path, "wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        pointer = 8
        for encoded in frames:
            strip_start = file.tell()
            file.write(encoded)
            metadata_start = file.tell()
            file.write(metadata)
            directory_start = file.tell()
            tags = [
                (256, LONG, 1, width), (257, LONG, 1, height), (258, SHORT, 1, 1), (259, SHORT, 1, compression),
                (262, SHORT, 1, 1), (273, LONG8, 1, strip_start), (277, SHORT, 1, 1), (278, LONG, 1, height),
                (279, LONG8, 1, len(encoded)), (65001, UNDEFINED, len(metadata), metadata_start),
            ]  # fmt: skip
            if coding is not None:
                bit_counts = zip((65007, 65008, 65009), coding[:3], strict=True)
                tags += [(tag, SHORT, 1, bits) for tag, bits in bit_counts]
            file.write(struct.pack("<Q", len(tags)))
            for tag in tags:
                file.write(struct.pack("<HHQQ", *tag))
            next_pointer = file.tell()
            file.write(struct.pack("<Q", 0))
            file.seek(pointer)
            file.write(struct.pack("<Q", directory_start))
            file.seek(0, 2)
            pointer = next_pointer


def electrons(counts: IntArray, raw_count: int, coding: Coding, random: np.random.Generator) -> list[bytes]:
    """Divide the ``counts`` (h, w) of one frame into ``raw_count`` encoded raw frames.

    Each electron gets a random position within its pixel. A pixel has at most one electron in each raw frame; further
    electrons are lost, as in a camera.
    """
    flat_counts = np.minimum(counts.reshape(-1), raw_count)
    pixels = np.repeat(np.arange(flat_counts.size), flat_counts)
    # the electrons of a pixel go into consecutive raw frames, from a random one on
    first_electrons = np.cumsum(flat_counts, dtype=np.int64) - flat_counts
    order = np.arange(len(pixels)) - np.repeat(first_electrons, flat_counts)
    first_frames = random.integers(0, raw_count, flat_counts.size)
    raw_frames = (order + np.repeat(first_frames, flat_counts)) % raw_count
    encoded_frames = []
    for raw_frame in range(raw_count):
        frame_pixels = pixels[raw_frames == raw_frame]
        x, y = (random.integers(0, 1 << bits, len(frame_pixels)) for bits in (coding.x_bits, coding.y_bits))
        encoded_frames.append(encode(frame_pixels, x, y, flat_counts.size, coding))
    return encoded_frames
