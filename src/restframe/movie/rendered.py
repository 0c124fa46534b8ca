"""Movies whose frames are sums of another movie's raw frames: fractions.

The same class serves movies of floating point, whose frames may have values that are NaN or infinite: in the Fourier
transform such a value would spread to every pixel of a sum.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from restframe.arrays import AnyArray, FloatArray
from restframe.errors import InputError
from restframe.movie.movie import AddsByReading, ArrayMovie, Movie, sum_dtype

MAX_COUNTS = 1e12  # of a pixel: squares of larger values overflow; such values are treated as infinite
MAX_NAMED_FRAMES = 5  # damaged frames that are named individually


def all_values_finite(movie: Movie) -> bool:
    """Whether it is known, without reading a file, that every value of every frame is finite."""
    return movie.dtype.kind != "f" or (
        isinstance(movie, ArrayMovie) and all(np.isfinite(frame).all() for frame in movie.frames)
    )


class RenderedMovie(AddsByReading):
    """A movie, each frame of which is the sum of the raw frames in one of ``frames``.

    Sums have the type of the raw frames or one in which they cannot overflow. ``dark`` (h, w) is subtracted from each
    raw frame; the sums are float32 then. Damaged raw frames are left out, up to the fraction that the movie tolerates;
    values that are not finite are replaced by the mean of their frame. `damage_report` tells of both.
    """

    def __init__(self, movie: Movie, frames: tuple[range, ...], dark: FloatArray | None = None) -> None:
        largest_size = max(map(len, frames))
        self.movie, self.frames, self.dark = movie, frames, dark
        self.path: Path | None = movie.path
        self.format = movie.format
        self.pixel_size = movie.pixel_size
        self.metadata = movie.metadata
        self.shape = len(frames), *movie.shape[1:]
        self.dtype = sum_dtype(movie, largest_size) if dark is None else np.dtype(np.float32)
        self.largest_count = largest_size * movie.largest_count
        self.tolerated_damage = 0.0
        self._damaged_frames: dict[int, InputError] = {}  # by raw frame
        self._replaced_values: dict[int, int] = {}  # by frame: how many values were not finite

    def header_gain(self) -> FloatArray | None:
        """See `restframe.movie.Movie.header_gain`."""
        return self.movie.header_gain()

    def read(self, frame_index: int, destination: AnyArray | None = None) -> AnyArray:
        """See `restframe.movie.Movie.read`."""
        total = np.empty(self.shape[1:], self.dtype) if destination is None else destination
        total[:] = 0
        with np.errstate(over="ignore", invalid="ignore"):
            for raw_frame in self.frames[frame_index]:
                try:
                    self.movie.add(raw_frame, total)
                except InputError as error:
                    if not self.movie.tolerated_damage:
                        raise
                    self._damaged_frames[raw_frame] = error
            if self.dark is not None:
                total -= np.float32(len(self.frames[frame_index])) * self.dark
            if self.dtype.kind == "f":
                self._replace_infinite(frame_index, total)
        return total

    def _replace_infinite(self, frame_index: int, total: AnyArray) -> None:
        """Replace values that are not finite by the mean. Raises `InputError` if these are most of the frame."""
        if total.min() >= -MAX_COUNTS and total.max() <= MAX_COUNTS:  # false where a value is NaN
            return
        not_finite = ~(abs(total) <= MAX_COUNTS)
        replaced_count = int(np.count_nonzero(not_finite))
        if 2 * replaced_count > total.size:
            subject = f"{self.path}: frame" if self.path else "Frame"
            raise InputError(
                f"{subject} {self.frames[frame_index].start + 1} is NaN, infinite or beyond "
                f"{MAX_COUNTS:g} at {replaced_count} of {total.size} pixels. Copy or convert the movie again."
            )
        total[not_finite] = total[~not_finite].mean(dtype=np.float64)
        self._replaced_values[frame_index] = replaced_count

    def damage_report(self) -> list[str]:
        """Sentences for the user about damage found so far.

        Raises `InputError` if more frames are damaged than the movie tolerates.
        """
        lines = [
            f"Warning: frame {self.frames[frame].start + 1}: {count} values are NaN, infinite or beyond "
            f"{MAX_COUNTS:g} and are replaced by the mean."
            for frame, count in sorted(self._replaced_values.items())[:MAX_NAMED_FRAMES]
        ]
        if len(self._replaced_values) > MAX_NAMED_FRAMES:
            lines.append(f"Warning: so it is in {len(self._replaced_values)} frames.")
        messages = [str(self._damaged_frames[raw_frame]) for raw_frame in sorted(self._damaged_frames)]
        raw_count = sum(map(len, self.frames))
        summary = f"{len(messages)} of {raw_count} raw frames are damaged"
        if len(messages) > self.movie.tolerated_damage * raw_count:
            raise InputError(f"{messages[0]} {summary}, too many. Copy the movie again.")
        lines += [f"Warning: {message}" for message in messages[:MAX_NAMED_FRAMES]]
        if messages:
            lines.append(f"Warning: {summary} and left out. Their dose is counted.")
        return lines
