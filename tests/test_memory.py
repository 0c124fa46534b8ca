import numpy as np
import pytest

from restframe.errors import SettingsError
from restframe.memory import bytes_with_frames, plan_memory
from restframe.settings import Machine

SHAPE = (40, 4096, 4096)
U8 = np.dtype(np.uint8)
GROUPS = [(18, 5), (22, 6)]


def fits(limit):
    return plan_memory(SHAPE, U8, 2, GROUPS, 3, Machine(max_memory=limit))


def test_without_a_limit_frames_are_kept():
    assert fits(0).keep_frames


def test_frames_are_kept_when_there_is_room():
    whole = next(limit for limit in range(10**8, 10**10, 10**7) if _allowed(limit) and fits(limit).keep_frames)
    assert not _allowed(whole - 10**7) or not fits(whole - 10**7).keep_frames
    assert bytes_with_frames(SHAPE, 1, 2, GROUPS, 3) > np.prod(SHAPE)
    assert not fits(whole).fits_another_movie and fits(whole + int(np.prod(SHAPE))).fits_another_movie


def test_groups_of_frames_need_less_memory_than_all_together():
    frame = SHAPE[1] * SHAPE[2]
    assert (
        bytes_with_frames(SHAPE, frame, 2, GROUPS, 3)
        < bytes_with_frames(SHAPE, frame, 2, [(40, 11)], 3) - 4 * 4 * frame
    )


def test_smaller_blocks_when_there_is_little_room():
    least = next(limit for limit in range(10**8, 10**10, 10**6) if _allowed(limit))
    assert fits(least).frames_per_block == 1
    assert fits(least + 2 * 10**8).frames_per_block > 1
    with pytest.raises(SettingsError, match=r"max_memory=50000000: this movie needs .*GB"):
        fits(5 * 10**7)


def _allowed(limit):
    try:
        fits(limit)
    except SettingsError:
        return False
    return True
