"""LZW as TIFF has it, decoded faster than imagecodecs does: counts make short strings, which fit into one register.

Codes follow each other, the highest bit of each byte first, and grow from 9 to 12 bits with the table of strings, one
code early (TIFF 6.0, section 13). An entry of the table is the string itself while it has up to `SHORT` bytes, and in
any case where in the output it stands, because the string of a new entry is what was just written and a byte more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from restframe.loops import nb

CLEAR, END, FIRST, MOST = 256, 257, 258, 4096
SHORT = 8  # bytes


def decode_strips(strips: Sequence[bytes | memoryview], sizes: Sequence[int], rows: np.ndarray) -> bool:
    """Decode the strips of a frame into ``rows`` (h, bytes of a row) uint8, the last row of the file first.

    ``sizes``: bytes of each strip when decoded; what it has beyond is left out. False: one is damaged or short, or is
    no usual LZW, and ``rows`` are not to be used.
    """
    counts = np.array([len(strip) for strip in strips], np.int64)
    block = np.frombuffer(b"".join(strips), np.uint8)
    return bool(_decode_strips(block, counts, np.array(sizes, np.int64), rows))


@nb.njit(cache=True, nogil=True)
def _decode_strips(block, counts, sizes, rows):
    strings = np.empty(MOST, np.uint64)  # the first byte lowest
    lengths = np.empty(MOST, np.int64)
    places = np.zeros(MOST, np.int64)
    for i in range(256):
        strings[i] = i
        lengths[i] = 1
    out = rows.reshape(rows.size)
    start = done = 0
    for i in range(len(counts)):
        if not _decode(block[start : start + counts[i]], out[done : done + sizes[i]], strings, lengths, places):
            return False
        start += counts[i]
        done += sizes[i]
    h = len(rows)
    for y in range(h // 2):
        a, b = rows[y], rows[h - 1 - y]
        for x in range(len(a)):
            a[x], b[x] = b[x], a[x]
    return done == len(out)


@nb.njit(cache=True, nogil=True)
def _bits(data, p):
    """Four bytes from ``p`` on, the first highest; zeros behind the end."""
    if p + nb.uint64(4) <= nb.uint64(len(data)):
        a, b = nb.uint32(data[p]), nb.uint32(data[p + nb.uint64(1)])
        c, d = nb.uint32(data[p + nb.uint64(2)]), nb.uint32(data[p + nb.uint64(3)])
        return (a << nb.uint32(24)) | (b << nb.uint32(16)) | (c << nb.uint32(8)) | d
    word = nb.uint32(0)
    for k in range(4):
        at = p + nb.uint64(k)
        word = (word << nb.uint32(8)) | (nb.uint32(data[at]) if at < nb.uint64(len(data)) else nb.uint32(0))
    return word


@nb.njit(cache=True, nogil=True)
def _put_short(out, at, string):
    """Eight bytes at once; what the string does not need is written over by the next."""
    for k in range(8):
        out[at + nb.uint64(k)] = nb.uint8((string >> nb.uint64(8 * k)) & nb.uint64(255))


@nb.njit(cache=True, nogil=True)
def _take_short(out, at):
    string = nb.uint64(0)
    for k in range(8):
        string |= nb.uint64(out[at + nb.uint64(k)]) << nb.uint64(8 * k)
    return string


@nb.njit(cache=True, nogil=True)
def _decode(data, out, strings, lengths, places):
    size, bits = nb.int64(len(out)), nb.int64(8 * len(data))
    used = nb.int64(0)
    width = nb.int64(9)
    entry = nb.int64(FIRST)
    grows = nb.int64(511)  # the entry from which on codes are longer
    last = nb.int64(-1)  # the code before; -1: none since the table was cleared
    at = nb.int64(0)
    cleared = False
    while at < size:
        if used + width > bits:
            return False
        word = nb.uint32(_bits(data, nb.uint64(used >> 3)) << nb.uint32(used & 7))
        code = nb.int64(word >> nb.uint32(32 - width))
        used += width
        if code == CLEAR:
            width, entry, grows, last = nb.int64(9), nb.int64(FIRST), nb.int64(511), nb.int64(-1)
            cleared = True
            continue
        if code == END or not cleared or code > entry or (last < 0 and code > 255):
            return False
        if last >= 0:
            if entry >= MOST:
                return False
            before, length = strings[last], lengths[last]
            first = (before if code == entry else strings[code]) & nb.uint64(255)
            # a string that is too long keeps its first bytes
            strings[entry] = before | (first << nb.uint64(8 * length)) if length < SHORT else before
            lengths[entry] = length + 1
            places[entry] = at - length
            entry += 1
            if entry >= grows and width < 12:
                width += 1
                grows = 2 * grows + 1
        n = lengths[code]
        if n <= SHORT and at + SHORT <= size:
            _put_short(out, nb.uint64(at), strings[code])
        elif n <= SHORT:
            for k in range(min(n, size - at)):
                out[at + k] = nb.uint8((strings[code] >> nb.uint64(8 * k)) & nb.uint64(255))
        else:
            place = places[code]
            k = nb.int64(0)
            while k < n and at + k + SHORT <= size:  # it began at least that far back
                _put_short(out, nb.uint64(at + k), _take_short(out, nb.uint64(place + k)))
                k += SHORT
            for j in range(k, min(n, size - at)):
                out[at + j] = out[place + j]
        last = code
        at += n
    return True
