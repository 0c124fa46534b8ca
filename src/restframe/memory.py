"""How much memory a movie needs, and whether its frames can stay there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.errors import SettingsError
from restframe.movie.raw import BLOCK
from restframe.settings import Machine

PROGRAM = 350_000_000  # bytes: interpreter, libraries, compiled loops


@dataclass(frozen=True)
class Room:
    keep: bool  # the raw frames stay in memory; otherwise they are read again in every pass
    block: int  # frames handed out together while they are read
    ahead: bool = False  # another movie of that size fits too


def room(shape: tuple[int, int, int], dtype: np.dtype, factor: int, images: int, sums: int, machine: Machine) -> Room:
    """What fits into ``machine.max_memory`` for frames ``shape`` (t, h, w).

    ``factor``: unbinned pixels in a small one; ``images``: running images; ``sums``: images made of them.
    Raises `SettingsError` when nothing fits.
    """
    t, h, w = shape
    frame = h * w * dtype.itemsize
    rest = PROGRAM + working_bytes(shape, factor, images, sums)
    if machine.max_memory == 0 or rest + t * frame <= machine.max_memory:
        return Room(True, BLOCK, machine.max_memory == 0 or rest + 2 * t * frame <= machine.max_memory)
    fitting = (machine.max_memory - rest) // (2 * frame)
    if fitting < 1:
        raise SettingsError(
            f"--max-memory {machine.max_memory / 1e9:.3g}GB: this movie needs {(rest + 2 * frame) / 1e9:.2g}GB even "
            "when its frames are read again in every pass. Allow more."
        )
    return Room(False, min(fitting, BLOCK))


def working_bytes(shape: tuple[int, int, int], factor: int, images: int, sums: int) -> int:
    """Bytes beside program and raw frames, at the stage that needs most."""
    t, h, w = shape
    pixels, small = h * w, t * (h // factor) * (w // factor)
    survey = 28 * pixels + small
    track = 9 * pixels + 4 * small
    restore = 9 * pixels + int(4.3 * pixels * (images + sums + 4))
    return max(survey, track, restore)
