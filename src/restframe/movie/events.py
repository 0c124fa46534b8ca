"""Electron events as the EER format packs them, counted into an image.

A frame is a string of bits, the lowest of each byte first. A symbol is a run, the number of pixels without an electron
row by row, then the electron's place within its pixel. The longest run stands for that many empty pixels and no
electron. The last run ends behind the last pixel, exactly, and only padding may follow: that is how damage is found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from restframe.loops import nb


class Coding(NamedTuple):
    """How events are packed: bits of the run, then those of the place along x and along y."""

    run: int
    x: int
    y: int
    always: bool = False  # the place follows the longest run too


CODINGS = {65000: Coding(8, 2, 2, always=True), 65001: Coding(7, 2, 2)}  # by TIFF compression; 65002 says it in tags
MOST_BITS = 32  # of a symbol
LOOSE = 16  # bytes after the last symbol that may hold anything; further ones must be alike


def add_events(data: bytes, coding: Coding, level: int, out: np.ndarray, times: int = 1) -> bool:
    """Add ``times`` to ``out`` (h 2^level, w 2^level), unsigned integers, where an electron of this frame fell.

    Pixels are divided into 2^level a side, at most as the coding does. False: the data are damaged, they don't end
    where the frame does; adding them once more with ``times`` -1 takes away what they brought.
    """
    words = np.zeros(len(data) // 4 + 3, "<u4")
    words.view(np.uint8)[: len(data)] = np.frombuffer(data, np.uint8)
    step = out.dtype.type(times % (int(np.iinfo(out.dtype).max) + 1))
    used = _add(words, 8 * len(data), *coding, level, out, step)
    return used >= 0 and len(set(data[used // 8 + LOOSE :])) < 2


@nb.njit(cache=True, nogil=True)
def _add(words, bits, run_bits, x_bits, y_bits, always, level, out, step):
    longest = nb.uint64((1 << run_bits) - 1)
    x_mask, y_mask = nb.uint64((1 << x_bits) - 1), nb.uint64((1 << y_bits) - 1)
    # the highest bit of a place is stored inverted
    x_flip, y_flip = nb.uint64((1 << x_bits) >> 1), nb.uint64((1 << y_bits) >> 1)
    x_drop, y_drop = nb.uint64(x_bits - level), nb.uint64(y_bits - level)
    height, width = out.shape[0] >> level, out.shape[1] >> level
    used = x = y = 0
    while y < height:
        word = used >> 5
        both = nb.uint64(words[word]) | (nb.uint64(words[word + 1]) << nb.uint64(32))
        symbol = both >> nb.uint64(used & 31)
        run = symbol & longest
        electron = run != longest
        used += run_bits + (x_bits + y_bits if electron or always else 0)
        x += nb.int64(run)
        while x >= width:
            x -= width
            y += 1
        if y >= height or used > bits:
            break
        if electron:
            px = ((symbol >> nb.uint64(run_bits)) & x_mask ^ x_flip) >> x_drop
            py = ((symbol >> nb.uint64(run_bits + x_bits)) & y_mask ^ y_flip) >> y_drop
            out[(y << level) + nb.int64(py), (x << level) + nb.int64(px)] += step
            x += 1
            if x == width:
                x = 0
                y += 1
    whole = y == height and x == 0 and used - x_bits - y_bits <= bits  # the last place may be missing
    return used if whole else -1
