"""The used frames of a movie, block by block: kept in memory as stored, or read again in every pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from restframe import pages
from restframe.arrays import AnyArray, FloatArray, IntArray
from restframe.cores import available_cores
from restframe.errors import InputError
from restframe.messages import Setting
from restframe.movie.files import file_state
from restframe.movie.movie import ArrayMovie, DataType, Movie

FRAMES_PER_BLOCK = 8
"""Frames that are handed out together while they are read."""


class RawFrames:
    """Frames as stored, (t, h, w) of `dtype`, for programs that go through all of them in order, several times.

    ``frame_numbers``: the frames that are used, counted from 0 (None: all). ``keep_frames``: the first pass fills one
    array, which later passes get as a whole; otherwise each pass reads the file, and at most two blocks of
    ``frames_per_block`` frames are in memory. Frames are decoded by ``threads`` threads (0: as many as this process may
    use cores), one frame by each, one block ahead of the block in use.

    A movie's file must not change while its frames are read: the passes would show different movies. Each pass verifies
    its size and time, and raises `InputError`.

    Example: ``for frame_range, frames in RawFrames(open_movie("movie.tif")).blocks(): ...``
    """

    limiting_setting = Setting("max_memory")
    """The setting that makes this object read frames again."""

    def __init__(
        self,
        movie: Movie,
        frame_numbers: Sequence[int] | None = None,
        threads: int = 0,
        keep_frames: bool = True,
        frames_per_block: int = FRAMES_PER_BLOCK,
    ) -> None:
        self.movie = movie
        self.frame_numbers: Sequence[int] = range(movie.shape[0]) if frame_numbers is None else frame_numbers
        self.threads = threads if threads > 0 else available_cores()
        self.keep_frames = keep_frames
        self.frames_per_block = frames_per_block
        self._file_state = file_state(movie.path)
        self._array = _frames_of_array(movie, self.frame_numbers)
        self._complete = self._borrowed = self._array is not None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(t, h, w) of the used frames."""
        _, height, width = self.movie.shape
        return len(self.frame_numbers), height, width

    @property
    def dtype(self) -> DataType:
        """Type of the pixels."""
        return self.movie.dtype

    def __len__(self) -> int:
        return len(self.frame_numbers)

    def frames_in_memory(self) -> AnyArray | None:
        """All frames, (t, h, w), if they are in memory already; else None."""
        return self._array if self._complete else None

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[slice, AnyArray]]:
        """Frames from ``start`` to ``stop`` (None: the end) in order, counted from 0 among the used frames.

        Yields the range of each block and its frames (n, h, w), which must not be changed and are valid until the next
        block is requested. Raises `InputError`, which names the frame, if a frame is damaged.
        """
        stop = len(self) if stop is None else stop
        if self._array is not None and self._complete:
            if start < stop:
                yield slice(start, stop), self._array[start:stop]
        elif self.keep_frames and (start, stop) == (0, len(self)):
            self._array = pages.zeros(self.shape, self.dtype)
            yield from self._read_blocks(start, stop, self._array)
            self._complete = True
        else:
            yield from self._read_blocks(start, stop, None)

    def blocks_including(self, frames: IntArray) -> Iterator[tuple[slice | IntArray, AnyArray]]:
        """Blocks, as from `blocks`, that include all of ``frames`` (in ascending order).

        If the movie is in memory, the blocks have all used frames, else these frames only.
        """
        if self._complete or len(frames) == len(self):
            yield from self.blocks()
            return
        numbers = [self.frame_numbers[frame] for frame in frames]
        selection = RawFrames(self.movie, numbers, self.threads, False, self.frames_per_block)
        selection._file_state = self._file_state
        for frame_range, block in selection.blocks():
            yield frames[frame_range], block

    def load(self) -> None:
        """Read all frames that are to be kept now, not when they are first requested. Raises as `blocks`."""
        if self.keep_frames:
            for _ in self.blocks():
                pass

    @property
    def concurrent_movies(self) -> int:
        """How many movies of this size are best processed at the same time."""
        return 1

    @property
    def fits_another_movie(self) -> bool:
        """Whether the frames of another movie have room beside these."""
        return True

    def to_host(self) -> RawFrames:
        """The same frames in the memory of the host."""
        return self

    @property
    def supports_frame_groups(self) -> bool:
        """Whether a group of the frames can be processed before the others without additional cost."""
        return True

    def release_frames(self, frames: IntArray) -> None:
        """Release the memory of some of the used frames, counted from 0. They must not be requested again."""
        if self._array is not None and not self._borrowed:
            for frame in frames:
                pages.release_pages(self._array[frame])

    def release(self) -> None:
        """Release the memory of all frames. They are read again if they are requested."""
        self._array, self._complete, self._borrowed = None, False, False

    def total(self) -> FloatArray:
        """The sum of all used frames, (h, w) float32."""
        total = np.zeros(self.shape[1:], np.float32)
        for _, block in self.blocks():
            total += block.sum(0, dtype=np.float32)
        return total

    def _read_blocks(self, start: int, stop: int, array: AnyArray | None) -> Iterator[tuple[slice, AnyArray]]:
        """``array``: all frames, to be filled; None: frames are read into two buffers in turn."""
        block_size = self.frames_per_block
        ranges = [slice(first, min(first + block_size, stop)) for first in range(start, stop, block_size)]
        if array is None:
            buffer_shape = min(block_size, stop - start), *self.shape[1:]
            buffers = [np.empty(buffer_shape, self.dtype) for _ in ranges[:2]]
            blocks: list[AnyArray] = [
                buffers[index % 2][: frame_range.stop - frame_range.start] for index, frame_range in enumerate(ranges)
            ]
        else:
            blocks = [array[frame_range] for frame_range in ranges]
        pool = ThreadPoolExecutor(max(1, min(self.threads, stop - start)))

        def start_reading(index: int) -> list[Future[AnyArray]]:
            numbers = self.frame_numbers[ranges[index]]
            return [
                pool.submit(self.movie.read, number, frame)
                for number, frame in zip(numbers, blocks[index], strict=True)
            ]

        try:
            self.check_unchanged()
            # with an array for all frames, no block has to wait for a buffer
            started_count = len(ranges) if array is not None else min(1, len(ranges))
            pending = [start_reading(index) for index in range(started_count)]
            for index, frame_range in enumerate(ranges):
                if len(pending) <= index + 1 < len(ranges):
                    pending.append(start_reading(index + 1))
                for reading in pending[index]:
                    reading.result()  # raises the error of the first frame, in order, that could not be read
                if index + 1 == len(ranges):
                    self.check_unchanged()
                yield frame_range, blocks[index]
        finally:
            pool.shutdown(cancel_futures=True)

    def check_unchanged(self) -> None:
        """Raise `InputError` if the movie's file is not as it was when this object was made."""
        if self._file_state is not None and file_state(self.movie.path) != self._file_state:
            raise InputError(
                f"{self.movie.path} changed while it was read: something still writes to it, or it was replaced. "
                "Correct it when it is complete."
            )


def _frames_of_array(movie: Movie, frame_numbers: Sequence[int]) -> AnyArray | None:
    """The frames of a movie in memory, without a copy; None if a copy is needed."""
    if not isinstance(movie, ArrayMovie) or movie.frames.dtype != movie.dtype or not isinstance(frame_numbers, range):
        return None
    frames = movie.frames[frame_numbers.start : frame_numbers.stop : frame_numbers.step]
    return frames if len(frame_numbers) else None
