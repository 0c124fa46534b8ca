"""One pass over the raw frames: every output pixel gathers from each frame where its specimen point was then."""

from __future__ import annotations

import numpy as np

from restframe.detector.calibration import Calibration
from restframe.movie import RawFrames
from restframe.restore import kernel
from restframe.restore.fourier import MARGIN, Size, offset_counts

SPACING = 16  # output pixels between the points where the field is evaluated; linear between


def field_lattice(field, size: tuple[int, int]) -> np.ndarray:
    """Displacement on a lattice over the padded image (h, w): (t, ny, nx, 2) float32, x and y in pixels.

    Point j is output pixel j SPACING - MARGIN.

    Beyond the frame's edge the field is that at the edge: it was measured inside only.
    """
    h, w = field.shape
    ny, nx = (n // SPACING + 2 for n in size)
    y = np.clip(np.arange(ny) * SPACING - MARGIN, 0, h - 1)
    x = np.clip(np.arange(nx) * SPACING - MARGIN, 0, w - 1)
    x, y = np.meshgrid(x, y)
    return np.stack([field(x, y, t) for t in range(field.n_frames)]).astype(np.float32)


def gather(
    kernels, raw: RawFrames, calibration: Calibration, field, coefficients: np.ndarray, size: Size
) -> tuple[np.ndarray, np.ndarray]:
    """Running images sum_t coefficients[r, t] * frame_t(x + field).

    (r, *size.padded) float32, and the sub-pixel offsets that occurred. Every pixel is summed in the order of frames,
    so the blocks in which they come make no difference.
    """
    lattice = field_lattice(field, size.padded)
    inside = lattice[:, 2:-2, 2:-2] if min(lattice.shape[1:3]) > 8 else lattice
    counts = offset_counts(inside.reshape(len(lattice), -1, 2))
    images = kernels.zeros((len(coefficients), *size.padded), np.float32, calibration.gain)
    for part, block in raw.blocks():
        frames = kernels.to_device(block)
        kernels.gather(
            frames,
            calibration.of_frames(part),
            lattice[part],
            SPACING,
            -MARGIN,
            kernel.table(),
            coefficients[:, part],
            images,
        )
    return images, counts
