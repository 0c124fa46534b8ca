import numpy as np
import pytest

from restframe.errors import SettingsError
from restframe.memory import room, working_bytes
from restframe.settings import Machine

SHAPE = (40, 4096, 4096)
U8 = np.dtype(np.uint8)


def fits(limit):
    return room(SHAPE, U8, 2, 5, 3, Machine(max_memory=limit))


def test_without_a_limit_frames_are_kept():
    assert fits(0).keep


def test_frames_are_kept_when_there_is_room():
    whole = next(limit for limit in range(10**8, 10**10, 10**7) if _allowed(limit) and fits(limit).keep)
    assert not fits(whole - 10**7).keep
    assert whole > working_bytes(SHAPE, 2, 5, 3) + np.prod(SHAPE)


def test_smaller_blocks_when_there_is_little_room():
    least = next(limit for limit in range(10**8, 10**10, 10**6) if _allowed(limit))
    assert fits(least).block == 1
    assert fits(least + 2 * 10**8).block > 1
    with pytest.raises(SettingsError, match=r"--max-memory 0.05GB: this movie needs .*GB"):
        fits(5 * 10**7)


def _allowed(limit):
    try:
        fits(limit)
    except SettingsError:
        return False
    return True
