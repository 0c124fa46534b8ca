"""TIFF movies against what tifffile wrote, and damaged ones."""

import numpy as np
import pytest
import tifffile

from restframe.errors import InputError
from restframe.movie import open_movie, read_frames

DTYPES = ("uint8", "uint16", "int16", "float32")
CODECS = (None, "lzw", "deflate", "zstd")


def frames(dtype, shape=(3, 45, 31), seed=0):
    values = np.random.default_rng(seed).integers(0, 200, shape)
    return (values - 100 if dtype in ("int16", "float32") else values).astype(dtype)


def saved(path, movie, **options):
    """One directory a frame, as cameras write them."""
    bigtiff, byteorder = options.pop("bigtiff", False), options.pop("byteorder", "<")
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as file:
        for frame in movie:
            file.write(frame, photometric="minisblack", metadata=None, **options)
    return path


def check(path, movie):
    opened = open_movie(path)
    read = read_frames(opened, threads=2)
    assert opened.format == "tiff" and opened.shape == movie.shape and opened.header_gain() is None
    assert read.dtype == opened.dtype == movie.dtype and read.dtype.isnative
    np.testing.assert_array_equal(read, movie[:, ::-1])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [{"rowsperstrip": 1}, {"rowsperstrip": 7}, {"rowsperstrip": 45}, {"tile": (16, 32)}])
@pytest.mark.parametrize("byteorder", "<>")
def test_every_layout_type_and_compression(tmp_path, codec, dtype, layout, byteorder):
    movie = frames(dtype)
    check(saved(tmp_path / "m.tif", movie, compression=codec, byteorder=byteorder, **layout), movie)


@pytest.mark.parametrize("options", [{"rowsperstrip": 8}, {"tile": (16, 16)}])
@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", 2), ("uint16", 2), ("float32", 3)])
def test_predictors(tmp_path, dtype, predictor, options):
    movie = frames(dtype)
    check(saved(tmp_path / "m.tif", movie, compression="deflate", predictor=predictor, **options), movie)


@pytest.mark.parametrize("byteorder", "<>")
def test_bigtiff(tmp_path, byteorder):
    movie = frames("uint16")
    check(saved(tmp_path / "m.tif", movie, bigtiff=True, compression="lzw", byteorder=byteorder), movie)


def test_all_frames_written_at_once(tmp_path):
    movie = frames("uint8")
    tifffile.imwrite(tmp_path / "m.tif", movie, photometric="minisblack")
    check(tmp_path / "m.tif", movie)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 9), (2, 9, 1)])
def test_small_frames(tmp_path, shape):
    movie = frames("uint8", shape)
    check(saved(tmp_path / "m.tif", movie, compression="lzw"), movie)


def test_signed_bytes_are_counts(tmp_path):
    movie = frames("uint8") + np.uint8(56)
    path = saved(tmp_path / "m.tif", movie.view("int8"), compression="lzw")
    np.testing.assert_array_equal(read_frames(open_movie(path)), movie[:, ::-1])


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint32", "int32"])
def test_other_numbers_become_float32(tmp_path, dtype):
    movie = frames(dtype)
    read = read_frames(open_movie(saved(tmp_path / "m.tif", movie)))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, movie[:, ::-1].astype("f4"))


def test_strips_far_apart(tmp_path):
    """The strips of a frame need not lie together: here the frames' strips are 3 MB apart."""
    movie = frames("uint8", (2, 4, 5))
    path = saved(tmp_path / "m.tif", movie, rowsperstrip=2)
    raw = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        page = file.pages[1]
        offsets, tag = page.dataoffsets, page.tags["StripOffsets"]
    moved = len(raw) + 3_000_000
    raw += bytes(moved - len(raw)) + raw[offsets[1] : offsets[1] + 10]
    size = {3: 2, 4: 4}[int(tag.dtype)]
    assert size == 4, "2 bytes can't hold the offset"
    raw[tag.valueoffset + size : tag.valueoffset + 2 * size] = moved.to_bytes(size, "little")
    raw[offsets[1] : offsets[1] + 10] = bytes(10)
    path.write_bytes(raw)
    check(path, movie)


def test_last_strip_padded_to_full_length(tmp_path):
    """Some writers fill the last strip up: 45 rows in strips of 7 end with 3 of 7."""
    import imagecodecs

    movie = frames("uint8", (1, 10, 8))
    strips = [movie[0, :7].tobytes(), movie[0, 7:].tobytes() + bytes(4 * 8)]
    for codec, encode in {"lzw": imagecodecs.lzw_encode, "deflate": imagecodecs.deflate_encode}.items():
        path = tmp_path / f"{codec}.tif"
        with tifffile.TiffWriter(path) as file:
            file.write(
                iter([encode(s) for s in strips]),
                shape=(10, 8),
                dtype="uint8",
                compression=codec,
                rowsperstrip=7,
                photometric="minisblack",
                metadata=None,
            )
        check(path, movie)


