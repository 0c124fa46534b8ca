"""MRC movies that a general program compressed."""

import bz2
import gzip
import lzma
import os
import tracemalloc
from contextlib import suppress

import imagecodecs
import mrcfile
import numpy as np
import pytest

from restframe.errors import InputError
from restframe.movie import open_movie, read_frames
from restframe.movie.files import TemporaryContent

COMPRESS = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: bytes(imagecodecs.zstd_encode(data)),
}


def movie_bytes(path, frames):
    with mrcfile.new(path, frames, overwrite=True) as file:
        file.set_image_stack()
    return path.read_bytes()


@pytest.fixture
def frames():
    return np.random.default_rng(0).poisson(3, (5, 31, 44)).astype(np.int16)


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("max_memory", [0, 10**9])
def test_every_compression(tmp_path, frames, kind, max_memory):
    raw = movie_bytes(tmp_path / "raw.mrc", frames)
    path = tmp_path / f"m.mrc.{kind}"
    path.write_bytes(COMPRESS[kind](raw))
    movie = open_movie(path, max_memory=max_memory)
    assert movie.format == "mrc" and isinstance(movie.content, TemporaryContent) == bool(max_memory)
    np.testing.assert_array_equal(read_frames(movie, threads=3), frames)
    path.write_bytes(COMPRESS[kind](raw[:30_00]) + COMPRESS[kind](raw[30_00:]))  # as pigz, pbzip2, pxz and pzstd write
    np.testing.assert_array_equal(read_frames(open_movie(path)), frames)


def test_a_temporary_file_without_a_name(tmp_path, frames, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "m.mrc.gz").write_bytes(gzip.compress(movie_bytes(tmp_path / "raw.mrc", frames)))
    movie = open_movie(tmp_path / "m.mrc.gz", max_memory=10**9)
    assert os.listdir(tmp_path / "temporary") == []
    np.testing.assert_array_equal(movie.read(4), frames[4])


@pytest.mark.parametrize("kind", COMPRESS)
def test_damage_is_named(tmp_path, frames, kind):
    raw = movie_bytes(tmp_path / "raw.mrc", frames)
    data = COMPRESS[kind](raw)
    path = tmp_path / f"m.mrc.{kind}"
    for length in (7, 40, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"m\.mrc\.\w+: (the \w+ data are damaged|\w+-compressed data)"):
            read_frames(open_movie(path))
    path.write_bytes(COMPRESS[kind](raw[:-50]))
    with pytest.raises(InputError, match=r"cut short.*5 frames of 44 x 31"):
        open_movie(path)
    path.write_bytes(COMPRESS[kind](b"no movie " * 999))
    with pytest.raises(InputError, match=r"that are no MRC file\. Decompress"):
        open_movie(path)


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_flipped_bit_is_seen_or_harmless(tmp_path, frames, kind):
    data = COMPRESS[kind](movie_bytes(tmp_path / "raw.mrc", frames))
    path = tmp_path / "m.mrc"
    unseen = 0
    for bit in np.random.default_rng(1).choice(8 * len(data), 60, replace=False):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with suppress(InputError):
            unseen += not np.array_equal(read_frames(open_movie(path)), frames)
    assert unseen == 0 or kind == "zst"  # Zstandard data have a checksum only if the program was asked for one


def test_more_frames_than_the_header_says(tmp_path, frames):
    raw = bytearray(movie_bytes(tmp_path / "raw.mrc", frames))
    raw[8] = 3
    (tmp_path / "m.mrc.bz2").write_bytes(bz2.compress(raw))
    movie = open_movie(tmp_path / "m.mrc.bz2")
    np.testing.assert_array_equal(read_frames(movie), frames[:3])
    assert "nz = 3 frames, the file has 5" in movie.metadata.notes[0]


@pytest.mark.parametrize("kind", COMPRESS)
def test_small_files_that_hold_gigabytes(tmp_path, kind):
    """Only what the header asks for is kept."""
    raw = movie_bytes(tmp_path / "raw.mrc", np.zeros((1, 8, 8), np.int16))
    many = COMPRESS[kind](bytes(1 << 26))
    head = COMPRESS[kind](raw)
    path = tmp_path / f"m.mrc.{kind}"
    path.write_bytes(head + many * 4)
    tracemalloc.start()
    movie = open_movie(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert movie.shape == (1, 8, 8) and peak < (1.5e8 if kind == "zst" else 2e7)


def test_archives_are_named(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("m.mrc", b"x" * 99)
    with pytest.raises(InputError, match=r"found a \.zip archive; unzip it first"):
        open_movie(tmp_path / "m.zip")
