import threading
from itertools import pairwise

import numpy as np
import pytest
import tifffile

from restframe import pages
from restframe.errors import InputError
from restframe.movie import ArrayMovie, RawFrames, open_movie


def counts(t=7, h=9, w=11):
    return np.random.default_rng(2).integers(0, 200, (t, h, w)).astype(np.uint8)


@pytest.fixture
def movie(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", counts()[:, ::-1], compression="lzw", photometric="minisblack")
    return open_movie(tmp_path / "m.tif")


def collected(raw, *limits):
    """What the blocks hold, copied as they come, and their sizes."""
    parts, frames = [], []
    for part, block in raw.blocks(*limits):
        assert part.stop - part.start == len(block)
        parts.append(part)
        frames.append(block.copy())
    assert all(a.stop == b.start for a, b in pairwise(parts))
    return np.concatenate(frames), [len(f) for f in frames]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("block", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("keep", [True, False])
def test_every_pass_gives_every_frame_in_order(movie, keep, block, threads):
    raw = RawFrames(movie, None, threads, keep, block)
    for n in range(3):
        frames, sizes = collected(raw)
        np.testing.assert_array_equal(frames, counts())
        assert max(sizes) <= block or (keep and n)
    assert raw.shape == (7, 9, 11) and raw.dtype == np.uint8 and len(raw) == 7


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_some_of_the_used_frames(movie, keep, before):
    raw = RawFrames(movie, range(1, 6), 2, keep, 2)
    if before:
        collected(raw)
    np.testing.assert_array_equal(collected(raw, 1, 4)[0], counts()[2:5])
    np.testing.assert_array_equal(collected(raw, 2)[0], counts()[3:6])
    np.testing.assert_array_equal(collected(raw)[0], counts()[1:6])
    assert list(raw.blocks(3, 3)) == []


class Counted(ArrayMovie):
    """Counts how often frames are read; float64, so that they can't be used as they lie."""

    def read(self, frame, out=None):
        with LOCK:
            READ.append(frame)
        return super().read(frame, out)


LOCK = threading.Lock()
READ: list[int] = []


def test_kept_frames_are_read_once_others_in_every_pass():
    for keep, times in ((True, 1), (False, 3)):
        READ.clear()
        raw = RawFrames(Counted(counts().astype(float)), range(1, 7), 2, keep, 2)
        for _ in range(3):
            collected(raw)
        assert sorted(READ) == sorted(list(range(1, 7)) * times)


def test_no_more_than_two_blocks_when_not_kept():
    """A third block is not begun before the first has been used."""
    READ.clear()
    raw = RawFrames(Counted(counts().astype(float)), None, 1, False, 2)
    blocks = raw.blocks()
    next(blocks)
    next(blocks)
    with LOCK:
        assert max(READ) < 6
    blocks.close()
    assert max(READ) < 6


def test_an_array_is_used_as_it_lies():
    array = counts()
    raw = RawFrames(ArrayMovie(array), range(2, 6))
    ((part, block),) = raw.blocks()
    assert part == slice(0, 4) and np.shares_memory(block, array)
    np.testing.assert_array_equal(block, array[2:6])


@pytest.mark.parametrize("keep", [True, False])
def test_a_damaged_frame_is_named(tmp_path, keep):
    tifffile.imwrite(tmp_path / "m.tif", counts(), compression="lzw", photometric="minisblack", rowsperstrip=9)
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        start = file.pages[4].dataoffsets[0]
    data = bytearray((tmp_path / "m.tif").read_bytes())
    data[start : start + 40] = b"\xff" * 40
    (tmp_path / "m.tif").write_bytes(data)
    raw = RawFrames(open_movie(tmp_path / "m.tif"), None, 2, keep, 2)
    for _ in range(2):  # what was read before the error does not count as read
        with pytest.raises(InputError, match="frame 5"):
            collected(raw)


@pytest.mark.parametrize("keep", [True, False])
def test_frames_of_a_group(movie, keep):
    """What lies in memory comes whole; of what does not, only these are read."""
    raw = RawFrames(movie, range(1, 7), 2, keep, 2)
    collected(raw)
    group = np.array([0, 2, 3])
    parts = list(raw.blocks_including(group))
    if keep:
        ((part, block),) = parts
        assert part == slice(0, 6)
        np.testing.assert_array_equal(block, counts()[1:7])
        raw.release_frames(group)
        np.testing.assert_array_equal(block[[1, 4, 5]], counts()[[2, 5, 6]])
    else:
        assert [list(part) for part, _ in parts] == [[0, 2], [3]]
        for part, block in raw.blocks_including(group):
            np.testing.assert_array_equal(block, counts()[1 + part])


def test_the_arrays_of_others_are_not_given_back():
    array = pages.zeros((3, 100, 100), np.uint8)  # such as `read` returns
    array[:] = counts(3, 100, 100)
    raw = RawFrames(ArrayMovie(array))
    raw.release_frames(np.arange(3))
    np.testing.assert_array_equal(array, counts(3, 100, 100))


@pytest.mark.parametrize("change", ["content", "replaced", "removed", "longer"])
@pytest.mark.parametrize("keep", [True, False])
def test_a_movie_that_changes_between_passes(tmp_path, movie, keep, change):
    path = tmp_path / "m.tif"
    raw = RawFrames(movie, None, 2, keep, 2)
    collected(raw)
    if change == "content":
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    elif change == "replaced":
        (tmp_path / "other.tif").write_bytes(path.read_bytes())
        (tmp_path / "other.tif").replace(path)
    elif change == "removed":
        path.unlink()
    else:
        with open(path, "ab") as file:
            file.write(b"more")
    if keep:  # nothing is read again
        np.testing.assert_array_equal(collected(raw)[0], counts())
        return
    for read in (lambda: collected(raw), lambda: list(raw.blocks_including(np.array([1, 4])))):
        with pytest.raises(InputError, match=r"m\.tif changed while it was read"):
            read()


def test_a_movie_that_changes_during_a_pass(tmp_path, movie):
    raw = RawFrames(movie, None, 2, True, 2)
    with pytest.raises(InputError, match="changed while it was read"):
        for _ in raw.blocks():
            (tmp_path / "m.tif").touch()
