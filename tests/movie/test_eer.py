import struct

import imagecodecs
import numpy as np
import pytest
import tifffile

from restframe.errors import InputError, SettingsError
from restframe.movie import open_movie, read_frames
from restframe.movie.events import CODINGS, Coding, add_events
from restframe.movie.formats import detect_format
from restframe.movie.rendered import RenderedMovie
from restframe.simulate.eer import electrons, encode, write_eer

CASES = {65000: CODINGS[65000], 65001: CODINGS[65001], 65002: Coding(7, 1, 1), "wide": Coding(6, 1, 2)}


def draw(rng, shape, n):
    """Pixels of n electrons in ascending order, never two in one."""
    return np.sort(rng.choice(shape[0] * shape[1], n, replace=False))


def frame(rng, shape, n, coding):
    """(bytes, pixels, x within each, y within each)"""
    pixel = draw(rng, shape, n)
    x, y = rng.integers(0, 1 << coding.x_bits, n), rng.integers(0, 1 << coding.y_bits, n)
    return encode(pixel, x, y, shape[0] * shape[1], coding), pixel, x, y


def placed(shape, coding, level, pixel, x, y):
    """The image by the format's description, event for event."""
    out = np.zeros((shape[0] << level, shape[1] << level), int)
    rows, columns = np.divmod(pixel, shape[1])
    np.add.at(
        out, ((rows << level) + (y >> coding.y_bits - level), (columns << level) + (x >> coding.x_bits - level)), 1
    )
    return out


def written(tmp_path, frames, shape, name=65001):
    coding = CASES[name]
    compression = name if name in CODINGS else 65002
    write_eer(tmp_path / "m.eer", shape, frames, compression, None if name in CODINGS else coding)
    return tmp_path / "m.eer"


