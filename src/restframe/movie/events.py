"""Electron events as the EER format encodes them, added to an image.

A frame is a string of bits, the lowest bit of each byte first. A symbol consists of a run, the number of pixels without
an electron (row by row), and the position of the next electron within its pixel. The longest possible run stands for
that many empty pixels and no electron. The last run ends exactly behind the last pixel, and only padding may follow:
this is how damage is detected.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from restframe.arrays import AnyArray
from restframe.loops import compiled_loop, int64, uint64


class Coding(NamedTuple):
    """Bits of a symbol: those of the run, then those of the position along x and along y."""

    run_bits: int
    x_bits: int
    y_bits: int
    position_always_stored: bool = False  # also after the longest run, which has no electron


CODINGS = {65000: Coding(8, 2, 2, position_always_stored=True), 65001: Coding(7, 2, 2)}
"""By TIFF compression. Compression 65002 gives the numbers of bits in tags."""
MAX_SYMBOL_BITS = 32
MAX_RUN_BITS = 16  # Falcon cameras use 7 or 8
ARBITRARY_PADDING_BYTES = 16
"""Bytes after the last symbol that may have any value; bytes after these must all be equal."""


def add_events(
    encoded: bytes, coding: Coding, level: int, image: AnyArray, count: int = 1, zero_padding: bool = False
) -> bool:
    """Add ``count`` to each pixel of ``image`` where the frame has an electron.

    ``image``: (h 2^level, w 2^level), unsigned integers; each physical pixel is divided into 2^level along each side,
    at most as finely as the coding allows. Returns False if the data are damaged, that is, do not end where the frame
    does; a second call with ``count`` -1 then removes what the first call added.

    ``zero_padding``: all bits after the last symbol must be 0. Where a movie's frames are so, more damage is noticed.
    """
    words = np.zeros(len(encoded) // 4 + 3, "<u4")
    words.view(np.uint8)[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    increment = image.dtype.type(count % (int(np.iinfo(image.dtype).max) + 1))
    used_bits = _add_symbols(words, 8 * len(encoded), *coding, level, image, increment)
    return used_bits >= 0 and padding_is_allowed(encoded[used_bits // 8 :], used_bits % 8, zero_padding)


def padding_is_allowed(padding: bytes, used_bits: int, zero_padding: bool) -> bool:
    """Whether the bytes after the last symbol may be so; ``used_bits`` of the first one belong to that symbol."""
    if not zero_padding:
        return len(set(padding[ARBITRARY_PADDING_BYTES:])) < 2
    return not padding or (padding[0] >> used_bits == 0 and not any(padding[1:]))


def has_zero_padding(encoded: bytes, coding: Coding, shape: tuple[int, int]) -> bool:
    """Whether an intact frame of ``shape`` (h, w) ends with zeros."""
    return add_events(encoded, coding, 0, np.zeros(shape, np.uint8), zero_padding=True)


@compiled_loop(
    *(
        f"(uint32[::1], int64, int64, int64, int64, boolean, int64, {image}[:,::1], {image})"
        for image in ("uint8", "uint16")
    )
)
def _add_symbols(words, bit_count, run_bits, x_bits, y_bits, position_always_stored, level, image, increment):  # type: ignore[no-untyped-def]
    """Returns the bits used, or -1 if the symbols do not end with the last pixel."""
    longest_run = uint64((1 << run_bits) - 1)
    x_mask, y_mask = uint64((1 << x_bits) - 1), uint64((1 << y_bits) - 1)
    # the highest bit of a position is stored inverted
    x_flip, y_flip = uint64((1 << x_bits) >> 1), uint64((1 << y_bits) >> 1)
    x_unused, y_unused = uint64(x_bits - level), uint64(y_bits - level)
    height, width = image.shape[0] >> level, image.shape[1] >> level
    used_bits = column = row = 0
    has_electron = False
    while row < height:
        word_index = used_bits >> 5
        two_words = uint64(words[word_index]) | (uint64(words[word_index + 1]) << uint64(32))
        symbol = two_words >> uint64(used_bits & 31)
        run = symbol & longest_run
        has_electron = run != longest_run
        used_bits += run_bits + (x_bits + y_bits if has_electron or position_always_stored else 0)
        column += int64(run)
        while column >= width:
            column -= width
            row += 1
        if row >= height or used_bits > bit_count:
            break
        if has_electron:
            x_within = ((symbol >> uint64(run_bits)) & x_mask ^ x_flip) >> x_unused
            y_within = ((symbol >> uint64(run_bits + x_bits)) & y_mask ^ y_flip) >> y_unused
            image[(row << level) + int64(y_within), (column << level) + int64(x_within)] += increment
            column += 1
            if column == width:
                column = 0
                row += 1
    # the position of the last symbol may be missing, unless it is that of an electron
    needed_bits = used_bits if has_electron else used_bits - x_bits - y_bits
    complete = row == height and column == 0 and needed_bits <= bit_count
    if complete and has_electron and used_bits + run_bits <= bit_count:  # an electron in the last pixel
        word_index = used_bits >> 5
        two_words = uint64(words[word_index]) | (uint64(words[word_index + 1]) << uint64(32))
        if (two_words >> uint64(used_bits & 31)) & longest_run == uint64(0):  # and a run of no pixels behind it
            used_bits += run_bits + x_bits + y_bits
    return used_bits if complete else -1
