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
        assert one(strip, n - 2) == data[:-2], "what a strip has beyond is left out"


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
