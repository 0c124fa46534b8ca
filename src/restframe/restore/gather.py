"""One pass over the raw frames: every output pixel gathers from each frame where its specimen point was then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from restframe.detector.calibration import Calibration
from restframe.movie import RawFrames
from restframe.restore import kernel
from restframe.restore.fourier import BINS, MARGIN, Size
from restframe.restore.placement import Placement

SPACING = 16  # output pixels between the points where the field is evaluated; linear between


def lattice(kernels, field, place: Placement, size: tuple[int, int]) -> np.ndarray:
    """From output pixels to their places on the detector in every frame, on a lattice over the padded image (h, w).

    (t, ny, nx, 2) float32, x and y in pixels: detector position less output position. Point j is output pixel
    j SPACING - MARGIN. Beyond the frame's edge the field is that at the edge: it was measured inside only.
    """
    h, w = field.shape
    ny, nx = (n // SPACING + 2 for n in size)
    x, y = np.meshgrid(np.arange(nx) * SPACING - MARGIN, np.arange(ny) * SPACING - MARGIN)
    at_x, at_y = place(x, y)
    moved = np.stack([at_x - x, at_y - y], -1)
    at_x, at_y = np.clip(at_x, 0, w - 1), np.clip(at_y, 0, h - 1)
    return kernels.displacement_grid(field, at_x, at_y, moved)


@dataclass(frozen=True, eq=False)
class ResamplingMap:
    """From output pixels to their places in every frame, and what the resampling there does."""

    place: Placement
    size: Size
    steps: np.ndarray  # `lattice`, where the kernels work
    counts: np.ndarray  # (t, BINS, BINS): how often each sub-pixel offset occurs in each frame


def make_resampling_map(kernels, field, place: Placement, size: Size) -> ResamplingMap:
    steps = lattice(kernels, field, place, size.padded)
    inside = steps[:, 2:-2, 2:-2] if min(steps.shape[1:3]) > 8 else steps
    return ResamplingMap(place, size, steps, kernels.subpixel_histogram(inside.reshape(len(steps), -1, 2), BINS))


def gather(kernels, raw: RawFrames, calibration: Calibration, way: ResamplingMap, coefficients: np.ndarray):
    """Running images sum_t coefficients[r, t] * frame_t(place + field), (r, *size.padded) float32.

    Every pixel is summed in the order of frames, so the blocks in which they come make no difference. Frames all whose
    coefficients are zero may be left out.
    """
    images = kernels.zeros((len(coefficients), *way.size.padded), np.float32)
    for part, block in raw.blocks_with(np.flatnonzero(coefficients.any(0))):
        _add(kernels, kernels.to_device(block), calibration, way, part, coefficients[:, part], images)
    return images


def gather_groups(kernels, raw: RawFrames, calibration: Calibration, way: ResamplingMap, group: int) -> Iterator[tuple]:
    """One after the other in one pass, sums of ``group`` frames that follow each other; the last may be of fewer.

    Which frames, a slice, and their running image, (*size.padded) float32; one of them is in memory.
    """
    image = None
    for part, block in raw.blocks():
        frames = kernels.to_device(block)
        for t in range(part.start, part.stop):
            if image is None:
                image = kernels.zeros((1, *way.size.padded), np.float32)
            one = frames[t - part.start : t - part.start + 1]
            _add(kernels, one, calibration, way, slice(t, t + 1), np.ones((1, 1)), image)
            if t % group == group - 1 or t == len(raw) - 1:
                yield slice(t - t % group, t + 1), image[0]
                image = None


def _add(
    kernels, frames, calibration: Calibration, way: ResamplingMap, part: slice | np.ndarray, weights: np.ndarray, images
) -> None:
    where = way.steps[part], SPACING, -MARGIN
    kernels.gather(frames, calibration.of_frames(part), *where, kernel.table(), weights, images)
