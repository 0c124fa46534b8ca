"""Text of movies that are worked on at once."""

import threading
from itertools import permutations

import pytest

from restframe.batch.blocks import Blocks


def test_later_lines_wait():
    out = []
    blocks = Blocks(out.append)
    blocks.writer_for(1)("b1")
    blocks.writer_for(0)("a1")
    assert out == ["a1"]
    blocks.close(0)
    assert out == ["a1", "b1"]
    blocks.writer_for(1)("b2")
    assert out == ["a1", "b1", "b2"]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_any_order_of_ends(order):
    out = []
    blocks = Blocks(out.append)
    for n in order:
        blocks.writer_for(n)(f"{n} one")
        blocks.writer_for(n)(f"{n} two")
        blocks.close(n)
    assert out == [f"{n} {word}" for n in range(4) for word in ("one", "two")]


def test_threads():
    out = []
    blocks = Blocks(out.append)

    def work(n):
        for i in range(200):
            blocks.writer_for(n)(f"{n} {i}")
        blocks.close(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert out == [f"{n} {i}" for n in range(6) for i in range(200)]
