"""Files that are damaged or made to do harm: clear errors, one result, no memory beyond what the file can hold."""

import struct
import subprocess
import sys
import tracemalloc

import imagecodecs
import numpy as np
import pytest
import tifffile

from restframe.errors import InputError
from restframe.movie import open_movie, read_frames
from restframe.movie.events import CODINGS
from restframe.movie.rendered import RenderedMovie
from restframe.simulate.eer import encode, write_eer


def tiff(path, shape, strips, compression=5, tile=None, rows_per_strip=None, repeat=1, fill_order=1):
    """A little-endian TIFF written field by field, as hostile as wanted. Strips lie behind each other."""
    height, width = shape
    data_start = 8
    body = b"".join(strips)
    offsets = data_start + np.concatenate([[0], np.cumsum([len(strip) for strip in strips])[:-1]])
    counts = [len(strip) for strip in strips]
    offsets, counts = np.tile(offsets, repeat), np.tile(counts, repeat)
    table_start = data_start + len(body)
    tables = offsets.astype("<u4").tobytes() + counts.astype("<u4").tobytes()
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    tags += [(266, 3, 1, fill_order), (277, 3, 1, 1)]
    first = (table_start, table_start + 4 * len(offsets)) if len(offsets) > 1 else (int(offsets[0]), int(counts[0]))
    if tile:
        tags += [
            (322, 4, 1, tile[1]),
            (323, 4, 1, tile[0]),
            (324, 4, len(offsets), first[0]),
            (325, 4, len(counts), first[1]),
        ]
    else:
        rows = height if rows_per_strip is None else rows_per_strip
        tags += [(273, 4, len(offsets), first[0]), (278, 4, 1, rows), (279, 4, len(counts), first[1])]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags)) + bytes(4)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, table_start + len(tables)) + body + tables + directory)
    return path


def peak_bytes(action):
    tracemalloc.start()
    try:
        action()
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def test_the_writer_writes_what_others_read(tmp_path):
    frame = np.random.default_rng(0).poisson(2, (6, 10)).astype(np.uint8)
    path = tiff(tmp_path / "m.tif", (6, 10), [imagecodecs.lzw_encode(frame[i : i + 2].tobytes()) for i in (0, 2, 4)],
                rows_per_strip=2)  # fmt: skip
    np.testing.assert_array_equal(tifffile.imread(path), frame)
    np.testing.assert_array_equal(open_movie(path).read(0)[::-1], frame)


@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}])
@pytest.mark.parametrize("strip", ["8048a0402818", "8048a04028180402", "80", "ffffffffffff", "8000" * 40])
def test_strips_that_crash_other_decoders(tmp_path, strip, layout):
    """In a process of its own: imagecodecs reads an uninitialised table in the first of these and may crash."""
    tiff(tmp_path / "m.tif", (16, 16), [bytes.fromhex(strip)], **layout)
    program = f"from restframe.movie import open_movie; open_movie({str(tmp_path / 'm.tif')!r}).read(0)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1 and "InputError" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize("layout", [{"rowsperstrip": 8}, {"tile": (16, 16)}])
@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", 2), ("uint16", 2), ("float32", 3), ("uint8", 1)])
@pytest.mark.parametrize("byte_order", "<>")
def test_lzw_in_every_layout_is_decoded_here(tmp_path, dtype, predictor, layout, byte_order):
    frames = np.random.default_rng(0).integers(0, 200, (2, 45, 31)).astype(dtype)
    path = tmp_path / "m.tif"
    options = {"photometric": "minisblack", "metadata": None, "compression": "lzw", "predictor": predictor} | layout
    with tifffile.TiffWriter(path, byteorder=byte_order) as file:
        for frame in frames:
            file.write(frame, **options)
    np.testing.assert_array_equal(read_frames(open_movie(path)), frames[:, ::-1])


