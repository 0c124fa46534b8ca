"""LZW as TIFF defines it, decoded faster than imagecodecs does.

Counts make short strings, which fit into one 64-bit register. Codes follow each other, the highest bit of each byte
first. Their width grows from 9 to 12 bits with the table of strings, one code early (TIFF 6.0, section 13). An entry of
the table is the string itself if it has up to `REGISTER_BYTES` bytes, and always its position in the output, because
the string of a new entry is the string just written and one byte more.

LZW has no checksum. Damage shows where the codes of a strip do not end with its last pixel: the last string must end
exactly there, and only the code for the end and padding may follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from restframe.arrays import AnyArray
from restframe.loops import compiled_loop, inner_loop, int64, uint8, uint32, uint64

CLEAR_CODE, END_CODE, FIRST_FREE_CODE, TABLE_SIZE = 256, 257, 258, 4096
REGISTER_BYTES = 8
MAX_PADDING_BITS = 15  # after the code for the end: some programs fill a strip up to an even number of bytes
MAX_BYTES_PER_BYTE = 1400  # decoded bytes of an encoded byte: 3838 codes of at most 12 bits stand for 7.4 MB at most


def decode_strips(strips: Sequence[bytes | memoryview], sizes: Sequence[int], rows: AnyArray) -> bool:
    """Decode the strips of a frame into ``rows`` (h, bytes of a row) uint8, the last row of the file first.

    ``sizes``: bytes of each strip after decoding, (n,). The last strip may also have the size of the first one: some
    programs fill it up, and the bytes beyond its own size are left out. Returns False if a strip is damaged, too short
    or too long; ``rows`` must not be used then.
    """
    lengths = np.array([len(strip) for strip in strips], np.int64)
    encoded = np.frombuffer(bytearray().join(strips), np.uint8)
    if not len(strips):
        return False
    if _decode_frame(encoded, lengths, np.array(sizes, np.int64), rows):
        return True
    if sizes[-1] >= sizes[0]:
        return False
    filled_up = np.empty((1, sizes[0]), np.uint8)
    if not decode_strips(strips[-1:], sizes[:1], filled_up):
        return False
    others = rows[-(sum(sizes[:-1]) // rows.shape[1]) :] if len(sizes) > 1 else rows[:0]
    if sum(sizes) != rows.size or not decode_strips(strips[:-1], sizes[:-1], others):
        return False
    rows[: len(rows) - len(others)] = filled_up[0, : sizes[-1]].reshape(-1, rows.shape[1])[::-1]
    return True


@compiled_loop("(uint8[::1], int64[::1], int64[::1], uint8[:,::1])")
def _decode_frame(encoded, encoded_lengths, sizes, rows):  # type: ignore[no-untyped-def]
    strings = np.empty(TABLE_SIZE, np.uint64)  # the first byte is the lowest
    lengths = np.empty(TABLE_SIZE, np.int64)
    positions = np.zeros(TABLE_SIZE, np.int64)
    for byte in range(256):
        strings[byte] = byte
        lengths[byte] = 1
    decoded = rows.reshape(rows.size)
    start = filled = 0
    for strip in range(len(encoded_lengths)):
        strip_bytes = encoded[start : start + encoded_lengths[strip]]
        if not _decode_strip(strip_bytes, decoded[filled : filled + sizes[strip]], strings, lengths, positions):
            return False
        start += encoded_lengths[strip]
        filled += sizes[strip]
    height = len(rows)
    for row in range(height // 2):
        upper, lower = rows[row], rows[height - 1 - row]
        for column in range(len(upper)):
            upper[column], lower[column] = lower[column], upper[column]
    return filled == len(decoded)


@inner_loop()
def _four_bytes(encoded, start):  # type: ignore[no-untyped-def]
    """Four bytes from ``start`` on, the first highest; zeros after the end."""
    if start + uint64(4) <= uint64(len(encoded)):
        first, second = uint32(encoded[start]), uint32(encoded[start + uint64(1)])
        third, fourth = uint32(encoded[start + uint64(2)]), uint32(encoded[start + uint64(3)])
        return (first << uint32(24)) | (second << uint32(16)) | (third << uint32(8)) | fourth
    word = uint32(0)
    for offset in range(4):
        position = start + uint64(offset)
        byte = uint32(encoded[position]) if position < uint64(len(encoded)) else uint32(0)
        word = (word << uint32(8)) | byte
    return word


@inner_loop()
def _write_register(decoded, start, string):  # type: ignore[no-untyped-def]
    """Write eight bytes at once; the next string overwrites those that this string does not have."""
    for offset in range(REGISTER_BYTES):
        decoded[start + uint64(offset)] = uint8((string >> uint64(8 * offset)) & uint64(255))


@inner_loop()
def _read_register(decoded, start):  # type: ignore[no-untyped-def]
    string = uint64(0)
    for offset in range(REGISTER_BYTES):
        string |= uint64(decoded[start + uint64(offset)]) << uint64(8 * offset)
    return string


@inner_loop()
def _decode_strip(encoded, decoded, strings, lengths, positions):  # type: ignore[no-untyped-def]
    size, bit_count = int64(len(decoded)), int64(8 * len(encoded))
    used_bits = int64(0)
    code_width = int64(9)
    next_entry = int64(FIRST_FREE_CODE)
    widening_entry = int64(511)  # from this entry on, codes are longer
    previous_code = int64(-1)  # -1: none since the table was cleared
    filled = int64(0)
    table_cleared = False
    while filled < size:
        if used_bits + code_width > bit_count:
            return False
        word = uint32(_four_bytes(encoded, uint64(used_bits >> 3)) << uint32(used_bits & 7))
        code = int64(word >> uint32(32 - code_width))
        used_bits += code_width
        if code == CLEAR_CODE:
            code_width, next_entry = int64(9), int64(FIRST_FREE_CODE)
            widening_entry, previous_code = int64(511), int64(-1)
            table_cleared = True
            continue
        if code == END_CODE or not table_cleared or code > next_entry or (previous_code < 0 and code > 255):
            return False
        if previous_code >= 0:
            if next_entry >= TABLE_SIZE:
                return False
            previous_string, length = strings[previous_code], lengths[previous_code]
            first_byte = (previous_string if code == next_entry else strings[code]) & uint64(255)
            if length < REGISTER_BYTES:  # a longer string keeps its first bytes
                previous_string |= first_byte << uint64(8 * length)
            strings[next_entry] = previous_string
            lengths[next_entry] = length + 1
            positions[next_entry] = filled - length
            next_entry += 1
            if next_entry >= widening_entry and code_width < 12:
                code_width += 1
                widening_entry = 2 * widening_entry + 1
        length = lengths[code]
        if length <= REGISTER_BYTES and filled + REGISTER_BYTES <= size:
            _write_register(decoded, uint64(filled), strings[code])
        elif length <= REGISTER_BYTES:
            for offset in range(min(length, size - filled)):
                decoded[filled + offset] = uint8((strings[code] >> uint64(8 * offset)) & uint64(255))
        else:
            source = positions[code]
            copied = int64(0)
            while copied < length and filled + copied + REGISTER_BYTES <= size:  # the source is at least 8 bytes before
                _write_register(decoded, uint64(filled + copied), _read_register(decoded, uint64(source + copied)))
                copied += REGISTER_BYTES
            for offset in range(copied, min(length, size - filled)):
                decoded[filled + offset] = decoded[source + offset]
        previous_code = code
        filled += length
    return filled == size and _ends_here(encoded, used_bits, code_width, next_entry)


@inner_loop()
def _ends_here(encoded, used_bits, code_width, next_entry):  # type: ignore[no-untyped-def]
    """Whether only the code for the end and padding follow.

    The code for the end may be missing where less than a byte is left. The table may have been cleared before it.
    Where the last string fills the codes of one width, programs differ on the width of the code for the end.
    """
    remaining_bits = int64(8 * len(encoded)) - used_bits
    if remaining_bits < 8:
        return True
    word = uint32(_four_bytes(encoded, uint64(used_bits >> 3)) << uint32(used_bits & 7))
    if int64(word >> uint32(32 - code_width)) == CLEAR_CODE:
        remaining_bits -= code_width
        word = uint32(word << uint32(code_width))
        code_width, next_entry = int64(9), int64(FIRST_FREE_CODE)
    for width in range(max(code_width - 1, 9), min(code_width + 1, 12) + 1):
        is_possible = width == code_width or abs(next_entry - (1 << min(width, code_width))) <= 2
        padding_bits = remaining_bits - width
        is_end = int64(word >> uint32(32 - width)) == END_CODE
        if is_possible and is_end and 0 <= padding_bits <= MAX_PADDING_BITS:
            return True
    return False
