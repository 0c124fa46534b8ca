"""What correcting one movie gives."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from restframe.track.field import MotionField


@dataclass(frozen=True)
class PatchShifts:
    """Local motion as logs list it: unbinned pixels, relative to the whole frame's shift and to the first used frame.

    A shift is what is added to a frame's content to bring it to rest: minus the motion field.
    """

    centres: np.ndarray  # (p, 2): x, y of each patch's centre; x runs fastest
    raw: np.ndarray  # (p, t, 2): peak of the patch's own correlation
    fitted: np.ndarray  # (p, t, 2): the field there
    weak: np.ndarray  # (p, t) bool: the patch hardly counted in the fit


@dataclass(frozen=True)
class Result:
    """Images (h, w) float32 at the output's size, None where not asked for; the motion; what was decided and why."""

    sum: np.ndarray
    pixel_size: float  # A of an output pixel; 0: unknown
    field: MotionField
    dose_weighted: np.ndarray | None = None
    dose_weighted_range: np.ndarray | None = None
    odd: np.ndarray | None = None
    even: np.ndarray | None = None
    global_sum: np.ndarray | None = None  # the plain sum without local motion
    patches: PatchShifts | None = None  # None: whole frames only
    # (t, 2) px, relative to the first used frame
    global_shifts: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2)))
    movie_shape: tuple[int, int, int] = (0, 0, 0)  # (t, h, w) of the used frames
    movie_format: str = "array"  # tiff, mrc, eer
    frames: tuple[range, ...] = ()  # numbers of the raw frames, from 0, that each of them sums
    dose: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))  # (t,) e/A² received during each
    # (n, 2) x, y from 0 of the pixels that were filled with the local mean
    bad_pixels: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), int))
    decisions: tuple[str, ...] = ()  # sentences for people
    numbers: dict[str, float] = dataclasses.field(default_factory=dict)  # the same for programs
