"""The motion of the specimen as one smooth field in space, free in time."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from restframe.arrays import FloatArray
from restframe.errors import InputError
from restframe.files import check_regular

if TYPE_CHECKING:
    from restframe.track.uncertainty import FieldUncertainty

Modes: TypeAlias = tuple[tuple[int, int], ...]
"""Degrees (in x, in y) of products of Legendre polynomials. The first is (0, 0), the global motion."""

FORMAT = "restframe motion field 1"
HIGHEST_DEGREE = 4  # total degree of the modes in space, in measuring and in fitting shifts of patches
MAX_DEGREE = 32  # of a mode that is read from a file: values of more are slow to compute
MAX_GRADIENT = 1.0  # change of the displacement per pixel: more folds the image
MAX_SIDE_PX = 1_000_000  # of a frame
GRID_SIDE = 9  # positions along x and y at which motion that is given is checked


def modes_up_to(degree_x: int, degree_y: int, total: int) -> Modes:
    """The products P_i(x) P_j(y), i <= degree_x, j <= degree_y, i + j <= total, ordered by i + j.

    Example: ``modes_up_to(1, 1, 2)`` is ``((0, 0), (1, 0), (0, 1), (1, 1))``.
    """
    degrees = [(i, j) for i in range(degree_x + 1) for j in range(degree_y + 1) if i + j <= total]
    return tuple(sorted(degrees, key=lambda degree: (sum(degree), degree[1])))


def mode_values(modes: Modes, x: ArrayLike, y: ArrayLike, width: int, height: int) -> FloatArray:
    """Legendre products at pixel positions x, y (any equal shape): (modes, *shape), float64.

    The detector spans [-1, 1] in both directions, so the mean of every mode but the first is zero over it.
    """
    scaled_x = (2 * np.asarray(x, float) + 1) / width - 1
    scaled_y = (2 * np.asarray(y, float) + 1) / height - 1
    highest_degree = max((max(mode) for mode in modes), default=0)
    values_x, values_y = legendre_values(scaled_x, highest_degree), legendre_values(scaled_y, highest_degree)
    return np.stack([values_x[degree_x] * values_y[degree_y] for degree_x, degree_y in modes])


def legendre_values(x: FloatArray, highest_degree: int) -> list[FloatArray]:
    """P_0 ... P_highest at ``x``, by Bonnet's recursion.

    numpy.polynomial.legendre.legvander is the same to rounding (1e-15). It is not used because that changes fields in
    their last bits, and sums where a step of the fit is decided by them (by up to 6e-7 px).
    """
    values = [np.ones_like(x), x]
    for degree in range(1, highest_degree):
        values.append(((2 * degree + 1) * x * values[degree] - degree * values[degree - 1]) / (degree + 1))
    return values[: highest_degree + 1]


@dataclass(frozen=True, eq=False)
class MotionField:
    """Displacement of the specimen in every frame, as a smooth function of the position on the detector.

    What is at (x, y) in the corrected sum is at (x, y) + field(x, y, t) in frame t:

        u(x, y, t) = sum_m amplitudes[m, t] P_i(x) P_j(y)

    in unbinned pixels; it is zero everywhere in the reference frame. P are Legendre polynomials on the detector's area;
    mode (0, 0), always the first, is the global motion (the mean over the area). Shifts in logs are minus the field.

    Example: ``field(x=[100.0], y=[200.0])`` is an array (t, 1, 2) of displacements in x and y.
    """

    modes: Modes
    amplitudes: FloatArray  # (modes, t, 2): x, y in unbinned pixels
    shape: tuple[int, int]  # (h, w) of an unbinned frame
    reference: int = 0  # the frame whose displacement is zero, from 0 among the used ones
    uncertainty: FieldUncertainty | None = None  # None: not known, the motion was not measured here

    @property
    def n_frames(self) -> int:
        return int(self.amplitudes.shape[1])

    def __call__(self, x: ArrayLike, y: ArrayLike, frames: int | slice | None = None) -> FloatArray:
        """Displacement in unbinned pixels at positions x, y (equal shapes).

        ``frames`` None: all frames, (t, *shape, 2); a slice: those; a frame number: (*shape, 2).
        """
        values = self.mode_values(x, y)
        amplitudes = self.amplitudes if frames is None else self.amplitudes[:, frames]
        displacement = np.tensordot(amplitudes, values, axes=(0, 0))  # ([t,] 2, *shape)
        return np.moveaxis(displacement, -values.ndim, -1)

    def covariance(
        self,
        x: ArrayLike,
        y: ArrayLike,
        frames: slice | Sequence[int] | None = None,
        relative_to: int | None = None,
    ) -> FloatArray:
        """How the errors of the displacement at positions x, y (equal shapes) go together in time: (*shape, t, t).

        In unbinned pixels², for errors along one axis; those along the other are as large and independent of them. The
        diagonal holds the variance of each frame's displacement less the mean over all frames, or, with
        ``relative_to``, less that of the frame of this number. The root of twice the mean of the diagonal, over tiles
        of the frame, is `Result.stated_error_px`. ``frames``: only these, from 0. Raises `InputError` where errors are
        not known: for motion that was read from a file or interpolated.

            variance = np.diagonal(field.covariance(x, y), axis1=-2, axis2=-1)  # (particles, frames), px²
        """
        if self.uncertainty is None:
            raise InputError("The errors of this motion are not known: it was not measured, or it was interpolated.")
        values = self.mode_values(x, y)
        places = values.reshape(len(self.modes), -1)
        covariance = self.uncertainty.covariance(places, relative_to)
        if frames is not None:
            covariance = covariance[:, frames][:, :, frames]
        return covariance.reshape(*values.shape[1:], *covariance.shape[1:])

    def mode_values(self, x: ArrayLike, y: ArrayLike) -> FloatArray:
        """Each mode at positions x, y (equal shapes): (modes, *shape)."""
        return mode_values(self.modes, x, y, self.shape[1], self.shape[0])

    def impossibility(self) -> str | None:
        """Why this cannot be the motion of a specimen; None if it can.

        It must be finite, smaller than the frame, and change by less than `MAX_GRADIENT` per pixel.
        """
        height, width = self.shape
        if not np.isfinite(self.amplitudes).all():
            return "it is not finite"
        x, y = np.meshgrid(np.linspace(0, width - 1, GRID_SIDE), np.linspace(0, height - 1, GRID_SIDE))
        with np.errstate(over="ignore", invalid="ignore"):
            displacement = self(x, y)
            largest = float(np.abs(displacement).max())
            steps = [np.abs(np.diff(displacement, axis=axis)).max() for axis in (1, 2)]
        if not largest <= max(height, width):
            return f"it moves the image by {largest:.3g} pixels, more than the frame of {width} x {height} has"
        gradient = max(step * GRID_SIDE / side for step, side in zip(steps, (height, width), strict=True))
        if not gradient <= MAX_GRADIENT:
            return f"it changes by {gradient:.3g} pixels per pixel, and {MAX_GRADIENT:g} or more would fold the image"
        return None

    def relative_to(self, frame: int) -> MotionField:
        """The same motion with ``frame`` as the reference frame."""
        frame = min(max(frame, 0), self.n_frames - 1)
        return replace(self, amplitudes=self.amplitudes - self.amplitudes[:, frame : frame + 1], reference=frame)

    def global_displacement(self) -> FloatArray:
        """Displacement of the frame as a whole (mean over its area), (t, 2), unbinned pixels."""
        return np.asarray(self.amplitudes[0])

    def global_only(self) -> MotionField:
        """The global motion, everywhere."""
        return replace(self, modes=self.modes[:1], amplitudes=self.amplitudes[:1], uncertainty=None)

    @staticmethod
    def at_rest(n_frames: int, shape: tuple[int, int]) -> MotionField:
        """No motion in frames of ``shape`` (h, w)."""
        return MotionField(((0, 0),), np.zeros((1, n_frames, 2)), shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, for JSON; nothing is rounded."""
        return {
            "format": FORMAT,
            "shape": list(self.shape),
            "reference": self.reference,
            "modes": [list(mode) for mode in self.modes],
            "amplitudes": self.amplitudes.tolist(),
        }

    @staticmethod
    def from_dict(content: dict[str, Any]) -> MotionField:
        """The inverse of `to_dict`. Raises ValueError, KeyError or TypeError for anything else."""
        if content["format"] != FORMAT:
            raise ValueError(f"format is {content['format']!r}, expected {FORMAT!r}")
        modes = tuple((int(degree_x), int(degree_y)) for degree_x, degree_y in content["modes"])
        if not all(0 <= degree <= MAX_DEGREE for mode in modes for degree in mode):
            raise ValueError(f"modes of degrees outside 0 to {MAX_DEGREE}")
        amplitudes = np.array(content["amplitudes"], float)
        if modes[:1] != ((0, 0),):
            raise ValueError("the first mode is not that of global motion, (0, 0)")
        if amplitudes.ndim != 3 or amplitudes.shape[::2] != (len(modes), 2) or not amplitudes.size:
            raise ValueError(f"amplitudes of shape {amplitudes.shape} for {len(modes)} modes")
        if not np.isfinite(amplitudes).all():
            raise ValueError("amplitudes that are not finite")
        height, width = (int(length) for length in content["shape"])
        reference = int(content["reference"])
        if not (0 < height <= MAX_SIDE_PX and 0 < width <= MAX_SIDE_PX and 0 <= reference < amplitudes.shape[1]):
            raise ValueError(f"shape {content['shape']} or reference {content['reference']} is impossible")
        return MotionField(modes, amplitudes, (height, width), reference)

    def save(
        self,
        path: str | PathLike[str],
        movie: str | PathLike[str] = "",
        pixel_size: float = 0.0,
        frame_dose: float = 0.0,
        voltage: float = 0.0,
    ) -> None:
        """Write the motion to a file whose format the end of its name says.

        ``.star``: for RELION's polishing, which also needs the path of the ``movie`` and its ``pixel_size`` (A),
        ``frame_dose`` (e/A²) and ``voltage`` (kV); 0: left out. Its frames are those of the field. ``.aln``: as
        MotionCor reads it, with the exact field as a comment. Other names: JSON, which `load` reads back exactly.
        `restframe.read_motion` reads all of them. Raises `OutputError`.

            field.save("movie.star", movie="movies/movie.tif", pixel_size=0.85, frame_dose=1.2, voltage=300)
        """
        from restframe.motion_files import StarMovie, write_motion

        write_motion(self, path, StarMovie(os.fspath(movie), pixel_size, frame_dose, voltage))

    @staticmethod
    def load(path: str | PathLike[str]) -> MotionField:
        """Read what `save` wrote. Raises `InputError` if that fails."""
        check_regular(path)
        try:
            return MotionField.from_dict(json.loads(Path(path).read_text(encoding="ascii")))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
            raise InputError(f"{path} holds no motion field ({error}). Expected a file of MotionField.save.") from error
