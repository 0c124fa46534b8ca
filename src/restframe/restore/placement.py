"""Where the pixels of the output lie on the detector: cropped, and stretched to undo anisotropic magnification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import AnyArray, FloatArray
from restframe.errors import SettingsError
from restframe.messages import Setting
from restframe.settings import check_magnification

MIN_STRETCH = 1e-5  # a smaller stretch is ignored


def stretch_matrix(magnification: tuple[float, float, float]) -> FloatArray:
    """The 2 x 2 matrix, for (x, y), by which an image is stretched to undo anisotropic magnification.

    ``magnification``: major scale, minor scale, angle of the major axis in degrees, as mag_distortion_estimate reports
    them (Grant & Grigorieff, J. Struct. Biol. 192, 204, 2015). Along the major axis the image grows by s = major /
    minor; across it nothing changes. That program draws row 0 at the top and its angles from x towards -y,
    so the axis is a = (cos angle, -sin angle) in memory order, as in MotionCor2. The matrix is 1 + (s - 1) a aᵀ.
    Raises `SettingsError` for a scale that is not above 0.
    """
    check_magnification(magnification)
    major, minor, angle = magnification
    radians = np.deg2rad(angle)
    axis = np.array([np.cos(radians), -np.sin(radians)])
    excess = major / minor - 1
    return np.eye(2) + (excess if abs(excess) >= MIN_STRETCH else 0.0) * np.outer(axis, axis)


@dataclass(frozen=True, eq=False)
class Placement:
    """The output pixel r (unbinned, x and y) lies at ``inverse`` (r + corner - centre) + centre on the detector.

    This is its position without motion. With motion, the motion field at that position is added.
    """

    shape: tuple[int, int]  # (h, w) of the output, unbinned
    corner: tuple[int, int]  # x, y: where output pixel (0, 0) lies before the stretch
    centre: tuple[float, float]  # x, y on the detector: does not move in the stretch
    inverse: FloatArray  # (2, 2) inverse of the stretch, for (x, y)

    def __call__(self, x: AnyArray, y: AnyArray) -> tuple[FloatArray, FloatArray]:
        """Output positions x, y -> detector positions x, y."""
        (xx, xy), (yx, yy) = self.inverse
        x, y = x + (self.corner[0] - self.centre[0]), y + (self.corner[1] - self.centre[1])
        return xx * x + xy * y + self.centre[0], yx * x + yy * y + self.centre[1]

    @property
    def stretched(self) -> bool:
        return not np.array_equal(self.inverse, np.eye(2))

    def detector_frequency(self, ky: FloatArray, kx: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The frequency on the detector, ky and kx, of a wave with frequency (ky, kx) in the output.

        A wave exp(i q·p) on the detector is exp(i q·A r) in the output, A the inverse stretch: k = Aᵀq.
        """
        if not self.stretched:
            return ky, kx
        (xx, xy), (yx, yy) = np.linalg.inv(self.inverse).T
        return yx * kx + yy * ky, xx * kx + xy * ky


def make_placement(
    shape: tuple[int, int], crop: tuple[int, int] = (0, 0), magnification: tuple[float, float, float] = (1, 1, 0)
) -> Placement:
    """The placement of an output that is the middle of frames of ``shape`` (h, w).

    ``crop``: width and height of the middle, made even; 0: all of it. ``magnification``: as for `stretch_matrix`.
    Raises `SettingsError` for a crop larger than the frame.
    """
    lengths, corner = [], []
    for length, wanted in zip(shape[::-1], crop, strict=True):
        if not (wanted == 0 or 2 <= wanted <= length):
            raise SettingsError(
                Setting("crop", crop),
                f": the frames are {shape[1]} x {shape[0]} (x, y). Give 2 pixels or more and no more than these, or "
                "0 for all.",
            )
        output_length = 2 * (wanted // 2) if wanted else length
        lengths.append(output_length)
        corner.append((length - output_length) // 2)
    height, width = shape
    inverse = np.linalg.inv(stretch_matrix(magnification))
    return Placement((lengths[1], lengths[0]), (corner[0], corner[1]), (width / 2, height / 2), inverse)
