"""What a file says in a second place: descriptions, flag bits, extended headers, its own size."""

import struct

import numpy as np
import pytest
import tifffile
from mrcfile.dtypes import get_ext_header_dtype

from restframe.errors import InputError
from restframe.movie import open_movie, read_frames


def counts(shape, seed=0, high=200):
    return np.random.default_rng(seed).integers(0, high, shape).astype(np.uint8)


def pack(frames):
    """Two pixels in a byte, the left one in the lower bits."""
    return frames[..., 0::2] | frames[..., 1::2] << 4


def mrc_header(mode, shape, byte_order="<", imod_flags=None, stamp=True, extended=0):
    frame_count, height, width = shape
    head = bytearray(1024)
    struct.pack_into(byte_order + "4i", head, 0, width, height, frame_count, mode)
    struct.pack_into(byte_order + "i", head, 92, extended)
    if imod_flags is not None:
        struct.pack_into(byte_order + "2i", head, 152, 1146047817, imod_flags)
    if stamp:
        head[208:212] = b"MAP "
    return head


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("frame_count", [2, 12])
@pytest.mark.parametrize("byte_order", "<>")
def test_all_images_behind_one_directory_of_imagej(tmp_path, dtype, frame_count, byte_order):
    frames = counts((frame_count, 21, 34)).astype(dtype)
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, frames, imagej=byte_order == ">", truncate=True, byteorder=byte_order)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    movie = open_movie(path)
    np.testing.assert_array_equal(read_frames(movie), frames[:, ::-1])
    assert f"says {frame_count} frames" in movie.metadata.notes[0]
    path.write_bytes(path.read_bytes()[: -frames[0].nbytes // 2])
    with pytest.raises(InputError, match=f"says {frame_count} frames, the file holds {frame_count - 1}"):
        open_movie(path)


def test_a_stack_of_metamorph(tmp_path):
    frames = counts((5, 12, 16))
    path = tmp_path / "m.stk"
    data = np.arange(5 * 6, dtype="<u4")
    tifffile.imwrite(path, frames[0], metadata=None, extratags=[(33629, 5, 15, tuple(data.tolist()), False)])
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        plane_count, strip_offset = tags[33629].offset + 4, tags["StripOffsets"].valueoffset
    raw = bytearray(path.read_bytes())
    raw[plane_count : plane_count + 4] = struct.pack("<I", 5)
    raw[strip_offset : strip_offset + 4] = struct.pack("<I", len(raw))
    path.write_bytes(raw + frames.tobytes())
    np.testing.assert_array_equal(read_frames(open_movie(path)), frames[:, ::-1])


def test_descriptions_that_disagree_with_the_directories(tmp_path):
    frames = counts((3, 10, 12))
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as file:
        for frame in frames:
            file.write(frame, description="ImageJ=1.53\nimages=12\n", metadata=None)
    movie = open_movie(path)
    assert movie.shape[0] == 3 and "says 12 frames, the file has 3" in movie.metadata.notes[0]


@pytest.mark.parametrize(
    "description",
    ["", "ImageJ=1.53\nimages=1\n", "ImageJ=\nimages=x", '{"shape": "x", "truncated": true}', "{" * 99_999],
)
def test_descriptions_without_a_number(tmp_path, description):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, counts((10, 12)), description=description, metadata=None)
    assert open_movie(path).shape == (1, 10, 12)


@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
def test_two_pixels_in_each_byte_of_a_tiff(tmp_path, compression):
    frames = counts((3, 20, 36), high=16)
    path = tmp_path / "m.tif"
    with tifffile.TiffWriter(path) as file:
        for frame in pack(frames):
            file.write(
                frame, description="SerialEM: frames, 4 bits packed", metadata=None, compression=compression,
                photometric="minisblack",
            )  # fmt: skip
    movie = open_movie(path)
    assert movie.shape == (3, 20, 36) and movie.largest_count == 15 and "4 bits" in movie.metadata.notes[0]
    np.testing.assert_array_equal(read_frames(movie), frames[:, ::-1])


@pytest.mark.parametrize(("height", "row_bytes"), [(8184, 5760), (11520, 4092), (7676, 3710), (7420, 3838)])
def test_sizes_that_serialem_packs(tmp_path, height, row_bytes):
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, np.full((height, row_bytes), 0x21, np.uint8), metadata=None, compression="deflate")
    movie = open_movie(path)
    assert movie.shape == (1, height, 2 * row_bytes)
    np.testing.assert_array_equal(movie.read(0)[7, :4], [1, 2, 1, 2])
    tifffile.imwrite(path, np.zeros((height, row_bytes - 2), np.uint8), metadata=None, compression="deflate")
    assert open_movie(path).shape == (1, height, row_bytes - 2)


