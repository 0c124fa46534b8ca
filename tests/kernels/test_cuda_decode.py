"""Decoding on the GPU against imagecodecs."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from with_gpu import require_gpu

from restframe.errors import InputError
from restframe.kernels.cuda.decode import PADDING_BYTES, decode
from restframe.kernels.cuda.device_frames import DeviceFrames
from restframe.movie import RawFrames, open_movie, read_frames
from restframe.movie.compressed import compressed_events
from restframe.movie.events import CODINGS, Coding
from restframe.movie.lzw import decode_strips
from restframe.movie.rendered import RenderedMovie
from restframe.simulate.eer import encode, write_eer

cupy = require_gpu()

ENCODE = {
    "lzw": [imagecodecs.lzw_encode],
    "deflate": [lambda d, level=level: imagecodecs.zlib_encode(d, level=level) for level in (0, 1, 6, 9)],
}


def contents(rng):
    yield rng.integers(0, 256, 70_001)  # entropy of the bytes themselves
    for mean in (0.001, 0.05, 0.5, 3, 60):
        yield rng.poisson(mean, 50_000 + int(1000 * mean))
    yield np.zeros(300_000)
    yield np.zeros(1)
    yield np.arange(33) % 2
    yield np.repeat(rng.integers(0, 9, 3000), rng.integers(1, 90, 3000))
    yield np.tile(rng.integers(0, 256, 40_000), 3)  # matches from far away
    yield np.concatenate([np.zeros(100_000), rng.integers(0, 256, 30_000), np.zeros(40_000)])


@pytest.mark.parametrize("codec", list(ENCODE))
def test_the_same_bytes(codec):
    rng = np.random.default_rng(1)
    plain = [c.astype(np.uint8).tobytes() for c in contents(rng)]
    pairs = [(p, encode(p)) for p in plain for encode in ENCODE[codec]]
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    gap = 3  # streams begin at any byte
    count = np.array([len(p) for _, p in pairs])
    start = np.cumsum(count + gap) - count
    data = np.full(start[-1] + count[-1] + PADDING_BYTES, 0xA5, np.uint8)
    for s, (_, packed) in zip(start, pairs, strict=True):
        data[s : s + len(packed)] = np.frombuffer(packed, np.uint8)
    size = np.array([len(p) for p, _ in pairs])
    out, failed = decode(codec, cupy.asarray(data), start, count, size)
    assert not failed.any()
    assert out.get().tobytes() == b"".join(p for p, _ in pairs)


def decodes(packed, plain):
    """Whether the flipped bit was one that nothing depends on."""
    try:
        return imagecodecs.zlib_decode(packed) == plain
    except RuntimeError:
        return False


@pytest.mark.parametrize("codec", list(ENCODE))
def test_damage_is_found(codec):
    rng = np.random.default_rng(2)
    plain = rng.poisson(1, 20_000).astype(np.uint8).tobytes()
    packed = ENCODE[codec][-1](plain)
    short = packed[: len(packed) // 2]
    cases = [short, b"\0" * 50, rng.integers(0, 256, 9000, dtype=np.uint8).tobytes(), b""]
    if codec == "deflate":  # LZW has no checksum
        flipped = [packed[:at] + bytes([packed[at] ^ 4]) + packed[at + 1 :] for at in rng.integers(2, len(packed), 40)]
        cases += [f for f in flipped if not decodes(f, plain)]
    count = np.array([len(c) for c in cases])
    start = np.cumsum(count) - count
    data = np.frombuffer(b"".join(cases) + bytes(PADDING_BYTES), np.uint8)
    _, failed = decode(codec, cupy.asarray(data), start, count, np.full(len(cases), len(plain)))
    assert failed.all()


def test_flipped_bits_of_lzw_as_on_the_cpu():
    """What the GPU accepts, the CPU accepts, with the same bytes."""
    rng = np.random.default_rng(3)
    plain = rng.poisson(1, 20_000).astype(np.uint8).tobytes()
    packed = imagecodecs.lzw_encode(plain)
    cases = []
    for bit in rng.choice(8 * len(packed), 300, replace=False):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        cases.append(bytes(flipped))
    count = np.full(len(cases), len(packed))
    data = np.frombuffer(b"".join(cases) + bytes(PADDING_BYTES), np.uint8)
    out, failed = decode("lzw", cupy.asarray(data), np.cumsum(count) - count, count, np.full(len(cases), len(plain)))
    decoded = out.get().reshape(len(cases), -1)
    for case, on_gpu, is_bad in zip(cases, decoded, failed, strict=True):
        rows = np.zeros((1, len(plain)), np.uint8)
        if not is_bad:
            assert decode_strips([case], [len(plain)], rows)
            np.testing.assert_array_equal(on_gpu, rows[0])
    assert failed.mean() > 0.7


@pytest.mark.parametrize("compression", ["lzw", "zlib", None])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("share", [0.75, 1e-9])
def test_movies(tmp_path, compression, dtype, share):
    rng = np.random.default_rng(3)
    frames = rng.poisson(1, (11, 129, 83)).astype(dtype)
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, frames, compression=compression, rowsperstrip=4, photometric="minisblack")
    movie = open_movie(path)
    numbers = range(1, 10)
    raw = DeviceFrames(RawFrames(movie, numbers), share)
    assert raw.keep_frames == (share > 0.1)
    for _ in range(2):
        blocks = list((part, block.get()) for part, block in raw.blocks())
        assert len(blocks) == (1 if raw.keep_frames else 9)
        np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), read_frames(movie, numbers))


CASES = {65000: CODINGS[65000], 65001: CODINGS[65001], 65002: Coding(7, 1, 1), "wide": Coding(6, 1, 2)}


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("share", [0.75, 1e-9])
def test_electrons(tmp_path, name, level, share):
    coding = CASES[name]
    if level > min(coding.x_bits, coding.y_bits):
        pytest.skip("not so fine")
    rng = np.random.default_rng(6)
    h, w, n = 39, 52, 300 if share > 0.1 else 600
    frames = []
    for k in range(n):
        pixel = np.sort(rng.choice(h * w, (k % 7) ** 3 % (h * w), replace=False))
        x, y = rng.integers(0, 1 << coding.x_bits, len(pixel)), rng.integers(0, 1 << coding.y_bits, len(pixel))
        frames.append(encode(pixel, x, y, h * w, coding))
    frames[40] = frames[40][: len(frames[40]) // 2]
    frames[71] += bytes(30) + b"\1\2"
    write_eer(tmp_path / "m.eer", (h, w), frames, *((name, None) if name in CODINGS else (65002, coding)))
    opened = open_movie(tmp_path / "m.eer", eer_sampling=level + 1)
    parts = (range(3, 20), range(20, 70), range(70, n))
    raw = RenderedMovie(opened, parts)
    assert compressed_events(raw, range(3)) is not None
    found = np.concatenate([block.get() for _, block in DeviceFrames(RawFrames(raw), share).blocks()])
    damage = raw.damage_report()
    plain = RenderedMovie(opened, parts)
    np.testing.assert_array_equal(found, read_frames(plain))
    assert damage == plain.damage_report() and "frame 72" in damage[-2]


def test_frames_in_memory():
    frames = np.random.default_rng(4).poisson(1, (5, 33, 21)).astype(np.int16)
    (part, block), *_ = DeviceFrames(RawFrames(open_movie(frames), range(1, 4)), 0.5).blocks()
    assert part == slice(0, 3)
    np.testing.assert_array_equal(block.get(), frames[1:4])


def test_a_damaged_strip_names_its_frame(tmp_path):
    frames = np.random.default_rng(5).poisson(1, (4, 512, 64)).astype(np.uint8)
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, frames, compression="lzw", rowsperstrip=4, photometric="minisblack")
    offset = open_movie(path).pages[2].dataoffsets[40]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 40)
    with pytest.raises(InputError, match="frame 3 is damaged"):
        list(DeviceFrames(RawFrames(open_movie(path)), 0.5).blocks())
