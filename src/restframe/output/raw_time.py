"""Motion of used frames as motion of others: what stands between two frames in time is interpolated.

Time is counted in raw frames of the file, from 0 at the start of the first one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restframe.arrays import FloatArray
from restframe.result import Result
from restframe.settings import Exposure
from restframe.track.field import MotionField


def middles(frames: Sequence[range]) -> FloatArray:
    """The middle of each frame's exposure."""
    return np.array([(raw_numbers.start + raw_numbers.stop) / 2 for raw_numbers in frames])


def interpolated(values: FloatArray, times: FloatArray, wanted_times: FloatArray) -> FloatArray:
    """``values`` (t, ...) at ``times`` (t,), ascending, as they are at ``wanted_times``: linear in between, and as the
    nearest two go on outside of them. Values at the same times stay the same bit for bit.
    """
    if len(times) == 1:
        return np.repeat(values, len(wanted_times), 0)
    before = np.clip(np.searchsorted(times, wanted_times, side="right") - 1, 0, len(times) - 2)
    fraction = (wanted_times - times[before]) / (times[before + 1] - times[before])
    fraction = fraction.reshape(-1, *[1] * (values.ndim - 1))
    between: FloatArray = (1 - fraction) * values[before] + fraction * values[before + 1]
    return between


def field_at(field: MotionField, times: FloatArray, wanted_times: FloatArray) -> MotionField:
    """``field`` of frames at ``times`` as one of frames at ``wanted_times``."""
    amplitudes = interpolated(np.moveaxis(np.asarray(field.amplitudes), 1, 0), times, wanted_times)
    return MotionField(field.modes, np.moveaxis(amplitudes, 0, 1), field.shape)


@dataclass(frozen=True)
class RelionFrames:
    """The frames of a movie as RELION counts them: from raw frame 0, each of the same number of raw frames."""

    grouping: int  # raw frames in each
    count: int  # whole ones in the movie
    used: range  # numbers, from 0, of those that lie within the frames that were used

    @property
    def middles(self) -> FloatArray:
        """Of the used ones."""
        return self.grouping * (np.array(self.used, float) + 0.5)


def usual_frame_size(frames: Sequence[range]) -> int:
    """The number of raw frames that most frames sum, without one of the remainder that some of them sum in addition."""
    sizes = Counter(len(raw_numbers) for raw_numbers in frames)
    size = max(sizes, key=lambda one: sizes[one])
    while size - 1 in sizes:
        size -= 1
    return size


def intended_frame_size(result: Result, exposure: Exposure) -> int:
    """The number of raw frames in a fraction that was asked for, or, where none was, that most fractions have."""
    rows = exposure.integration
    if isinstance(rows, tuple) and rows:
        return max(rows, key=lambda row: row.frames // row.size).size
    return exposure.eer_grouping or usual_frame_size(result.frames)


def relion_frames(result: Result, exposure: Exposure) -> RelionFrames:
    """RELION sums raw frames of EER movies only; ``exposure``: the settings that the result was made with."""
    frames, trunc = result.frames, exposure.trunc
    grouping = intended_frame_size(result, exposure) if result.movie_format == "eer" else 1
    count = max((frames[-1].stop + trunc) // grouping, 1)
    first = min(-(-frames[0].start // grouping), count - 1)
    last = max(min(frames[-1].stop // grouping, count), first + 1)
    return RelionFrames(grouping, count, range(first, last))
