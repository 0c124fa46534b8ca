"""Movies in the EER format: what a camera that reports single electrons writes."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from restframe.movie.events import Coding

METADATA = b"<metadata><item name='simulated'>restframe</item></metadata>\0"
SHORT, LONG, LONG8, UNDEFINED = 3, 4, 16, 7  # types of TIFF values


def encode(pixel: np.ndarray, x: np.ndarray, y: np.ndarray, pixels: int, coding: Coding) -> bytes:
    """One frame of electrons in ascending pixels (n,) of ``pixels``, at x, y (n,) within each: 0 to 2^bits - 1."""
    runs = np.append(np.diff(pixel, prepend=-1) - 1, pixels - 1 - (pixel[-1] if len(pixel) else -1))
    place = (x ^ (1 << coding.x >> 1)) | ((y ^ (1 << coding.y >> 1)) << coding.x)
    longest = (1 << coding.run) - 1
    full, rest = np.divmod(runs, longest)
    last = np.cumsum(full + 1) - 1  # where each run's final symbol stands; full ones go before
    symbols = np.full(last[-1] + 1, longest, np.uint32)
    symbols[last] = rest | np.append(place, 0) << coding.run
    whole = coding.run + coding.x + coding.y
    lengths = np.full(len(symbols), whole if coding.always else coding.run)
    lengths[last] = whole
    bit = np.arange(whole)
    bits = ((symbols[:, None] >> bit.astype(np.uint32)) & 1).astype(np.uint8)
    data = np.packbits(bits[bit < lengths[:, None]], bitorder="little").tobytes()
    return data + b"\0" * (len(data) % 2)


def write_eer(
    path: Path, shape: tuple[int, int], frames: Iterable[bytes], compression: int, coding: Coding | None = None
) -> None:
    """A BigTIFF of frames (h, w) as `encode` gives them; ``coding`` is told in tags (compression 65002)."""
    with open(path, "wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        pointer = 8
        for data in frames:
            strip = file.tell()
            file.write(data)
            metadata = file.tell()
            file.write(METADATA)
            directory = file.tell()
            tags = [
                (256, LONG, 1, shape[1]), (257, LONG, 1, shape[0]), (258, SHORT, 1, 1), (259, SHORT, 1, compression),
                (262, SHORT, 1, 1), (273, LONG8, 1, strip), (277, SHORT, 1, 1), (278, LONG, 1, shape[0]),
                (279, LONG8, 1, len(data)), (65001, UNDEFINED, len(METADATA), metadata),
            ]  # fmt: skip
            if coding is not None:
                tags += [(65007, SHORT, 1, coding.run), (65008, SHORT, 1, coding.x), (65009, SHORT, 1, coding.y)]
            file.write(struct.pack("<Q", len(tags)))
            for tag in tags:
                file.write(struct.pack("<HHQQ", *tag))
            following = file.tell()
            file.write(struct.pack("<Q", 0))
            file.seek(pointer)
            file.write(struct.pack("<Q", directory))
            file.seek(0, 2)
            pointer = following


def electrons(counts: np.ndarray, raw: int, coding: Coding, rng: np.random.Generator) -> list[bytes]:
    """``counts`` (h, w) of one frame, each electron in one of ``raw`` raw frames and at a random place in its pixel.

    A pixel sees at most one electron a raw frame: what goes beyond ``raw`` is lost, as in a camera.
    """
    flat = np.minimum(counts.reshape(-1), raw)
    pixel = np.repeat(np.arange(flat.size), flat)
    # the k-th electron of a pixel goes into the k-th of the raw frames, begun anywhere
    order = np.arange(len(pixel)) - np.repeat(np.cumsum(flat, dtype=np.int64) - flat, flat)
    where = (order + np.repeat(rng.integers(0, raw, flat.size), flat)) % raw
    out = []
    for i in range(raw):
        chosen = pixel[where == i]
        x, y = (rng.integers(0, 1 << bits, len(chosen)) for bits in (coding.x, coding.y))
        out.append(encode(chosen, x, y, flat.size, coding))
    return out
