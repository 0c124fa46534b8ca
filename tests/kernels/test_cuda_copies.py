"""Copies in pieces: the same bytes for any size; they wait for kernels that still run."""

import numpy as np
import pytest
from with_gpu import require_gpu

from restframe.kernels.cuda import Cuda, copies

cupy = require_gpu()
cuda = Cuda(0)

ARRAYS = [((3, 1001, 1009), "f4"), ((9_000_001,), "u1"), ((1501, 1503), "c8"), ((2, 3), "i2"), ((0, 4), "f4")]


@pytest.mark.parametrize(("shape", "dtype"), ARRAYS)
def test_there_and_back(shape, dtype):
    array = np.random.default_rng(1).integers(0, 100, shape).astype(dtype)
    for one in (array, array.T, array[::-1]):
        for there in (cuda.to_device(one), copies.to_device(one)):
            assert there.dtype == dtype and np.array_equal(there.get(), one)
            for back in (cuda.to_host(there), cuda.to_host(there.T).T, copies.to_host(there[::-1])[::-1]):
                assert back.dtype == dtype and np.array_equal(back, one)


def test_copies_wait_for_what_is_computed():
    array = np.random.default_rng(2).normal(size=(2000, 3000)).astype(np.float32)
    slow = cupy.asarray(array)
    for _ in range(200):
        slow += 1
    found = copies.to_host(slow)
    assert np.array_equal(found, slow.get()) and not np.array_equal(found, array)
    del slow
    for _ in range(3):  # memory that is still in use is released and allocated again
        busy = cupy.full(array.shape, 7, np.float32)
        total = sum((busy * k for k in range(50)), start=busy)
        del busy
        sent = copies.to_device(array)
        assert np.array_equal(sent.get(), array) and float(total.max()) == float(total.min()) == 7 * 1226


def test_an_error_of_a_piece_is_raised():
    def fill(buffer, number):
        if number == 1:
            raise OSError("no")
        buffer[:] = 5

    out = cupy.zeros(10, np.uint8)
    with pytest.raises(OSError, match="no"):
        copies.send([out[:5], out[5:]], fill, (0, 1))
    assert out.get().tolist() == 5 * [5] + 5 * [0]
