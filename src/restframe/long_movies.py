"""Movies of very many frames: motion is measured on sums of frames that follow each other, and interpolated.

Measuring takes memory for every frame, and time that grows faster than their number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from restframe import memory
from restframe.arrays import FloatArray
from restframe.messages import Message, Setting
from restframe.movie.fractions import Fractions
from restframe.output.raw_time import field_at, interpolated, middles
from restframe.result import PatchShifts
from restframe.settings import Machine, Motion
from restframe.track.measure import Measured

MAX_MEASURED_FRAMES = 512
MIN_MEASURED_FRAMES = 24  # whatever the limit of memory


def frames_per_sum(shape: tuple[int, int, int], binning: int, machine: Machine) -> int:
    """How many frames that follow each other are summed for measuring; 1: none. ``shape``: (t, h, w) of the frames."""
    frame_count, height, width = shape
    most = MAX_MEASURED_FRAMES
    if machine.max_memory and not machine.gpus:
        binned_pixels = (height // binning) * (width // binning)
        fitting = memory.measurable_frames(machine.max_memory, height * width, binned_pixels)
        most = min(most, max(fitting, MIN_MEASURED_FRAMES))
    return -(-frame_count // most)


def notice(frames: int, by_memory: Setting | None) -> Message:
    """The sentence for stdout and the record. ``by_memory``: the setting that makes the sums necessary, if one does."""
    reason: tuple[str | Setting, ...] = (", as ", by_memory, " asks,") if by_memory else ()
    return Message(f"Motion is measured on sums of {frames} frames", *reason, " and interpolated.")


def summed_fractions(used: Fractions, size: int) -> Fractions:
    """``size`` used frames at a time as one; the last may be of fewer."""
    firsts = range(0, len(used.frames), size)
    groups = [used.frames[first : first + size] for first in firsts]
    return Fractions(
        tuple(range(group[0].start, group[-1].stop) for group in groups),
        np.add.reduceat(used.dose, firsts),
        np.array([used.accumulated[min(first + size, len(used.frames)) - 1] for first in firsts]),
        np.add.reduceat(used.weight, firsts),
    )


def motion_for_sums(motion: Motion, size: int) -> Motion:
    """The settings of measuring, for sums of ``size`` frames."""
    group_global, group_local = (max(1, group // size) for group in motion.group)
    reference = motion.reference // size if motion.reference >= 0 else motion.reference
    return replace(motion, group=(group_global, group_local), reference=reference)


def measured_of_frames(measured: Measured, sums: Fractions, used: Fractions) -> Measured:
    """What was measured on sums of frames, for the frames themselves."""
    times, wanted = middles(sums.frames), middles(used.frames)
    patches = measured.patches
    if patches is not None:
        nearest = np.abs(wanted[:, None] - times).argmin(1)
        raw, fitted = (_of_frames(shifts, times, wanted) for shifts in (patches.raw, patches.fitted))
        first = fitted[:, :1]  # logs list shifts relative to the first used frame
        patches = PatchShifts(patches.centres, raw - first, fitted - first, patches.weak[:, nearest])
    return replace(measured, field=field_at(measured.field, times, wanted), patches=patches, decision=None)


def _of_frames(shifts: FloatArray, times: FloatArray, wanted: FloatArray) -> FloatArray:
    """(p, t, 2) at other times."""
    return np.moveaxis(interpolated(np.moveaxis(np.asarray(shifts), 1, 0), times, wanted), 0, 1)
