"""The used frames of a movie, block by block: kept in memory as stored, or read again in every pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from restframe import pages
from restframe.cores import available_cores
from restframe.messages import Setting
from restframe.movie.movie import ArrayMovie, Movie

BLOCK = 8  # frames handed out together while they are read


class RawFrames:
    """Frames as stored, (t, h, w) of `dtype`, for programs that go through all of them in order, several times.

    ``frames``: the numbers of those that are used (None: all). ``keep``: the first pass fills one array, later passes
    get it whole; otherwise every pass reads the file, and no more than two blocks of ``block`` frames are in memory.
    Frames are decoded by ``threads`` threads (0: as many as cores this process may use), one by each, a block ahead
    of the one that is worked on.
    """

    limit = Setting("max_memory")  # what makes it read the frames again

    def __init__(
        self,
        movie: Movie,
        frames: Sequence[int] | None = None,
        threads: int = 0,
        keep: bool = True,
        block: int = BLOCK,
    ) -> None:
        self.movie = movie
        self.numbers = range(movie.shape[0]) if frames is None else frames
        self.threads = threads if threads > 0 else available_cores()
        self.keep = keep
        self.block = block
        self._array = _in_memory(movie, self.numbers)
        self._complete = self._borrowed = self._array is not None

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.numbers), *self.movie.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        return self.movie.dtype

    def __len__(self) -> int:
        return len(self.numbers)

    def held(self) -> np.ndarray | None:
        """All frames, if they are in memory already."""
        return self._array if self._complete else None

    def blocks(self, first: int = 0, stop: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Frames ``first`` ... ``stop`` (None: the last) in order: which, from 0 among the used ones, and the frames
        (n, h, w), to be read only and only until the next block is asked for.

        Raises `InputError`, which names the frame, when one is damaged.
        """
        stop = len(self) if stop is None else stop
        if self._array is not None and self._complete:
            if first < stop:
                yield slice(first, stop), self._array[first:stop]
        elif self.keep and (first, stop) == (0, len(self)):
            self._array = pages.zeros(self.shape, self.dtype)
            yield from self._read(first, stop, self._array)
            self._complete = True
        else:
            yield from self._read(first, stop, None)

    def blocks_with(self, frames: np.ndarray) -> Iterator[tuple[slice | np.ndarray, np.ndarray]]:
        """As `blocks`, of at least these frames in ascending order: all where they lie in memory, else no others."""
        if self._complete or len(frames) == len(self):
            yield from self.blocks()
            return
        some = RawFrames(self.movie, [self.numbers[i] for i in frames], self.threads, False, self.block)
        for part, block in some.blocks():
            yield frames[part], block

    def fill(self) -> None:
        """Read all frames that are to be kept now, not when they are first asked for. Raises as `blocks`."""
        if self.keep:
            for _ in self.blocks():
                pass

    @property
    def at_once(self) -> int:
        """How many such movies are best worked on at the same time."""
        return 1

    @property
    def ahead(self) -> bool:
        """Whether another movie's fit beside these."""
        return True

    def to_host(self) -> RawFrames:
        return self

    @property
    def apart(self) -> bool:
        """Whether some of the frames can be worked on before the others at no cost."""
        return True

    def give_back(self, frames: np.ndarray) -> None:
        """Give the memory of some frames back, numbered from 0 among the used ones; nobody may look at them again."""
        if self._array is not None and not self._borrowed:
            for i in frames:
                pages.give_back(self._array[i])

    def forget(self) -> None:
        """Give the memory of the frames back; they would be read again."""
        self._array, self._complete, self._borrowed = None, False, False

    def total(self) -> np.ndarray:
        """Their sum, (h, w) float32."""
        out = np.zeros(self.shape[1:], np.float32)
        for _, block in self.blocks():
            out += block.sum(0, dtype=np.float32)
        return out

    def _read(self, first: int, stop: int, whole: np.ndarray | None) -> Iterator[tuple[slice, np.ndarray]]:
        """``whole``: where the frames stay; None: in two buffers that take turns."""
        parts = [slice(i, min(i + self.block, stop)) for i in range(first, stop, self.block)]
        if whole is None:
            size = min(self.block, stop - first), *self.shape[1:]
            buffers = [np.empty(size, self.dtype) for _ in parts[:2]]
            places = [buffers[k % 2][: part.stop - part.start] for k, part in enumerate(parts)]
        else:
            places = [whole[part] for part in parts]
        pool = ThreadPoolExecutor(max(1, min(self.threads, stop - first)))

        def start(k: int) -> list:
            part = self.numbers[parts[k]]
            return [pool.submit(self.movie.read, n, out) for n, out in zip(part, places[k], strict=True)]

        try:
            # nothing waits for room when all frames stay
            waiting = [start(k) for k in range(len(parts) if whole is not None else min(1, len(parts)))]
            for k, part in enumerate(parts):
                if len(waiting) <= k + 1 < len(parts):
                    waiting.append(start(k + 1))
                for frame in waiting[k]:
                    frame.result()  # the first frame in order that fails raises here
                yield part, places[k]
        finally:
            pool.shutdown(cancel_futures=True)


def _in_memory(movie: Movie, numbers: Sequence[int]) -> np.ndarray | None:
    """The frames of a movie that lies in memory, if they can be used as they lie."""
    if not isinstance(movie, ArrayMovie) or movie.frames.dtype != movie.dtype or not isinstance(numbers, range):
        return None
    return movie.frames[numbers.start : numbers.stop : numbers.step] if len(numbers) else None
