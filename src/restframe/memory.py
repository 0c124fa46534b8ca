"""How much memory a movie needs, and whether its frames can stay in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from restframe.errors import SettingsError
from restframe.messages import Setting
from restframe.movie.movie import DataType
from restframe.movie.raw import FRAMES_PER_BLOCK
from restframe.settings import Machine

PROGRAM_BYTES = 250_000_000  # interpreter, libraries, compiled loops
MEASURING_BYTES_PER_BINNED_PIXEL = 16  # of every frame while motion is measured, on frames below about 1000 pixels
IMAGE_BYTES_PER_PIXEL = 4.3  # of a running image or a finished sum: float32 on a padded frame

FrameGroup = tuple[int, int]
"""Frames of a group that is summed together, and the running images of that group."""


@dataclass(frozen=True)
class MemoryPlan:
    """How the raw frames of a movie are held."""

    keep_frames: bool  # the raw frames stay in memory; otherwise they are read again in every pass
    frames_per_block: int  # frames handed out together while they are read
    fits_another_movie: bool = False  # the frames of another movie of that size fit into memory too


def plan_memory(
    shape: tuple[int, int, int],
    dtype: DataType,
    binning: int,
    groups: Sequence[FrameGroup],
    sum_count: int,
    machine: Machine,
) -> MemoryPlan:
    """How frames of ``shape`` (t, h, w) fit into ``machine.max_memory`` bytes (0: no limit).

    ``binning``: unbinned pixels along the side of a pixel of the binned frames; ``sum_count``: images made of the
    groups. Raises `SettingsError` if even two frames at a time do not fit.
    """
    frame_count, height, width = shape
    frame_bytes = height * width * dtype.itemsize
    limit = machine.max_memory
    needed_bytes = PROGRAM_BYTES + bytes_with_frames(shape, frame_bytes, binning, groups, sum_count)
    if limit == 0 or needed_bytes <= limit:
        return MemoryPlan(True, FRAMES_PER_BLOCK, limit == 0 or needed_bytes + frame_count * frame_bytes <= limit)
    other_bytes = PROGRAM_BYTES + bytes_without_frames(shape, binning, groups, sum_count)
    fitting_frames = (limit - other_bytes) // (2 * frame_bytes)
    if fitting_frames < 1:
        raise SettingsError(
            Setting("max_memory", limit),
            f": this movie needs {(other_bytes + 2 * frame_bytes) / 1e9:.2g}GB even when its frames are read again in "
            "every pass. Allow more.",
        )
    return MemoryPlan(False, min(fitting_frames, FRAMES_PER_BLOCK))


def measuring_bytes(shape: tuple[int, int, int], binning: int) -> int:
    """Bytes, besides program and raw frames, that are needed until the motion is known."""
    frame_count, height, width = shape
    pixel_count = height * width
    binned_pixel_count = frame_count * (height // binning) * (width // binning)
    return max(28 * pixel_count + binned_pixel_count, 9 * pixel_count + 3 * binned_pixel_count)


def measurable_frames(limit: int, pixel_count: int, binned_pixel_count: int) -> int:
    """How many frames the motion can be measured on within ``limit`` bytes; 0 or less: not even one."""
    return (limit - PROGRAM_BYTES - 28 * pixel_count) // (MEASURING_BYTES_PER_BINNED_PIXEL * binned_pixel_count)


def restoring_bytes(shape: tuple[int, int, int], frame_bytes: int, groups: Sequence[FrameGroup], sum_count: int) -> int:
    """Bytes, besides the program, that are needed while sums are made, group by group.

    ``frame_bytes``: bytes of each raw frame that is kept in memory.
    """
    pixel_count = shape[1] * shape[2]
    image_bytes = IMAGE_BYTES_PER_PIXEL * pixel_count
    remaining_frames, finished_images, largest_bytes = sum(frames for frames, _ in groups), 0, 0.0
    for frames, running_images in groups:
        gathering_bytes = remaining_frames * frame_bytes + image_bytes * (running_images + finished_images)
        remaining_frames, finished_images = remaining_frames - frames, sum_count
        finishing_bytes = remaining_frames * frame_bytes + image_bytes * (running_images + finished_images + 2)
        largest_bytes = max(largest_bytes, gathering_bytes, finishing_bytes)
    return 9 * pixel_count + int(largest_bytes)


def bytes_with_frames(
    shape: tuple[int, int, int], frame_bytes: int, binning: int, groups: Sequence[FrameGroup], sum_count: int
) -> int:
    """Bytes, besides the program, at the stage that needs most if raw frames of ``frame_bytes`` stay in memory."""
    measuring = shape[0] * frame_bytes + measuring_bytes(shape, binning)
    return max(measuring, restoring_bytes(shape, frame_bytes, groups, sum_count))


def bytes_without_frames(
    shape: tuple[int, int, int], binning: int, groups: Sequence[FrameGroup], sum_count: int
) -> int:
    """Bytes, besides program and raw frames, at the stage that needs most if frames are read again in every pass."""
    return max(measuring_bytes(shape, binning), restoring_bytes(shape, 0, groups, sum_count))
