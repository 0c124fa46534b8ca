"""Every choice a user can make, one frozen dataclass a concern. The only place where defaults live."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from numbers import Real
from os import PathLike
from typing import NamedTuple

import numpy as np

from restframe.errors import SettingsError

Reference = str | PathLike[str] | np.ndarray | None


class Row(NamedTuple):
    """Of an integration file: consecutive raw frames of equal exposure."""

    frames: int  # how many
    size: int  # of them summed to one fraction
    dose: float = 0.0  # e/A² of one raw frame; 0: as frame_dose says


@dataclass(frozen=True)
class Detector:
    """What is known about the camera: references and defects.

    ``gain`` multiplies, ``dark`` is subtracted before; a path or an array (h, w). Both are rotated, then flipped,
    the gain then inverted. Defects are bad pixels that are known: a text file of rectangles, an image whose odd values
    mark them.
    """

    gain: Reference = None
    dark: Reference = None
    rot_gain: int = 0  # quarter turns: numpy.rot90(gain, -rot_gain) in memory order
    flip_gain: int = 0  # 1: rows reversed, 2: columns reversed
    inv_gain: bool = False
    defect_file: str | PathLike[str] | None = None  # x y w h a line, in memory order
    defect_map: Reference = None  # not rotated or flipped with the gain
    find_defects: bool = True


@dataclass(frozen=True)
class Exposure:
    """What the specimen received and which frames are used."""

    pixel_size: float = 0.0  # A of an unbinned input pixel; 0: unknown
    voltage: float = 300.0  # kV
    frame_dose: float = 0.0  # e/A² of one raw frame; 0: unknown, no dose weighting
    initial_dose: float = 0.0  # e/A² before the first raw frame
    throw: int = 0  # raw frames left out at the start
    trunc: int = 0  # raw frames left out at the end
    integration: str | PathLike[str] | tuple[Row, ...] | None = None  # raw frames to fractions: a file, or its rows
    eer_sampling: int = 1  # pixels of an EER movie: 1, 2 or 3 for 1, 2 or 4 to a side


@dataclass(frozen=True)
class Motion:
    """How motion is measured."""

    align: bool = True  # False: not at all; the plain sum as the frames lie
    patches: tuple[int, int] = (0, 0)  # across x and y; below 2: whole frames only
    iterations: int = 15
    tolerance: float = 0.1  # unbinned pixels
    bfactor: tuple[float, float] = (500.0, 100.0)  # px² of the image whose short side is 2048: whole frame, patches
    group: tuple[int, int] = (1, 1)  # frames aligned together: whole frame, patches
    phase_only: bool = False  # the coarse search by phase correlation
    reference: int = -1  # frame at rest, from 0 among the used ones; below 0: the middle
    weights: str = "data"  # "data": from the FRC of half sums; "bfactor": MotionCor's filter


@dataclass(frozen=True)
class Sums:
    """Which sums are made, of what, and at what size."""

    bin: float = 1.0  # Fourier cropping, >= 1
    crop: tuple[int, int] = (0, 0)  # width and height of the middle that is wanted, unbinned; 0: all
    magnification: tuple[float, float, float] = (1.0, 1.0, 0.0)  # major scale, minor scale, degrees; see -Mag
    sum_range: tuple[float, float] = (3.0, 25.0)  # e/A² of the _DWS sum; (0, 0): none
    split: bool = False  # sums of odd and even frames too
    whole_frame: bool = False  # the plain sum after the motion of the whole frame alone, too
    stack_group: int = 1  # frames that follow each other and are summed to one image of a stack
    during_frame: bool = False  # frequencies that motion during a frame blurs count less in it


@dataclass(frozen=True)
class Machine:
    """Where the work is done."""

    gpus: tuple[int, ...] = ()  # empty: the CPU
    threads: int = 0  # 0: all cores that this process may use
    gpu_memory: float = 0.75  # share of the free GPU memory that raw frames may take; else they are read again
    max_memory: int = 0  # bytes; when the raw frames don't fit, they are read again in every pass; 0: they are kept


@dataclass(frozen=True)
class Settings:
    detector: Detector = field(default_factory=Detector)
    exposure: Exposure = field(default_factory=Exposure)
    motion: Motion = field(default_factory=Motion)
    sums: Sums = field(default_factory=Sums)
    machine: Machine = field(default_factory=Machine)


LEAST = {  # of a number
    "pixel_size": 0, "frame_dose": 0, "initial_dose": 0, "throw": 0, "trunc": 0, "iterations": 0, "tolerance": 0,
    "bin": 1, "stack_group": 1, "threads": 0, "gpu_memory": 0, "max_memory": 0,
}  # fmt: skip
NUMBERS = {"patches": 2, "bfactor": 2, "group": 2, "crop": 2, "sum_range": 2, "magnification": 3}  # how many


def check(name: str, value: object) -> None:
    """Raise SettingsError for a field's value that is no number, or too small a one, or not as many as it takes."""
    if name in LEAST and not (isinstance(value, Real) and LEAST[name] <= float(value) < np.inf):
        raise SettingsError(f"{name}={value!r}: expected a number, {LEAST[name]} or more.")
    if name in NUMBERS:
        many = tuple(value) if isinstance(value, tuple | list | np.ndarray) else ()
        if len(many) != NUMBERS[name] or not all(isinstance(v, Real) and np.isfinite(float(v)) for v in many):
            raise SettingsError(f"{name}={value!r}: expected {NUMBERS[name]} numbers.")


def with_choices(settings: Settings, choices: dict[str, object]) -> Settings:
    """``settings`` with fields replaced by name, whatever class they are in. Raises TypeError for an unknown one,
    SettingsError for a value that can't be (`check`).
    """
    for name, value in choices.items():
        check(name, value)
    for concern in fields(settings):
        own = getattr(settings, concern.name)
        chosen = {f.name: choices[f.name] for f in fields(own) if f.name in choices}
        settings = replace(settings, **{concern.name: replace(own, **chosen)})
    known = {f.name for concern in fields(settings) for f in fields(getattr(settings, concern.name))}
    unknown = sorted(set(choices) - known)
    if unknown:
        raise TypeError(f"unknown setting {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return settings