@pytest.mark.parametrize("shape", [(38, 52), (1, 300), (300, 1), (7, 5)])
@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("name", CASES)
def test_every_event_at_its_place(name, level, shape):
    coding = CASES[name]
    if level > min(coding.x_bits, coding.y_bits):
        pytest.skip("not so fine")
    rng = np.random.default_rng(3)
    size = shape[0] * shape[1]
    for n in (0, 1, 2, size // 20, size // 2, size):  # none, with runs longer than one symbol says, everywhere
        data, pixel, x, y = frame(rng, shape, n, coding)
        out = np.zeros((shape[0] << level, shape[1] << level), np.uint16)
        assert add_events(data, coding, level, out)
        np.testing.assert_array_equal(out, placed(shape, coding, level, pixel, x, y))
        assert add_events(data, coding, level, out, -1) and not out.any()


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("name", CASES)
def test_the_same_as_imagecodecs(name, level):
    """Runs stay below the longest: there imagecodecs reads 65000 as no other program does."""
    coding, shape = CASES[name], (64, 96)
    if level > min(coding.x_bits, coding.y_bits):
        pytest.skip("not so fine")
    rng = np.random.default_rng(4)
    ours = np.zeros((shape[0] << level, shape[1] << level), np.uint8)
    theirs = np.zeros_like(ours)
    for _ in range(20):
        data, pixel, *_ = frame(rng, shape, 700, coding)
        assert coding.run_bits < 8 or np.diff(pixel).max() < 255
        assert add_events(data, coding, level, ours)
        imagecodecs.eer_decode(data, theirs.shape, *coding[:3], superres=level, out=theirs)
    np.testing.assert_array_equal(ours, theirs)
    assert ours.sum() == 14000


def test_the_longest_run_of_65000_is_followed_by_a_place():
    """Twelve bits a symbol, without exception."""
    data = encode(np.array([300]), np.array([1]), np.array([2]), 1000, CODINGS[65000])
    symbols = [data[0] | (data[1] & 15) << 8, data[1] >> 4 | data[2] << 4]
    assert symbols[0] & 255 == 255 and symbols[1] & 255 == 45


@pytest.mark.parametrize("name", CASES)
def test_a_movie(tmp_path, name):
    coding, shape, rng = CASES[name], (40, 56), np.random.default_rng(5)
    frames = [frame(rng, shape, n, coding) for n in (100, 0, 300, 150, 77)]
    path = written(tmp_path, [f[0] for f in frames], shape, name)
    assert detect_format(path) == "eer"
    for sampling in (1, 2) if name not in CODINGS else (1, 2, 3):
        level = sampling - 1
        movie = open_movie(path, eer_sampling=sampling)
        assert movie.format == "eer" and movie.shape == (5, 40 << level, 56 << level)
        assert movie.dtype == np.uint8 and movie.path == path and movie.header_gain() is None
        truth = [placed(shape, coding, level, *f[1:]) for f in frames]
        for i in (4, 0, 2):
            np.testing.assert_array_equal(movie.read(i), truth[i])
        sums = read_frames(RenderedMovie(movie, (range(0, 3), range(3, 5))), threads=2)
        assert sums.dtype == np.uint8
        np.testing.assert_array_equal(sums, [sum(truth[:3]), sum(truth[3:])])
    with pytest.raises(IndexError):
        movie.read(5)


def test_more_than_255_counts_in_a_pixel(tmp_path):
    shape, n = (6, 10), 300
    one = encode(np.array([23]), np.array([3]), np.array([0]), 60, CODINGS[65001])
    movie = open_movie(written(tmp_path, [one] * n, shape))
    for count, kind in ((255, np.uint8), (256, np.uint16), (n, np.uint16)):
        sums = read_frames(RenderedMovie(movie, (range(count),)))
        assert sums.dtype == kind and sums[0, 2, 3] == count and sums.sum() == count
    taken = read_frames(RenderedMovie(movie, (range(n),), np.full(shape, 0.5, np.float32)))
    assert taken.dtype == np.float32 and taken[0, 2, 3] == 150 and taken[0, 0, 0] == -150


def damage(data, how):
    if how == "cut":
        return data[: len(data) // 2]
    if how == "zeros":
        return data[:60] + bytes(40) + data[100:]
    if how == "noise":
        return data[:60] + np.random.default_rng(1).bytes(40) + data[100:]
    return b"" if how == "empty" else data + b"\xff\xff"


@pytest.mark.parametrize("how", ["cut", "zeros", "noise", "empty"])
@pytest.mark.parametrize("name", CASES)
def test_damaged_frames_are_left_out_and_named(tmp_path, name, how):
    coding, shape, rng = CASES[name], (40, 56), np.random.default_rng(60)
    frames = [frame(rng, shape, 150, coding) for _ in range(30)]
    data = [damage(f[0], how) if i in (4, 17) else f[0] for i, f in enumerate(frames)]
    movie = open_movie(written(tmp_path, data, shape, name))
    rendered = RenderedMovie(movie, (range(0, 10), range(10, 30)))
    sums = read_frames(rendered, None, 2)
    said = rendered.damage_report()
    truth = [placed(shape, coding, 0, *f[1:]) for f in frames]
    good = [sum(truth[i] for i in part if i not in (4, 17)) for part in (range(10), range(10, 30))]
    np.testing.assert_array_equal(sums, good)
    assert [line.split("m.eer")[1][:21] for line in said[:2]] == [": frame 5 is damaged:", ": frame 18 is damaged"]
    assert said[2] == "Warning: 2 of 30 raw frames are damaged and left out. Their dose is counted."
    rendered = RenderedMovie(movie, (range(4, 10), range(12, 18)))
    read_frames(rendered)
    with pytest.raises(InputError, match=r"frame 5 is damaged.* 2 of 12 raw frames are damaged, too many"):
        rendered.damage_report()


def test_bytes_after_the_last_event_do_no_harm(tmp_path):
    coding, shape = CODINGS[65001], (40, 56)
    data, *rest = frame(np.random.default_rng(7), shape, 200, coding)
    movie = open_movie(written(tmp_path, [damage(data, "longer")], shape))
    np.testing.assert_array_equal(movie.read(0), placed(shape, coding, 0, *rest))


def test_a_file_that_was_cut(tmp_path):
    frames = [frame(np.random.default_rng(8), (40, 56), 200, CODINGS[65001])[0] for _ in range(5)]
    path = written(tmp_path, frames, (40, 56))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(InputError, match="only 4 whole frames"):
        open_movie(path)


def test_a_final_image_before_the_frames_is_no_frame(tmp_path):
    shape = (40, 56)
    with tifffile.TiffWriter(tmp_path / "m.eer", bigtiff=True) as file:
        file.write(np.zeros(shape, np.uint16), metadata=None)
    head = (tmp_path / "m.eer").read_bytes()
    data, *rest = frame(np.random.default_rng(9), shape, 200, CODINGS[65001])
    write_eer(tmp_path / "frames.eer", shape, [data], 65001)
    tail = bytearray((tmp_path / "frames.eer").read_bytes())
    # chain both: move the second file's offsets behind the first
    directory = struct.unpack_from("<Q", tail, 8)[0]
    for i in range(struct.unpack_from("<Q", tail, directory)[0]):
        at = directory + 8 + 20 * i
        if struct.unpack_from("<H", tail, at)[0] in (273, 65001):
            struct.pack_into("<Q", tail, at + 12, struct.unpack_from("<Q", tail, at + 12)[0] + len(head))
    first = bytearray(head)
    ifd = struct.unpack_from("<Q", first, 8)[0]
    after = ifd + 8 + 20 * struct.unpack_from("<Q", first, ifd)[0]
    struct.pack_into("<Q", first, after, directory + len(head))
    (tmp_path / "m.eer").write_bytes(first + tail)
    movie = open_movie(tmp_path / "m.eer")
    assert movie.shape == (1, 40, 56)
    np.testing.assert_array_equal(movie.read(0), placed(shape, CODINGS[65001], 0, *rest))


def test_what_cannot_be_read(tmp_path):
    shape, coding = (8, 8), CASES[65002]
    data = encode(np.array([5]), np.array([0]), np.array([1]), 64, coding)
    path = written(tmp_path, [data], shape, 65002)
    with pytest.raises(SettingsError, match="no further than eer_sampling=2"):
        open_movie(path, eer_sampling=3)
    with pytest.raises(SettingsError, match="expected 1, 2 or 3"):
        open_movie(path, eer_sampling=4)
    write_eer(path, shape, [data], 65002)  # without the tags
    with pytest.raises(InputError, match="tags 65007, 65008 and 65009; found 0, 0 and 0"):
        open_movie(path)


def test_electrons_keep_their_counts():
    rng = np.random.default_rng(10)
    counts = rng.poisson(1.5, (30, 44)).astype(np.uint8)
    counts[3, 4] = 20
    out = np.zeros((30, 44), np.uint8)
    for data in electrons(counts, 8, CODINGS[65001], rng):
        assert add_events(data, CODINGS[65001], 0, out)
    np.testing.assert_array_equal(out, np.minimum(counts, 8))
