"""Parts of a file, read from any thread, with and without the functions that only Unix has."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from restframe.movie.files import read_bytes, shared_reader


@pytest.mark.parametrize("with_preadv", [True, False])
def test_threads_share_a_file(tmp_path, monkeypatch, with_preadv):
    if not with_preadv:
        monkeypatch.delattr(os, "preadv", raising=False)
    content = np.random.default_rng(0).integers(0, 256, 100_003, np.uint8)
    path = tmp_path / "counts.bin"
    path.write_bytes(content.tobytes())
    starts = range(0, len(content), 777)

    def part(start: int) -> np.ndarray:
        array = np.zeros(777, np.uint8)
        return array[: read(array, start)]  # the last one is short

    with shared_reader(path) as read, ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(part, starts))
    np.testing.assert_array_equal(np.concatenate(parts), content)


def test_missing_bytes_are_an_error(tmp_path):
    path = tmp_path / "short.bin"
    path.write_bytes(b"12345")
    assert read_bytes(path, 1, 4) == b"2345"
    with pytest.raises(OSError, match="2 bytes are missing"):
        read_bytes(path, 2, 5)