@pytest.mark.parametrize("unit", [("CENTIMETER", 1e8), ("INCH", 2.54e8)])
def test_pixel_size(tmp_path, unit):
    path = saved(tmp_path / "m.tif", frames("uint8"), resolution=(unit[1] / 0.85,) * 2, resolutionunit=unit[0])
    assert open_movie(path).pixel_size == pytest.approx(0.85, rel=1e-6)
    screen = saved(tmp_path / "s.tif", frames("uint8"), resolution=(72, 72), resolutionunit="INCH")
    assert open_movie(screen).pixel_size == 0


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_do_not_matter(tmp_path, threads):
    movie = frames("uint16", (9, 20, 17))
    opened = open_movie(saved(tmp_path / "m.tif", movie, compression="lzw", rowsperstrip=1))
    np.testing.assert_array_equal(read_frames(opened, range(2, 8), threads), movie[2:8, ::-1])


def test_read_fills_what_it_is_given(tmp_path):
    movie = frames("uint8")
    out = np.zeros((45, 31), "u1")
    assert open_movie(saved(tmp_path / "m.tif", movie)).read(1, out) is out
    np.testing.assert_array_equal(out, movie[1, ::-1])


def test_frame_number_out_of_range(tmp_path):
    opened = open_movie(saved(tmp_path / "m.tif", frames("uint8")))
    for frame in (-1, 3):
        with pytest.raises(IndexError):
            opened.read(frame)


@pytest.mark.parametrize("codec", [None, "lzw"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_cut_anywhere_is_an_error(tmp_path, codec, bigtiff):
    """Wherever a copy stopped, no frame may be missing silently."""
    movie = frames("uint8", (3, 10, 20))
    path = saved(tmp_path / "m.tif", movie, compression=codec, rowsperstrip=5, bigtiff=bigtiff)
    raw = path.read_bytes()
    for length in [*range(1, len(raw) - 100, 11), *range(len(raw) - 100, len(raw))]:
        path.write_bytes(raw[:length])
        try:
            read = read_frames(open_movie(path), threads=1)
        except InputError as error:
            assert str(path) in str(error)
        else:  # bytes after the last directory and strip are of no use
            np.testing.assert_array_equal(read, movie[:, ::-1])
            assert length > len(raw) - 40


@pytest.mark.parametrize("codec", ["lzw", "deflate", "zstd"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 5}, {"tile": (16, 16)}])
def test_damaged_data_name_the_frame(tmp_path, codec, layout):
    path = saved(tmp_path / "m.tif", frames("uint8", (3, 20, 40)), compression=codec, **layout)
    with tifffile.TiffFile(path) as file:
        page = file.pages[1]
        start, count = page.dataoffsets[2], page.databytecounts[2]
    raw = bytearray(path.read_bytes())
    raw[start : start + count] = b"\xff" * count
    path.write_bytes(raw)
    opened = open_movie(path)
    with pytest.raises(InputError, match=r"m\.tif: frame 2 is damaged"):
        read_frames(opened, threads=2)
    opened.read(0)


def test_frames_of_two_sizes(tmp_path):
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as file:
        for shape in ((8, 9), (8, 9), (8, 10)):
            file.write(np.zeros(shape, "u1"), photometric="minisblack", metadata=None)
    with pytest.raises(InputError, match="frame 3 is 10 x 8 uint8, the first is 9 x 8 uint8"):
        open_movie(path)


def test_colour_is_no_movie(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((8, 9, 3), "u1"), photometric="rgb")
    with pytest.raises(InputError, match="grey"):
        open_movie(tmp_path / "m.tif")


def test_thumbnails_are_no_frames(tmp_path):
    movie = frames("uint8")
    with tifffile.TiffWriter(tmp_path / "m.tif") as file:
        for frame in movie:
            file.write(frame, photometric="minisblack", metadata=None)
        file.write(movie[0, ::4, ::4], subfiletype=1, photometric="minisblack", metadata=None)
    check(tmp_path / "m.tif", movie)


def test_no_word_on_stderr(tmp_path, capfd, recwarn):
    """Callers take anything on stderr for a failure, tifffile's own log lines too."""
    path = saved(tmp_path / "m.tif", frames("uint8"))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError):
        open_movie(path)
    assert capfd.readouterr().err == "" and not recwarn.list
