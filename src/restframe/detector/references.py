"""Gain and dark references: read, oriented as the camera needs it, and enlarged to the movie where that is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import Array, BoolArray, FloatArray
from restframe.detector.listed import read_defect_file, read_defect_map
from restframe.detector.orientation import (
    CLEAR_DEVIATIONS,
    SUPER_RESOLUTION_FACTORS,
    Turn,
    correlations,
    enlargement_between,
    reorient,
)
from restframe.detector.tfs import listed_in_gain
from restframe.errors import DetectorError, InputError, ReferenceInputError, SettingsError
from restframe.messages import Message, Setting
from restframe.movie import open_movie
from restframe.settings import Detector

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels

MAX_COUNTS = 1e12  # of a pixel: squares of larger values overflow


MAX_GAIN_RATIO = 100.0  # between the gain of a pixel and the median of all


@dataclass(frozen=True, eq=False)
class References:
    """What corrects a raw frame: (raw - dark) * gain. Arrays are (h, w), or None where there is no such reference."""

    gain: Array | None = None  # float32, 0 where the pixel is known to be bad; it may lie on a GPU
    enlarged: int = 1  # each pixel of the gain that was given is repeated so many times along x and y
    dark: FloatArray | None = None  # float32
    bad: BoolArray | None = None  # listed as defects
    notes: tuple[str, ...] = ()  # sentences for the user

    def on_device(self, kernels: Kernels) -> References:
        """The same with the gain where the kernels work, if there is room: a batch brings it there once."""
        try:
            return self if self.gain is None else replace(self, gain=kernels.to_device(self.gain))
        except Exception as error:
            if not kernels.is_out_of_memory(error):
                raise
            return self

    def on_host(self, kernels: Kernels) -> References:
        """The same with the gain in memory of the host; ``kernels``: those of the device where it may lie."""
        return self if self.gain is None else replace(self, gain=kernels.to_host(self.gain))


def load_references(
    detector: Detector,
    shape: tuple[int, int],
    header_gain: FloatArray | None = None,
    make_total: Callable[[], FloatArray] | None = None,
) -> References:
    """Read the references of a camera for frames of ``shape`` (h, w).

    ``header_gain``: the gain in the movie's header, used where no other is given. ``make_total`` returns the sum of
    some frames, (h, w); it is called only when the gain does not fit.

    Gain and dark are rotated and then flipped. The gain is then inverted if asked for. Each of its pixels is repeated
    2 x 2 or 4 x 4 times where that makes it fit (super-resolution). Defects that a .gain file lists are turned with
    the gain; other defects are those of the frames as they are. A dark of another size is left out, as MotionCor2
    does, and a note says so.

    Raises `InputError` for a file that cannot be read, `DetectorError` for a wrong size, an empty gain or a wrong list
    of defects, `SettingsError` for an unknown rotation or flip.
    """
    notes: list[str] = []
    if detector.gain is None and header_gain is not None:
        detector = replace(detector, gain=header_gain)
        notes.append("Gain reference: that in the movie's header.")
    gain, factor = _load_gain(detector, shape, make_total, notes)
    dark = _load_dark(detector, shape, gain is not None, notes)
    bad = listed_defects(detector, shape)
    if bad is not None:
        _check_listed_defects(bad)
        notes.append(f"Listed defects: {int(bad.sum())} pixels.")
    return References(gain, factor, dark, bad, tuple(notes))


def _load_gain(
    detector: Detector, shape: tuple[int, int], make_total: Callable[[], FloatArray] | None, notes: list[str]
) -> tuple[FloatArray | None, int]:
    """The gain as frames of ``shape`` (h, w) need it, and how many times it was enlarged; appends to ``notes``."""
    if detector.gain is None:
        return None, 1
    image = read_reference(detector.gain, "gain")
    if not isinstance(detector.gain, np.ndarray):
        known = listed_in_gain(detector.gain, (image.shape[0], image.shape[1]))
        if known is not None:
            image[known] = 0
            notes.append(f"Defects listed in the gain reference: {int(known.sum())} pixels.")
        image_count = open_movie(Path(detector.gain)).shape[0]
        if image_count > 1:
            name = _reference_name(detector.gain, "gain")
            notes.append(f"Warning: {name} holds {image_count} images; the first one is used.")
    gain = orient(image, detector.rot_gain, detector.flip_gain, detector.inv_gain)
    outliers = far_from_median(gain)
    if outliers.any():
        gain[outliers] = 0
        notes.append(
            f"Warning: {int(outliers.sum())} pixels of the gain reference are more than {MAX_GAIN_RATIO:g} times above "
            "or below its median, or have another sign: they are taken for bad pixels."
        )
    factor = enlargement_between(gain.shape, shape)
    if not factor:
        raise _gain_does_not_fit(detector, image, gain.shape, shape, make_total)
    if factor > 1:
        size, frame_size = _size_text(gain.shape), _size_text(shape)
        notes.append(f"Gain of {size} pixels enlarged {factor} times to the frames' {frame_size}.")
        gain = gain.repeat(factor, 0).repeat(factor, 1)
    if not gain.any():
        name = _reference_name(detector.gain, "gain")
        raise DetectorError(f"{name} is zero everywhere. Give the camera's gain reference.")
    if gain.max() > MAX_COUNTS:
        name = _reference_name(detector.gain, "gain")
        raise DetectorError(f"{name} has values up to {gain.max():.3g}. Give the camera's gain reference.")
    return gain, factor


def far_from_median(gain: FloatArray) -> BoolArray:
    """Mask (h, w) of pixels whose gain no camera has; 0, which marks a bad pixel, is none of them."""
    known = gain != 0
    if not known.any():
        return np.zeros_like(known)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        ratio = gain.astype(np.float64) / np.median(gain[known].astype(np.float64))
    outliers: BoolArray = known & ~((ratio >= 1 / MAX_GAIN_RATIO) & (ratio <= MAX_GAIN_RATIO))
    return outliers


def _load_dark(detector: Detector, shape: tuple[int, int], with_gain: bool, notes: list[str]) -> FloatArray | None:
    """The dark reference for frames of ``shape`` (h, w), None where nothing is subtracted; appends to ``notes``."""
    if detector.dark is None:
        return None
    dark = orient(read_reference(detector.dark, "dark"), detector.rot_gain, detector.flip_gain)
    if not dark.any():  # counting cameras have none, and acquisition programs make one of any size
        notes.append("The dark reference is zero everywhere: nothing is subtracted.")
        return None
    if abs(dark).max() > MAX_COUNTS:
        name = _reference_name(detector.dark, "dark")
        raise DetectorError(
            f"{name} has values up to {abs(dark).max():.3g}, which are no counts. Give the camera's dark."
        )
    if dark.shape != shape:
        notes.extend(_dark_left_out(dark.shape, shape, with_gain))
        return None
    return dark


def _check_listed_defects(bad: BoolArray) -> None:
    """Raise DetectorError where more than half of the pixels are listed."""
    if 2 * bad.sum() > bad.size:
        raise DetectorError(
            f"{int(bad.sum())} of {bad.size} pixels are listed as defects. Does the map mark the good ones? "
            "Expected 1 where a pixel is bad."
        )


def listed_defects(detector: Detector, shape: tuple[int, int]) -> BoolArray | None:
    """Mask (h, w) of all pixels that the user lists as bad, None if there is no list. Raises as `load_references`."""
    masks = []
    if detector.defect_file is not None:
        masks.append(read_defect_file(detector.defect_file, shape))
    if detector.defect_map is not None:
        masks.append(read_defect_map(detector.defect_map, shape, SUPER_RESOLUTION_FACTORS))
    return np.logical_or.reduce(masks) if masks else None


def read_reference(source: str | os.PathLike[str] | FloatArray, kind: str = "gain") -> FloatArray:
    """A reference as float32 (h, w). Values that are not finite become 0.

    ``source``: an array as it is, an MRC file (its first section as it is), or a TIFF or .gain file (its first page,
    rows reversed). ``kind``: "gain" or "dark", for messages.
    Raises `InputError` for a file that cannot be read, `DetectorError` for an array that is no image.
    """
    if isinstance(source, np.ndarray):
        image = source[0] if source.ndim == 3 and len(source) == 1 else source
        if image.ndim != 2 or image.dtype.kind not in "buif":
            raise DetectorError(
                f"The {kind} reference is an array of shape {source.shape}, {source.dtype}; expected numbers (h, w)."
            )
    else:
        try:
            image = open_movie(Path(source)).read(0)
        except InputError as error:
            raise ReferenceInputError(f"{kind.capitalize()} reference: {error}") from error
    return _zero_where_not_finite(image.astype(np.float32, copy=isinstance(source, np.ndarray)))


def orient(image: FloatArray, rotation: int, flip: int, invert: bool = False) -> FloatArray:
    """``image`` (h, w) rotated, then flipped, then inverted.

    ``rotation``: quarter turns that bring the x axis to the row axis, 0 to 3; ``flip``: 1 rows reversed, 2 columns
    reversed; ``invert``: 1/value, where 0 stays 0. Raises `SettingsError` for other rotations and flips.
    """
    if rotation not in range(4):
        raise SettingsError(Setting("rot_gain", rotation), ": expected 0, 1, 2 or 3 quarter turns.")
    if flip not in range(3):
        raise SettingsError(Setting("flip_gain", flip), ": expected 0 (none), 1 (rows) or 2 (columns).")
    image = reorient(image, rotation, flip)
    if invert:
        with np.errstate(over="ignore"):
            inverse = np.divide(1, image, out=np.zeros_like(image), where=image != 0)
        image = _zero_where_not_finite(inverse)
    return np.ascontiguousarray(image)


def _zero_where_not_finite(image: FloatArray) -> FloatArray:
    """``image``, changed in place."""
    image[~np.isfinite(image)] = 0
    return image


def _dark_left_out(dark_shape: tuple[int, ...], shape: tuple[int, ...], with_gain: bool) -> tuple[str, str]:
    """Notes in MotionCor2's words, which programs look for."""
    reason = "The sizes of Dark and gain references do not match."
    if not with_gain:
        sizes = f"{_size_text(dark_shape)} pixels, the movie's frames are {_size_text(shape)} (x, y)."
        reason = f"The dark reference is {sizes}"
    return f"Warning: {reason}", "   Dark reference has been removed."


