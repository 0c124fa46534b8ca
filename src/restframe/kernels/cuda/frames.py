"""Raw frames in GPU memory: decoded there where that pays, kept there where they fit, else streamed in every pass."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from restframe.kernels.cuda.copies import PIECE, send
from restframe.kernels.cuda.decode import PAD, add_events, decode, turn_rows
from restframe.messages import Setting
from restframe.movie import RawFrames
from restframe.movie.compressed import CompressedEvents, CompressedStrips, compressed_events, compressed_strips
from restframe.movie.files import read_array

AT_ONCE = 5  # movies of a batch in flight, at most: 8 are faster by a quarter
WORKING = 48  # bytes a pixel that the program needs beside raw frames, at most


class DeviceFrames:
    """What `RawFrames` is, with blocks of frames on the GPU.

    ``share``: of the free GPU memory that frames may take.
    """

    limiting_setting = Setting("gpu_memory")

    def __init__(self, raw: RawFrames, share: float) -> None:
        self.raw = raw
        t, h, w = raw.shape
        frame, free, working = h * w * raw.dtype.itemsize, free_memory(), WORKING * h * w
        room = int(min(share * free, free - working))
        # decoding takes the frames once more
        self.keep_frames = 2 * t * frame <= room
        self.frames_per_block = t if self.keep_frames else int(max(1, min(t, room // (4 * frame))))
        self.fits_another_movie = self.keep_frames and 3 * t * frame + 2 * working <= free
        # while one movie's motion is fitted on the CPU, the GPU can work on others
        rooms = free // (3 * t * frame + 4 * working), most_on_host(t * frame) // on_host(h * w)
        self.concurrent_movies = max(1, min(AT_ONCE, *map(int, rooms))) if self.keep_frames else 1
        self._array: Any = None

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.raw.shape

    @property
    def dtype(self) -> np.dtype:
        return self.raw.dtype

    def __len__(self) -> int:
        return len(self.raw)

    def to_host(self) -> RawFrames:
        """The frames that these were made of; what lies on the GPU is given back."""
        self.release()
        return self.raw

    def blocks_including(self, frames: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """As `blocks`."""
        return self.blocks()

    @property
    def supports_frame_groups(self) -> bool:
        """Whether some of the frames can be worked on before the others at no cost."""
        return False

    def release_frames(self, frames: np.ndarray) -> None:
        """Nothing: all are given back together."""

    def release(self) -> None:
        """Give the memory of the frames back; they would be read again."""
        self._array = None
        self.raw.release()

    def load(self) -> None:
        """Read what can be kept."""
        import cupy

        if self.keep_frames and self._array is None:
            try:
                self._array = self._load(slice(0, len(self)))
            except cupy.cuda.memory.OutOfMemoryError:  # another movie has taken it since
                self.keep_frames = self.fits_another_movie = False
                self.frames_per_block = max(1, self.frames_per_block // 16)
                cupy.get_default_memory_pool().free_all_blocks()

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """All frames in order: which, and the frames (n, h, w) on the GPU."""
        self.load()
        if self._array is not None:
            yield slice(0, len(self)), self._array
            return
        import cupy

        size = self.frames_per_block
        parts = [slice(i, min(i + size, len(self))) for i in range(0, len(self), size)]
        device = cupy.cuda.Device()

        def load(part: slice):
            with device, cupy.cuda.Stream(non_blocking=True):
                return self._load(part)

        with ThreadPoolExecutor(1) as ahead:
            waiting = ahead.submit(load, parts[0])
            for k, part in enumerate(parts):
                frames = waiting.result()
                if k + 1 < len(parts):
                    waiting = ahead.submit(load, parts[k + 1])
                yield part, frames
                cupy.cuda.get_current_stream().synchronize()

    def _load(self, part: slice):
        """Frames on the GPU, when this returns."""
        import cupy

        numbers = self.raw.frame_numbers[part]
        out = cupy.empty((len(numbers), *self.shape[1:]), self.dtype)
        held = self.raw.frames_in_memory()
        if held is not None:
            _send(list(held[part]), out, self.raw.threads)
        else:
            left: Sequence[int] = range(len(numbers))
            if (packed := compressed_strips(self.raw.movie, numbers)) is not None:
                left = _decode(packed, out)
            elif (electrons := compressed_events(self.raw.movie, numbers)) is not None:
                left = _count(electrons, out)
            # what is damaged too: the CPU says what is wrong, or knows better
            _read([numbers[i] for i in left], [out[i] for i in left], self.raw)
        cupy.cuda.get_current_stream().synchronize()
        return out


def most_on_host(raw: int) -> float:
    """Bytes of host memory that a batch of movies with ``raw`` bytes of frames may take."""
    return 1.5e9 + 2.5 * raw


def on_host(pixels: int) -> float:
    """Bytes that one process of a batch takes there, above what was measured: libraries, CUDA, sums of ``pixels``."""
    return 0.35e9 + 17 * pixels


def free_memory() -> int:
    """Bytes of GPU memory that can be had."""
    import cupy

    pool = cupy.get_default_memory_pool()
    free = int(cupy.cuda.runtime.memGetInfo()[0]) + pool.free_bytes()
    return min(free, pool.get_limit() - pool.used_bytes()) if pool.get_limit() else free


def _decode(packed: CompressedStrips, out) -> list[int]:
    """Frames into ``out`` (t, h, w); returns the numbers of those that failed, from 0."""
    first, last = int(packed.offsets.min()), int((packed.offsets + packed.counts).max())
    data = upload(packed.path, first, last)
    t, n = packed.offsets.shape
    size = np.tile(packed.sizes, t)
    decoded, failed = decode(packed.codec, data, packed.offsets.ravel() - first, packed.counts.ravel(), size)
    turn_rows(decoded, out)
    return [int(i) for i in np.flatnonzero(failed.reshape(t, n).any(1))]


def _count(electrons: CompressedEvents, out) -> list[int]:
    """Electrons into ``out`` (t, h, w); returns the numbers of the frames that damaged ones belong to, from 0."""
    out.fill(0)
    first, last = int(electrons.offsets.min()), int((electrons.offsets + electrons.counts).max())
    data = upload(electrons.path, first, last)
    start, targets = electrons.offsets - first, electrons.targets
    used = add_events(data, start, electrons.counts, electrons.coding, electrons.level, targets, out)
    return [int(i) for i in np.unique(targets[~electrons.ends_well(used)])]


def upload(path: os.PathLike[str], first: int, last: int):
    """Bytes ``first`` ... ``last`` of a file, and `PAD` more, on the GPU."""
    import cupy

    out = cupy.empty(last - first + PAD, cupy.uint8)
    out[last - first :] = 0

    def fill(buffer: np.ndarray, start: int) -> None:
        count = read_array(path, start, buffer)
        if count < len(buffer):
            raise OSError(f"{len(buffer) - count} bytes are missing")

    starts = range(first, last, PIECE)
    send([out[s - first : min(s + PIECE, last) - first] for s in starts], fill, starts)
    return out


def _read(numbers: Sequence[int], out: list, raw: RawFrames) -> None:
    """Frames of the movie, each decoded by a thread, to their places on the GPU."""

    def read(buffer: np.ndarray, number: int) -> None:
        raw.movie.read(number, buffer.view(raw.dtype).reshape(raw.shape[1:]))

    send(out, read, numbers, raw.threads)


def _send(frames: list[np.ndarray], out, threads: int) -> None:
    """Frames in memory to the GPU."""

    def copy(buffer: np.ndarray, frame: np.ndarray) -> None:
        np.copyto(buffer.view(frame.dtype).reshape(frame.shape), frame)

    send(list(out), copy, frames, threads)