@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize("flags", [16, 17, 20])
def test_two_pixels_in_each_byte_of_an_mrc(tmp_path, byte_order, flags):
    frames = counts((3, 8, 20), high=16)
    path = tmp_path / "m.mrc"
    path.write_bytes(mrc_header(0, (3, 8, 10), byte_order, flags) + pack(frames).tobytes())
    movie = open_movie(path)
    assert "4 bits" in movie.metadata.notes[0] and movie.largest_count == 15
    np.testing.assert_array_equal(read_frames(movie), frames)
    path.write_bytes(mrc_header(0, (3, 8, 10), byte_order) + pack(frames).tobytes())
    assert open_movie(path).shape == (3, 8, 10), "without IMOD's stamp the flag means nothing"


@pytest.mark.parametrize("stamp", [True, False])
@pytest.mark.parametrize("stated", [1, 7, 11])
def test_more_frames_in_the_file_than_the_header_says(tmp_path, stated, stamp):
    frames = counts((12, 6, 8))
    path = tmp_path / "m.mrc"
    path.write_bytes(mrc_header(0, (stated, 6, 8), stamp=stamp) + frames.tobytes())
    movie = open_movie(path)
    assert movie.shape == (stated, 6, 8)
    assert f"nz = {stated} frames, the file has 12" in movie.metadata.notes[0]
    assert movie.metadata.notes[0].startswith("Warning: ")


@pytest.mark.parametrize(("stated", "stamp"), [(0, True), (0, False), (-3, True)])
def test_a_header_without_frames(tmp_path, stated, stamp):
    path = tmp_path / "m.mrc"
    path.write_bytes(mrc_header(0, (stated, 6, 8), stamp=stamp) + bytes(12 * 48))
    with pytest.raises(InputError, match=f"nz = {stated} frames"):
        open_movie(path)


@pytest.mark.parametrize("kind", [b"FEI1", b"FEI2"])
@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize("mask", [0, 0xFFFF])
def test_pixel_and_voltage_of_thermo_fisher_headers(tmp_path, kind, byte_order, mask):
    dtype = get_ext_header_dtype(kind, byte_order)
    sections = np.zeros(2, dtype)
    sections["Pixel size X"], sections["HT"], sections["Bitmask 1"] = 0.87e-10, 200_000, mask
    head = mrc_header(1, (2, 6, 8), byte_order, extended=sections.nbytes)
    head[104:108] = kind
    path = tmp_path / "m.mrc"
    path.write_bytes(head + sections.tobytes() + bytes(2 * 6 * 8 * 2))
    metadata = open_movie(path).metadata
    assert metadata.pixel_size == pytest.approx(0.87) and metadata.voltage == 200
    sections["Bitmask 1"] = 1  # says that neither is valid
    path.write_bytes(head + sections.tobytes() + bytes(2 * 6 * 8 * 2))
    assert open_movie(path).metadata.pixel_size == open_movie(path).metadata.voltage == 0
    sections["Bitmask 1"], sections["HT"] = 0, np.nan
    path.write_bytes(head + sections.tobytes() + bytes(2 * 6 * 8 * 2))
    assert open_movie(path).metadata.voltage == 0


@pytest.mark.parametrize("description", ["ImageJ=1.53\nslices=4\n", "ImageJ=1.53\nchannels=2\nframes=2\n"])
def test_imagej_without_the_number_of_images(tmp_path, description):
    frames = counts((4, 10, 12))
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, frames[0], description=description, metadata=None)
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["StripOffsets"]
    raw = bytearray(path.read_bytes())
    raw[tag.valueoffset : tag.valueoffset + 4] = struct.pack("<I", len(raw))
    path.write_bytes(raw + frames.tobytes())
    np.testing.assert_array_equal(read_frames(open_movie(path)), frames[:, ::-1])


def test_bytes_that_belong_to_no_frame(tmp_path):
    frames = counts((3, 100, 120))
    path = tmp_path / "m.tif"
    tifffile.imwrite(path, frames, photometric="minisblack", metadata=None)
    assert open_movie(path).metadata.notes == ()
    with open(path, "ab") as file:
        file.write(bytes(40_000))
    assert "bytes belong to none of its 3 frames" in open_movie(path).metadata.notes[0]
