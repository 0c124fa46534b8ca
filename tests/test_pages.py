import numpy as np
import pytest

from restframe import pages


@pytest.mark.parametrize("in_order", [True, False])
def test_pieces_are_given_back_and_the_rest_stays(in_order):
    a = pages.zeros((4, 100, 300), np.float32, in_order)
    assert a.shape == (4, 100, 300) and a.dtype == np.float32 and not a.any() and a.flags.writeable
    a[:] = 1
    pages.release_pages(a[2])
    assert (a[[0, 1, 3]] == 1).all()
    assert (a[2] == 1).mean() < 0.1  # what shares a page with its neighbours stays
    pages.release_pages(a[:, 10])  # not in one piece
    assert (a[[0, 1, 3]] == 1).all()


def test_memory_of_others_is_left_alone(tmp_path):
    own = np.ones((3, 5000))
    pages.release_pages(own[1])
    np.save(tmp_path / "a.npy", own)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="c")
    mapped[:] = 2
    pages.release_pages(mapped[1])
    assert (own == 1).all() and (mapped == 2).all()


def test_nothing_and_trim():
    empty = pages.zeros((0, 5), np.int8)
    pages.release_pages(empty)
    assert empty.shape == (0, 5)
    pages.trim_heap()
