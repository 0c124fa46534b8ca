"""How much memory a movie needs, and whether its frames can stay there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restframe.errors import SettingsError
from restframe.messages import Setting
from restframe.movie.raw import BLOCK
from restframe.settings import Machine

PROGRAM = 250_000_000  # bytes: interpreter, libraries, compiled loops


@dataclass(frozen=True)
class Room:
    keep: bool  # the raw frames stay in memory; otherwise they are read again in every pass
    block: int  # frames handed out together while they are read
    ahead: bool = False  # another movie of that size fits too


def room(
    shape: tuple[int, int, int],
    dtype: np.dtype,
    factor: int,
    groups: Sequence[tuple[int, int]],
    sums: int,
    machine: Machine,
) -> Room:
    """What fits into ``machine.max_memory`` for frames ``shape`` (t, h, w).

    ``factor``: unbinned pixels in a small one; ``groups``: the frames of each group and their running images; ``sums``:
    images made of them. Raises `SettingsError` when nothing fits.
    """
    t, h, w = shape
    frame = h * w * dtype.itemsize
    kept = PROGRAM + kept_bytes(shape, frame, factor, groups, sums)
    if machine.max_memory == 0 or kept <= machine.max_memory:
        return Room(True, BLOCK, machine.max_memory == 0 or kept + t * frame <= machine.max_memory)
    rest = PROGRAM + working_bytes(shape, factor, groups, sums)
    fitting = (machine.max_memory - rest) // (2 * frame)
    if fitting < 1:
        raise SettingsError(
            Setting("max_memory", machine.max_memory),
            f": this movie needs {(rest + 2 * frame) / 1e9:.2g}GB even when its frames are read again in every pass. "
            "Allow more.",
        )
    return Room(False, min(fitting, BLOCK))


def measuring_bytes(shape: tuple[int, int, int], factor: int) -> int:
    """Bytes beside program and raw frames until the motion is known."""
    t, h, w = shape
    pixels, small = h * w, t * (h // factor) * (w // factor)
    return max(28 * pixels + small, 9 * pixels + 3 * small)


def restoring_bytes(shape: tuple[int, int, int], frame: int, groups: Sequence[tuple[int, int]], sums: int) -> int:
    """Bytes beside the program while sums are made, group by group; ``frame``: bytes of each one that is kept."""
    pixels = shape[1] * shape[2]
    left, made, most = sum(frames for frames, _ in groups), 0, 0.0
    for frames, images in groups:
        while_gathered = left * frame + 4.3 * pixels * (images + made)
        left, made = left - frames, sums
        most = max(most, while_gathered, left * frame + 4.3 * pixels * (images + made + 2))
    return 9 * pixels + int(most)


def kept_bytes(
    shape: tuple[int, int, int], frame: int, factor: int, groups: Sequence[tuple[int, int]], sums: int
) -> int:
    """Bytes beside the program when raw frames of ``frame`` bytes stay in memory, at the stage that needs most."""
    measuring = shape[0] * frame + measuring_bytes(shape, factor)
    return max(measuring, restoring_bytes(shape, frame, groups, sums))


def working_bytes(shape: tuple[int, int, int], factor: int, groups: Sequence[tuple[int, int]], sums: int) -> int:
    """Bytes beside program and raw frames when these are read again in every pass, at the stage that needs most."""
    return max(measuring_bytes(shape, factor), restoring_bytes(shape, 0, groups, sums))
