"""Gain and dark references: read, turned as the camera needs it, fitted to the movie."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from restframe.detector.listed import defect_file, defect_map
from restframe.detector.orientation import CLEAR, ENLARGEMENTS, correlations, factor_between, reorient
from restframe.detector.tfs import listed_in_gain
from restframe.errors import DetectorError, InputError, ReferenceInputError, SettingsError
from restframe.kernels.reference import to_host
from restframe.messages import Message, Setting
from restframe.movie import open_movie
from restframe.settings import Detector


@dataclass(frozen=True, eq=False)
class References:
    """What corrects a raw frame: (raw - dark) * gain, each (h, w) float32 or None where there is none."""

    gain: np.ndarray | None = None  # 0 where the pixel is known to be bad; it may lie on a GPU
    enlarged: int = 1  # each pixel of the gain that was given is repeated so many times along x and y
    dark: np.ndarray | None = None
    bad: np.ndarray | None = None  # (h, w) bool: listed as defects
    notes: tuple[str, ...] = ()  # sentences for people

    def on_device(self, kernels) -> References:
        """The same with the gain where the kernels work, if there is room: a batch brings it there once."""
        try:
            return self if self.gain is None else replace(self, gain=kernels.to_device(self.gain))
        except Exception as error:
            if not kernels.is_out_of_memory(error):
                raise
            return self

    def on_host(self) -> References:
        """The same with the gain in memory of the host."""
        return self if self.gain is None else replace(self, gain=to_host(self.gain))


def references(
    detector: Detector,
    shape: tuple[int, int],
    header_gain: np.ndarray | None = None,
    total: Callable[[], np.ndarray] | None = None,
) -> References:
    """The references of a camera for frames of ``shape`` (h, w). ``header_gain``: the movie's own, used if no other is.
    ``total`` gives the sum of some frames, asked for only when the gain does not fit.

    Both are rotated, then flipped; the gain is then inverted if asked for, and each of its pixels repeated 2 x 2 or
    4 x 4 times where that makes it fit (super-resolution). Defects that a .gain file lists turn with it; others are
    those of the frames as they lie. A dark of another size is left out, as MotionCor does; a note says so.
    Raises `InputError` for a file that can't be read, `DetectorError` for a wrong size, an empty gain or a bad list,
    `SettingsError` for an unknown rotation or flip.
    """
    notes: tuple[str, ...] = ()
    gain = dark = None
    factor = 1
    if detector.gain is None and header_gain is not None:
        detector = replace(detector, gain=header_gain)
        notes = ("Gain reference: that in the movie's header.",)
    if detector.gain is not None:
        loaded = load_reference(detector.gain, "gain")
        if not isinstance(detector.gain, np.ndarray):
            known = listed_in_gain(detector.gain, (loaded.shape[0], loaded.shape[1]))
            if known is not None:
                loaded[known] = 0
                notes += (f"Defects listed in the gain reference: {int(known.sum())} pixels.",)
            if (images := open_movie(Path(detector.gain)).shape[0]) > 1:
                notes += (f"Warning: {_name(detector.gain, 'gain')} holds {images} images; the first one is used.",)
        gain = orient(loaded, detector.rot_gain, detector.flip_gain, detector.inv_gain)
        factor = factor_between(gain.shape, shape)
        if not factor:
            raise _does_not_fit(detector, loaded, gain.shape, shape, total)
        if factor > 1:
            notes += (f"Gain of {_size(gain.shape)} pixels enlarged {factor} times to the frames' {_size(shape)}.",)
            gain = gain.repeat(factor, 0).repeat(factor, 1)
        if not gain.any():
            raise DetectorError(f"{_name(detector.gain, 'gain')} is zero everywhere. Give the camera's gain reference.")
    if detector.dark is not None:
        dark = orient(load_reference(detector.dark, "dark"), detector.rot_gain, detector.flip_gain)
        if not dark.any():  # counting cameras have none, and acquisition programs make one of any size
            dark, notes = None, (*notes, "The dark reference is zero everywhere: nothing is subtracted.")
        elif dark.shape != shape:
            notes += _dark_left_out(dark.shape, shape, gain is not None)
            dark = None
    bad = listed_defects(detector, shape)
    if bad is not None:
        if 2 * bad.sum() > bad.size:
            raise DetectorError(
                f"{int(bad.sum())} of {bad.size} pixels are listed as defects. Does the map mark the good ones? "
                "Expected 1 where a pixel is bad."
            )
        notes += (f"Listed defects: {int(bad.sum())} pixels.",)
    return References(gain, factor, dark, bad, notes)


def listed_defects(detector: Detector, shape: tuple[int, int]) -> np.ndarray | None:
    """Mask (h, w) of all that the user lists as bad, None if nothing is. Raises as `references`."""
    masks = []
    if detector.defect_file is not None:
        masks.append(defect_file(detector.defect_file, shape))
    if detector.defect_map is not None:
        masks.append(defect_map(detector.defect_map, shape, ENLARGEMENTS))
    return np.logical_or.reduce(masks) if masks else None


def load_reference(source: str | os.PathLike[str] | np.ndarray, what: str = "gain") -> np.ndarray:
    """A reference as float32 (h, w): an array as it is, an MRC file's first section as it lies, a TIFF's (or .gain's)
    first page with its rows turned round. Values that are not finite become 0.

    Raises `InputError` if the file can't be read, `DetectorError` for an array that is no image.
    """
    if isinstance(source, np.ndarray):
        image = source[0] if source.ndim == 3 and len(source) == 1 else source
        if image.ndim != 2 or image.dtype.kind not in "buif":
            raise DetectorError(
                f"The {what} reference is an array of shape {source.shape}, {source.dtype}; expected numbers (h, w)."
            )
    else:
        try:
            image = open_movie(Path(source)).read(0)
        except InputError as error:
            raise ReferenceInputError(f"{what.capitalize()} reference: {error}") from error
    return _finite(image.astype(np.float32, copy=isinstance(source, np.ndarray)))


def orient(image: np.ndarray, rot: int, flip: int, inv: bool = False) -> np.ndarray:
    """``image`` (h, w) rotated, then flipped, then inverted.

    rot: quarter turns that bring the x axis to the row axis, 0 to 3; flip: 1 rows reversed, 2 columns reversed;
    inv: 1/value, 0 stays 0. Raises `SettingsError` for other values of rot and flip.
    """
    if rot not in range(4):
        raise SettingsError(Setting("rot_gain", rot), ": expected 0, 1, 2 or 3 quarter turns.")
    if flip not in range(3):
        raise SettingsError(Setting("flip_gain", flip), ": expected 0 (none), 1 (rows) or 2 (columns).")
    image = reorient(image, rot, flip)
    if inv:
        with np.errstate(over="ignore"):
            image = _finite(np.divide(1, image, out=np.zeros_like(image), where=image != 0))
    return np.ascontiguousarray(image)


def _finite(image: np.ndarray) -> np.ndarray:
    """``image`` with zeros, put there, where it is not finite."""
    image[~np.isfinite(image)] = 0
    return image


def _dark_left_out(dark: tuple[int, ...], shape: tuple[int, ...], with_gain: bool) -> tuple[str, str]:
    """In MotionCor2's words, which programs look for."""
    what = "The sizes of Dark and gain references do not match."
    if not with_gain:
        what = f"The dark reference is {_size(dark)} pixels, the movie's frames are {_size(shape)} (x, y)."
    return f"Warning: {what}", "   Dark reference has been removed."


def _does_not_fit(
    detector: Detector,
    loaded: np.ndarray,
    found: tuple[int, ...],
    shape: tuple[int, int],
    total: Callable[[], np.ndarray] | None,
) -> DetectorError:
    """The error for a gain of the wrong size, with the turn that would make it fit, if any does."""
    advice = Message("Give the gain reference of this camera and mode.")
    if factor_between(found[::-1], shape):
        turns = sorted((detector.rot_gain + quarter) % 4 for quarter in (1, 3))
        advice = Message("Turned by a quarter it would fit: try ", Setting("rot_gain", turns[0]), f" or {turns[1]}.")
        by_turn, chance = ({}, 1.0) if total is None else correlations(total(), orient(loaded, 0, 0, detector.inv_gain))
        best = max(by_turn, key=lambda turn: by_turn[turn], default=None)
        if best is not None and by_turn[best] > CLEAR * chance:
            turn = Setting("rot_gain", best[0]), " ", Setting("flip_gain", best[1])
            advice = Message("The movie's sum shows it as ", *turn, " would turn it: use those.")
    name = _name(detector.gain, "gain")
    return DetectorError(f"{name} is {_size(found)} pixels, the movie's frames are {_size(shape)} (x, y). ", advice)


def _name(source: object, what: str) -> str:
    return f"The {what} reference" + ("" if isinstance(source, np.ndarray) else f" {source}")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