@pytest.mark.parametrize("layout", [{"rows_per_strip": 4}, {"tile": (16, 16)}])
@pytest.mark.parametrize(
    ("compression", "encode_strip"), [(1, bytes), (5, imagecodecs.lzw_encode), (8, imagecodecs.deflate_encode)]
)
def test_bits_in_reverse_order(tmp_path, layout, compression, encode_strip):
    frame = np.random.default_rng(0).integers(0, 9, (16, 32)).astype(np.uint8)
    pieces = [frame[top : top + 4] for top in (0, 4, 8, 12)] if "tile" not in layout else [frame[:, :16], frame[:, 16:]]
    reverse = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
    strips = [bytes(encode_strip(piece.tobytes())).translate(reverse) for piece in pieces]
    path = tiff(tmp_path / "m.tif", (16, 32), strips, compression, fill_order=2, **layout)
    np.testing.assert_array_equal(open_movie(path).read(0)[::-1], frame)


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd", None])
def test_flipped_bits_give_one_result_or_an_error(tmp_path, compression):
    frame = np.random.default_rng(1).poisson(1.1, (64, 96)).astype(np.uint8)
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, frame, compression=compression, rowsperstrip=16, metadata=None)
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
        end = start + sum(file.pages[0].databytecounts)
    raw = path.read_bytes()
    unseen = []
    for bit in np.random.default_rng(2).choice(np.arange(8 * start, 8 * end), 200, replace=False):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        results = []
        for _ in range(2):
            try:
                results.append(open_movie(path).read(0)[::-1])
            except InputError as error:
                assert "frame 1 is damaged" in str(error)
                results.append(None)
        assert (results[0] is None) == (results[1] is None)
        if results[0] is not None:
            np.testing.assert_array_equal(results[0], results[1])
            unseen.append(float(np.mean(results[0] != frame)))
    assert len(unseen) < {"lzw": 80, "deflate": 1, "zstd": 120, None: 201}[compression]
    if compression == "lzw":  # a quarter of the frame is one strip; what is unseen changes little of it
        assert np.mean(np.array(unseen) > 0.01) < 0.1


@pytest.mark.parametrize("tag", [278, 322, 323])
def test_strips_and_tiles_of_no_rows(tmp_path, tag):
    strip = imagecodecs.lzw_encode(bytes(256))
    layout = {"rows_per_strip": 0} if tag == 278 else {"tile": (16, 0) if tag == 322 else (0, 16)}
    with pytest.raises(InputError, match=r"m\.tif.*(RowsPerStrip|tiles of|structure is damaged)"):
        open_movie(tiff(tmp_path / "m.tif", (16, 16), [strip], **layout))


@pytest.mark.parametrize("compression", [1, 5, 8, 50000])
@pytest.mark.parametrize("side", [20_000, 65_535, 1 << 20, 2**31 - 1])
def test_claims_that_the_file_cannot_hold(tmp_path, compression, side):
    """57 kB that claim 400 million pixels and more."""
    noise = np.random.default_rng(0).bytes(100_000 if compression == 50000 and side == 20_000 else 57_000)
    noise = noise[:9000] if compression == 50000 else noise
    path = tiff(tmp_path / "m.tif", (side, side), [noise], compression)

    def read():
        with pytest.raises(InputError, match=r"cannot hold|at most 65535 pixels|structure is damaged"):
            open_movie(path).read(0)

    assert peak_bytes(read) < 5e6


def test_strips_that_share_their_bytes(tmp_path):
    strip = imagecodecs.deflate_encode(bytes(200_000))
    path = tiff(tmp_path / "m.tif", (200 * 100, 1000), [strip], 8, rows_per_strip=200, repeat=100)
    with pytest.raises(InputError, match=r"frames claim .* bytes of data, the file has"):
        open_movie(path)


@pytest.mark.parametrize(
    ("compression", "encode_strip"), [(8, imagecodecs.deflate_encode), (50000, imagecodecs.zstd_encode)]
)
def test_strips_that_decode_to_more(tmp_path, compression, encode_strip):
    strip = encode_strip(bytes(50_000_000))
    path = tiff(tmp_path / "m.tif", (16, 16), [strip], compression)

    def read():
        with pytest.raises(InputError, match="frame 1 is damaged"):
            open_movie(path).read(0)

    assert peak_bytes(read) < 5e6


