import numpy as np
import pytest

from restframe.errors import SettingsError
from restframe.memory import kept_bytes, room
from restframe.settings import Machine

SHAPE = (40, 4096, 4096)
U8 = np.dtype(np.uint8)
GROUPS = [(18, 5), (22, 6)]


def fits(limit):
    return room(SHAPE, U8, 2, GROUPS, 3, Machine(max_memory=limit))


def test_without_a_limit_frames_are_kept():
    assert fits(0).keep


def test_frames_are_kept_when_there_is_room():
    whole = next(limit for limit in range(10**8, 10**10, 10**7) if _allowed(limit) and fits(limit).keep)
    assert not _allowed(whole - 10**7) or not fits(whole - 10**7).keep
    assert kept_bytes(SHAPE, 1, 2, GROUPS, 3) > np.prod(SHAPE)
    assert not fits(whole).ahead and fits(whole + int(np.prod(SHAPE))).ahead


def test_groups_of_frames_need_less_memory_than_all_together():
    frame = SHAPE[1] * SHAPE[2]
    assert kept_bytes(SHAPE, frame, 2, GROUPS, 3) < kept_bytes(SHAPE, frame, 2, [(40, 11)], 3) - 4 * 4 * frame


def test_smaller_blocks_when_there_is_little_room():
    least = next(limit for limit in range(10**8, 10**10, 10**6) if _allowed(limit))
    assert fits(least).block == 1
    assert fits(least + 2 * 10**8).block > 1
    with pytest.raises(SettingsError, match=r"max_memory=50000000: this movie needs .*GB"):
        fits(5 * 10**7)


def _allowed(limit):
    try:
        fits(limit)
    except SettingsError:
        return False
    return True
