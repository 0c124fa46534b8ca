"""Where the pixels of the output lie on the detector: cropped, and stretched to undo anisotropic magnification."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.errors import SettingsError
from restframe.messages import Setting
from restframe.settings import check_magnification

NOTHING = 1e-5  # a stretch by less is none


def stretch(magnification: tuple[float, float, float]) -> np.ndarray:
    """The 2 x 2 matrix, for (x, y), by which an image is stretched to undo anisotropic magnification.

    ``magnification``: major scale, minor scale, angle of the major axis in degrees, as mag_distortion_estimate reports
    them (Grant & Grigorieff, J. Struct. Biol. 192, 204, 2015). Along the major axis the image grows by
    s = major / minor, across it stays. That program draws row 0 at the top and its angles from x towards -y, so the
    axis is (cos angle, -sin angle) in memory order, as in MotionCor2:
    1 + (s - 1) a aᵀ with a = (cos angle, -sin angle). Raises `SettingsError` for a scale that is not above 0.
    """
    check_magnification(magnification)
    major, minor, angle = magnification
    turn = np.deg2rad(angle)
    axis = np.array([np.cos(turn), -np.sin(turn)])
    excess = major / minor - 1
    return np.eye(2) + (excess if abs(excess) >= NOTHING else 0.0) * np.outer(axis, axis)


@dataclass(frozen=True)
class Placement:
    """Output pixel r (unbinned, x and y) lies at ``inverse`` (r + corner - centre) + centre on the detector.

    That is where it lies when nothing moves; what moves is found at that place plus the motion field there.
    """

    shape: tuple[int, int]  # (h, w) of the output, unbinned
    corner: tuple[int, int]  # x, y: where output pixel 0, 0 lies before the stretch
    centre: tuple[float, float]  # x, y on the detector: does not move in the stretch
    inverse: np.ndarray  # (2, 2) of the stretch, for (x, y)

    def __call__(self, x, y) -> tuple[np.ndarray, np.ndarray]:
        """Output positions x, y -> detector positions x, y."""
        (a, b), (c, d) = self.inverse
        x, y = x + (self.corner[0] - self.centre[0]), y + (self.corner[1] - self.centre[1])
        return a * x + b * y + self.centre[0], c * x + d * y + self.centre[1]

    @property
    def stretched(self) -> bool:
        return not np.array_equal(self.inverse, np.eye(2))

    def detector_frequency(self, ky, kx) -> tuple[np.ndarray, np.ndarray]:
        """The frequency on the detector of what has frequency (ky, kx) in the output: ky, kx there.

        A wave exp(i q·p) of the detector is exp(i q·A r) in the output, A the inverse stretch: k = Aᵀq.
        """
        if not self.stretched:
            return ky, kx
        (a, b), (c, d) = np.linalg.inv(self.inverse).T
        return c * kx + d * ky, a * kx + b * ky


def placement(
    shape: tuple[int, int], crop: tuple[int, int] = (0, 0), magnification: tuple[float, float, float] = (1, 1, 0)
) -> Placement:
    """``shape``: (h, w) of a frame; ``crop``: width and height of its middle that is wanted, made even; 0: all of it.

    Raises `SettingsError` for a crop larger than the frame.
    """
    inside, corner = [], []
    for length, wanted in zip(shape[::-1], crop, strict=True):
        if not (wanted == 0 or 2 <= wanted <= length):
            raise SettingsError(
                Setting("crop", crop),
                f": the frames are {shape[1]} x {shape[0]} (x, y). Give 2 pixels or more and no more than these, or "
                "0 for all.",
            )
        kept = 2 * (wanted // 2) if wanted else length
        inside.append(kept)
        corner.append((length - kept) // 2)
    h, w = shape
    return Placement(
        (inside[1], inside[0]), (corner[0], corner[1]), (w / 2, h / 2), np.linalg.inv(stretch(magnification))
    )