@pytest.mark.parametrize("compression", [34712, 50001, 50002, 34887, 33003])
def test_compressions_that_cameras_do_not_use(tmp_path, compression):
    with pytest.raises(InputError, match=f"TIFF compression {compression}; expected none, LZW, Deflate or Zstd"):
        open_movie(tiff(tmp_path / "m.tif", (16, 16), [bytes(999)], compression))


@pytest.mark.parametrize("side", [2000, 20_000, 65_535])
def test_eer_frames_that_the_file_cannot_hold(tmp_path, side):
    write_eer(tmp_path / "m.eer", (side, side), [bytes(300)] * 3, 65001)
    with pytest.raises(InputError, match="claims frames of"):
        open_movie(tmp_path / "m.eer")


@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000, 2**32 - 1])
def test_tags_of_other_types(tmp_path, tile, count):
    """A damaged type, or count, makes a text, a fraction or several numbers of a number."""
    strips = [imagecodecs.lzw_encode(bytes([value] * 256)) for value in (1, 2)]
    whole = bytearray(tiff(tmp_path / "m.tif", (32, 16), strips, tile=tile, rows_per_strip=16).read_bytes())
    expected = open_movie(tmp_path / "m.tif").read(0)
    directory = struct.unpack_from("<I", whole, 4)[0]
    outcomes = set()
    for index in range(struct.unpack_from("<H", whole, directory)[0]):
        for value_type in (0, 1, 2, 3, 5, 7, 10, 11, 12, 16, 65535):
            raw = whole.copy()
            struct.pack_into("<HI", raw, directory + 2 + 12 * index + 2, value_type, count)
            (tmp_path / "m.tif").write_bytes(raw)
            try:
                image = open_movie(tmp_path / "m.tif").read(0)
            except InputError:
                outcomes.add("refused")
            else:
                outcomes.add("same" if image.shape == expected.shape and np.array_equal(image, expected) else "other")
    assert outcomes <= {"refused", "same", "other"} and "refused" in outcomes


def eer_frames(count=40, shape=(40, 56)):
    rng, pixel_count = np.random.default_rng(3), shape[0] * shape[1]
    frames, truth = [], []
    for _ in range(count):
        pixels = np.sort(rng.choice(pixel_count, 150, replace=False))
        frames.append(encode(pixels, rng.integers(0, 4, 150), rng.integers(0, 4, 150), pixel_count, CODINGS[65001]))
        image = np.zeros(pixel_count, np.uint8)
        image[pixels] = 1
        truth.append(image.reshape(shape))
    return frames, truth


def directory_of(raw, number):
    offset = struct.unpack_from("<Q", raw, 8)[0]
    for _ in range(number):
        tag_count = struct.unpack_from("<Q", raw, offset)[0]
        offset = struct.unpack_from("<Q", raw, offset + 8 + 20 * tag_count)[0]
    return offset


@pytest.mark.parametrize("tag", [256, 257, 259, 258, 273, 279])
@pytest.mark.parametrize("frame", [0, 7, 39])
def test_a_damaged_tag_takes_one_frame(tmp_path, tag, frame):
    """Later frames keep their place, so their dose is right."""
    frames, truth = eer_frames()
    path = tmp_path / "m.eer"
    write_eer(path, (40, 56), frames, 65001)
    raw = bytearray(path.read_bytes())
    offset = directory_of(raw, frame)
    for index in range(struct.unpack_from("<Q", raw, offset)[0]):
        entry = offset + 8 + 20 * index
        if struct.unpack_from("<H", raw, entry)[0] == tag:
            raw[entry + 13] ^= 64  # the second byte of the value
    path.write_bytes(raw)
    movie = open_movie(path)
    assert movie.shape == (40, 40, 56)
    rendered = RenderedMovie(movie, (range(0, 20), range(20, 40)))
    sums = read_frames(rendered)
    lines = rendered.damage_report()
    expected = [sum(truth[i] for i in part if i != frame or tag == 258) for part in (range(20), range(20, 40))]
    np.testing.assert_array_equal(sums, expected)
    if tag != 258:  # bits per sample are not needed
        assert f"frame {frame + 1} is damaged" in lines[0] and "1 of 40 raw frames are damaged" in lines[1]


