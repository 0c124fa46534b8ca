"""One pass over the raw frames: for every output pixel, each frame is sampled where its specimen point was then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import Array, FloatArray, IntArray
from restframe.detector.calibration import Calibration
from restframe.kernels.interface import Resampling
from restframe.movie import RawFrames
from restframe.restore import kernel
from restframe.restore.dose import Plan
from restframe.restore.fourier import SumSpec
from restframe.restore.kernel import OFFSET_BINS
from restframe.restore.placement import Placement
from restframe.restore.sizes import MARGIN_PX, ImageSizes

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels
    from restframe.track.field import MotionField

GRID_SPACING_PX = 16  # output pixels between the points where the field is evaluated; linear in between
LEFT_OUT_POINTS = 2  # grid points at each edge, in the margin, that do not count for the sub-pixel offsets


def make_displacement_grid(
    kernels: Kernels, field: MotionField, placement: Placement, padded: tuple[int, int]
) -> Array:
    """Displacements from output pixels to their positions on the detector in every frame, on a grid over the image.

    (t, ny, nx, 2) float32, where the kernels work: x and y of the detector position less the output position, in
    pixels. Grid point j is output pixel j GRID_SPACING_PX - MARGIN_PX. ``padded``: (h, w) of the padded image. Outside
    the frame the field is that at the frame's edge, as it was measured inside only.
    """
    height, width = field.shape
    rows, columns = (length // GRID_SPACING_PX + 2 for length in padded)
    x, y = np.meshgrid(np.arange(columns) * GRID_SPACING_PX - MARGIN_PX, np.arange(rows) * GRID_SPACING_PX - MARGIN_PX)
    detector_x, detector_y = placement(x, y)
    at_rest = np.stack([detector_x - x, detector_y - y], -1)
    inside_x, inside_y = np.clip(detector_x, 0, width - 1), np.clip(detector_y, 0, height - 1)
    return kernels.displacement_grid(field, inside_x, inside_y, at_rest)


@dataclass(frozen=True, eq=False)
class ResamplingMap:
    """From output pixels to their positions in every frame, and which sub-pixel offsets occur there."""

    placement: Placement
    sizes: ImageSizes
    displacement_grid: Array  # as `make_displacement_grid` returns it
    offset_histograms: FloatArray  # (t, OFFSET_BINS, OFFSET_BINS): how often each sub-pixel offset occurs in each frame

    def spec(self, plan: Plan, calibration: Calibration, frames: slice = slice(None)) -> SumSpec:
        """What the last step needs for sums of all or of some of the frames."""
        mean_counts = calibration.mean_counts[frames].astype(np.float64)
        return SumSpec(plan, self.placement, self.sizes, self.offset_histograms[frames], mean_counts)


def make_resampling_map(kernels: Kernels, field: MotionField, placement: Placement, sizes: ImageSizes) -> ResamplingMap:
    """The map for sums of frames that move by ``field``."""
    grid = make_displacement_grid(kernels, field, placement, sizes.padded)
    inner = slice(LEFT_OUT_POINTS, -LEFT_OUT_POINTS)
    inside = grid[:, inner, inner] if min(grid.shape[1:3]) > 8 else grid
    histograms = kernels.subpixel_histogram(inside.reshape(len(grid), -1, 2), OFFSET_BINS)
    return ResamplingMap(placement, sizes, grid, histograms)


def gather(
    kernels: Kernels, raw: RawFrames, calibration: Calibration, resampling: ResamplingMap, coefficients: FloatArray
) -> Array:
    """Running images sum_t coefficients[r, t] * frame_t(position + displacement), (r, *padded) float32.

    ``coefficients``: (r, t). Every pixel is summed in the order of frames, so the blocks in which they come make no
    difference. Frames of which all coefficients are zero may be left out.
    """
    images = kernels.zeros((len(coefficients), *resampling.sizes.padded), np.float32)
    for part, block in raw.blocks_including(np.flatnonzero(coefficients.any(0))):
        frames = kernels.to_device(block)
        _add_frames(kernels, frames, calibration, resampling, part, coefficients[:, part], images)
    return images


def gather_groups(
    kernels: Kernels, raw: RawFrames, calibration: Calibration, resampling: ResamplingMap, group_size: int
) -> Iterator[tuple[slice, Array]]:
    """In one pass, sums of ``group_size`` successive frames each; the last group may be smaller.

    Yields which frames, and their running image, (*padded) float32. One image is in memory at a time.
    """
    image = None
    for part, block in raw.blocks():
        frames = kernels.to_device(block)
        for frame in range(part.start, part.stop):
            if image is None:
                image = kernels.zeros((1, *resampling.sizes.padded), np.float32)
            single = frames[frame - part.start : frame - part.start + 1]
            this_frame = slice(frame, frame + 1)
            _add_frames(kernels, single, calibration, resampling, this_frame, np.ones((1, 1)), image)
            if frame % group_size == group_size - 1 or frame == len(raw) - 1:
                yield slice(frame - frame % group_size, frame + 1), image[0]
                image = None


def _add_frames(
    kernels: Kernels,
    frames: Array,
    calibration: Calibration,
    resampling: ResamplingMap,
    part: slice | IntArray,
    coefficients: FloatArray,
    images: Array,
) -> None:
    """Add raw ``frames`` (n, h, w), those of ``part``, to the running ``images``; ``coefficients``: (r, n)."""
    grid = resampling.displacement_grid[part]
    positions = Resampling(grid, GRID_SPACING_PX, -MARGIN_PX, kernel.table())
    kernels.gather(frames, calibration.of_frames(part), positions, coefficients, images)
