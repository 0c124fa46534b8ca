"""Our decoder of LZW against imagecodecs."""

import imagecodecs
import numpy as np
import pytest

from restframe.movie.lzw import decode_strips


def decoded(strips, sizes, h, row_bytes):
    """Rows as in the file, or None."""
    rows = np.full((h, row_bytes), 77, np.uint8)
    return rows[::-1] if decode_strips(strips, sizes, rows) else None


def one(strip, size):
    found = decoded([strip], [size], 1, size)
    return None if found is None else found.tobytes()


def theirs(strip, size):
    """What imagecodecs finds, cut to ``size``; None if it finds less or an error."""
    try:
        found = imagecodecs.lzw_decode(strip)[:size]
    except RuntimeError:
        return None
    return found if len(found) == size else None


KINDS = {
    "few counts": lambda rng, n: rng.poisson(0.05, n),
    "counts": lambda rng, n: rng.poisson(1.3, n),
    "many counts": lambda rng, n: rng.poisson(40, n),
    "noise": lambda rng, n: rng.integers(0, 256, n),
    "nothing": lambda rng, n: np.zeros(n),
    "a pattern": lambda rng, n: np.arange(n) // 3 % 7,
    "16 bits": lambda rng, n: rng.poisson(300, -(-n // 2)).astype("<u2").view(np.uint8)[:n],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 255, 3000, 70_001])  # codes of 9 bits to several tables of 12
def test_bytes_of_imagecodecs(kind, n):
    data = np.asarray(KINDS[kind](np.random.default_rng(n), n)).astype(np.uint8).tobytes()
    strip = imagecodecs.lzw_encode(data)
    assert one(strip, n) == data == theirs(strip, n)
    if n > 2:
        assert one(strip, n - 2) is None, "a strip that has more is damaged"
        assert one(strip, n + 1) is None


def test_strips_of_a_frame_last_row_first():
    rng = np.random.default_rng(1)
    frame = rng.poisson(1, (11, 31)).astype(np.uint8)
    strips = [imagecodecs.lzw_encode(frame[top : top + 4].tobytes()) for top in (0, 4, 8)]
    np.testing.assert_array_equal(decoded(strips, [4 * 31, 4 * 31, 3 * 31], 11, 31), frame)
    assert decoded(strips[:2], [4 * 31, 4 * 31], 11, 31) is None
    assert decoded(strips, [4 * 31, 4 * 31, 4 * 31], 11, 31) is None


def test_clear_codes_in_the_middle():
    """Written code by code: a table may be cleared at any time."""

    def packed(codes):
        bits = "".join(f"{c:09b}" for c in codes)
        bits += "0" * (-len(bits) % 8)
        return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))

    strip = packed([256, 65, 258, 259, 256, 256, 66, 258, 257])
    assert one(strip, 9) == b"AAAAAABBB" == theirs(strip, 9)
    for wrong in ([256, 65, 300, 257], [256, 258, 65], [65, 66, 67], [256, 65, 257], [256, 65, 66]):
        assert one(packed(wrong), 3) is None


@pytest.mark.parametrize("kind", ["few counts", "counts", "noise"])
def test_short_strips_are_refused(kind):
    n = 2500
    data = np.asarray(KINDS[kind](np.random.default_rng(2), n)).astype(np.uint8).tobytes()
    strip = imagecodecs.lzw_encode(data)
    for cut in range(4, len(strip), max(1, len(strip) // 97)):  # up to 19 bits are the end's code and padding
        assert one(strip[:-cut], n) is None


@pytest.mark.parametrize("kind", ["few counts", "counts", "noise"])
def test_damage_is_refused_or_read_as_imagecodecs_reads_it(kind):
    rng = np.random.default_rng(3)
    n = 6000
    data = np.asarray(KINDS[kind](rng, n)).astype(np.uint8).tobytes()
    strip = imagecodecs.lzw_encode(data)
    refused = 0
    for _ in range(200):
        wrong = bytearray(strip)
        for at in rng.integers(0, len(strip), rng.integers(1, 4)):
            wrong[at] = rng.integers(256)
        found = one(bytes(wrong), n)
        refused += found is None
        assert found is None or found == theirs(bytes(wrong), n)
    assert refused > 0


def test_garbage_is_refused():
    rng = np.random.default_rng(4)
    for n in range(1, 60):
        assert one(rng.bytes(n), 4000) is None


def test_the_last_strip_may_be_as_long_as_the_others():
    rng = np.random.default_rng(3)
    frame = rng.poisson(1, (11, 31)).astype(np.uint8)
    filled_up = np.concatenate([frame, np.zeros((1, 31), np.uint8)])
    strips = [imagecodecs.lzw_encode(filled_up[top : top + 4].tobytes()) for top in (0, 4, 8)]
    np.testing.assert_array_equal(decoded(strips, [4 * 31, 4 * 31, 3 * 31], 11, 31), frame)
    longer = [*strips[:2], imagecodecs.lzw_encode(np.zeros(5 * 31, np.uint8).tobytes())]
    assert decoded(longer, [4 * 31, 4 * 31, 3 * 31], 11, 31) is None
    assert decoded([longer[2], *strips[1:]], [4 * 31, 4 * 31, 3 * 31], 11, 31) is None


def pack(codes_and_widths, padding_bits=0):
    bits = "".join(f"{code:0{width}b}" for code, width in codes_and_widths) + "0" * padding_bits
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[index : index + 8], 2) for index in range(0, len(bits), 8))


@pytest.mark.parametrize("padding_bits", [0, 3, 8, 9])
def test_ends_that_programs_write(padding_bits):
    """The code for the end, with or without a cleared table before it, and padding to two bytes."""
    for end in ([(257, 9)], [(256, 9), (257, 9)]):
        assert one(pack([(256, 9), (65, 9), (258, 9), *end], padding_bits), 3) == b"AAA"
    assert one(pack([(256, 9), (65, 9), (258, 9)]), 3) == b"AAA", "without the code for the end"


@pytest.mark.parametrize("tail", [[(0, 9)], [(65, 9), (257, 9)], [(257, 9), (0, 12), (0, 12)], [(256, 9), (65, 9)]])
def test_nothing_but_the_end_follows(tail):
    assert one(pack([(256, 9), (65, 9), (258, 9), *tail]), 3) is None


@pytest.mark.parametrize(
    "code_count", [253, 254, 255, 256, 257, 765, 766, 767, 768, 1789, 1790, 1791, 1792, 3834, 3836, 3837]
)
def test_the_end_where_codes_become_wider(code_count):
    """Programs differ on the width of the last code there: libtiff changed it in version 4."""
    rng = np.random.default_rng(code_count)
    data = b""
    while True:  # as many codes as wanted
        data += rng.integers(0, 256, 1, np.uint8).tobytes()
        strip = imagecodecs.lzw_encode(data)
        if len(data) >= code_count:
            break
    assert one(strip, len(data)) == data


def test_flipped_bits_are_seen_where_they_change_many_pixels():
    """Of all single flipped bits those that stay unseen change few pixels: they leave the length of the strip alone."""
    rng = np.random.default_rng(4)
    data = rng.poisson(1.2, 64 * 256).astype(np.uint8).tobytes()
    strip = imagecodecs.lzw_encode(data)
    changed = []
    for bit in rng.choice(8 * len(strip), 400, replace=False):
        damaged = bytearray(strip)
        damaged[bit // 8] ^= 128 >> bit % 8
        result = one(bytes(damaged), len(data))
        assert result == one(bytes(damaged), len(data)), "the same bytes every time"
        if result is not None:
            changed.append(np.mean(np.frombuffer(result, np.uint8) != np.frombuffer(data, np.uint8)))
    assert len(changed) < 120 and np.mean(np.array(changed) > 0.01) < 0.2


def test_a_table_that_was_never_filled_is_not_read():
    """imagecodecs crashes on these bytes."""
    strip = bytes.fromhex("8048a0402818")
    for size in (1, 6, 10, 64, 1000):
        assert one(strip, size) is None