def test_flipped_bits_in_small_frames(tmp_path):
    """A flip of a position moves an electron within its pixel. Most others are seen: where the run gets shorter by one
    pixel, the last symbol can be taken for an electron in the last pixel.
    """
    frames, truth = eer_frames(5)
    unseen = 0
    rng = np.random.default_rng(4)
    for bit in rng.choice(8 * len(frames[0]), 500, replace=False):
        damaged = bytearray(frames[0])
        damaged[bit // 8] ^= 1 << bit % 8
        write_eer(tmp_path / "m.eer", (40, 56), [bytes(damaged), *frames[1:]], 65001)
        try:
            image = open_movie(tmp_path / "m.eer").read(0)
        except InputError as error:
            assert "events don't end with its last pixel" in str(error)
        else:
            unseen += not np.array_equal(image, truth[0])
    assert unseen <= 25  # of 500


@pytest.mark.parametrize("offset", [2**63 - 1, 2**63, 2**64 - 1, 1 << 40])
@pytest.mark.parametrize("place", ["first", "next"])
def test_directories_far_beyond_the_file(tmp_path, offset, place):
    frames, _ = eer_frames(2)
    write_eer(tmp_path / "m.eer", (40, 56), frames, 65001)
    raw = bytearray((tmp_path / "m.eer").read_bytes())
    first = directory_of(raw, 0)
    at = 8 if place == "first" else first + 8 + 20 * struct.unpack_from("<Q", raw, first)[0]
    struct.pack_into("<Q", raw, at, offset)
    (tmp_path / "m.eer").write_bytes(raw)
    with pytest.raises(InputError, match=r"only \d whole frames can be found"):
        open_movie(tmp_path / "m.eer")


def test_lengths_beyond_every_file(tmp_path):
    frames, _ = eer_frames(40)
    write_eer(tmp_path / "m.eer", (40, 56), frames, 65001)
    raw = bytearray((tmp_path / "m.eer").read_bytes())
    offset = directory_of(raw, 0)
    for index in range(struct.unpack_from("<Q", raw, offset)[0]):
        entry = offset + 8 + 20 * index
        if struct.unpack_from("<H", raw, entry)[0] == 279:
            struct.pack_into("<Q", raw, entry + 12, 2**64 - 9)
    (tmp_path / "m.eer").write_bytes(raw)
    movie = open_movie(tmp_path / "m.eer")
    assert movie.has_zero_padding and movie.read(1).sum() == 150
    with pytest.raises(InputError, match="frame 1 is damaged: its data are not in the file"):
        movie.read(0)


@pytest.mark.parametrize("frame", [1, 5, 11])
def test_a_directory_that_cannot_be_read_takes_one_frame(tmp_path, frame):
    """tifffile ends its list of directories there without a word: the number of values of BitsPerSample is 0."""
    frames, truth = eer_frames(12)
    path = tmp_path / "m.eer"
    write_eer(path, (40, 56), frames, 65001)
    raw = bytearray(path.read_bytes())
    offset = directory_of(raw, frame)
    for index in range(struct.unpack_from("<Q", raw, offset)[0]):
        entry = offset + 8 + 20 * index
        if struct.unpack_from("<H", raw, entry)[0] == 258:
            struct.pack_into("<Q", raw, entry + 4, 0)
    path.write_bytes(raw)
    movie = open_movie(path)
    assert movie.shape == (12, 40, 56)
    for number, image in enumerate(truth):
        if number == frame:
            with pytest.raises(InputError, match=rf"frame {frame + 1} is damaged: its directory cannot be read"):
                movie.read(number)
        else:
            np.testing.assert_array_equal(movie.read(number), image)


def test_a_directory_of_a_tiff_movie_that_cannot_be_read(tmp_path):
    frames = np.random.default_rng(0).poisson(5, (4, 16, 16)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in frames:
            file.write(frame, photometric="minisblack", metadata=None)
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        place = file.pages[2].tags[258].offset
    raw = bytearray((tmp_path / "m.tif").read_bytes())
    struct.pack_into("<I", raw, place + 4, 0)
    (tmp_path / "m.tif").write_bytes(raw)
    with pytest.raises(InputError, match="damaged"):
        open_movie(tmp_path / "m.tif")