def _gain_does_not_fit(
    detector: Detector,
    image: FloatArray,
    gain_shape: tuple[int, ...],
    shape: tuple[int, int],
    make_total: Callable[[], FloatArray] | None,
) -> DetectorError:
    """The error for a gain of the wrong size, with the turn that would make it fit, if there is one.

    ``image``: the gain as it was read; ``gain_shape``: its shape after the turn; ``shape``: (h, w) of the frames.
    """
    advice = Message("Give the gain reference of this camera and mode.")
    if enlargement_between(gain_shape[::-1], shape):
        rotations = sorted((detector.rot_gain + quarter_turns) % 4 for quarter_turns in (1, 3))
        first_rotation = Setting("rot_gain", rotations[0])
        advice = Message("Turned by a quarter it would fit: try ", first_rotation, f" or {rotations[1]}.")
        by_turn: dict[Turn, float] = {}
        chance = 1.0
        if make_total is not None:
            by_turn, chance = correlations(make_total(), orient(image, 0, 0, detector.inv_gain))
        best = max(by_turn, key=lambda turn: by_turn[turn], default=None)
        if best is not None and by_turn[best] > CLEAR_DEVIATIONS * chance:
            turn = Setting("rot_gain", best[0]), " ", Setting("flip_gain", best[1])
            advice = Message("The movie's sum shows it as ", *turn, " would turn it: use those.")
    name = _reference_name(detector.gain, "gain")
    sizes = f"{_size_text(gain_shape)} pixels, the movie's frames are {_size_text(shape)}"
    return DetectorError(f"{name} is {sizes} (x, y). ", advice)


def _reference_name(source: object, kind: str) -> str:
    return f"The {kind} reference" + ("" if isinstance(source, np.ndarray) else f" {source}")


def _size_text(shape: tuple[int, ...]) -> str:
    """Width and height."""
    return f"{shape[1]} x {shape[0]}"
