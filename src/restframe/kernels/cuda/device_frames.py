"""Raw frames in GPU memory: decoded there where possible; kept there if they fit, otherwise streamed in every pass."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from restframe.arrays import AnyArray, Array, IntArray
from restframe.kernels.cuda.copies import PIECE_BYTES, send
from restframe.kernels.cuda.decode import PADDING_BYTES, add_events, decode, flip_rows
from restframe.messages import Setting
from restframe.movie import RawFrames
from restframe.movie.compressed import CompressedEvents, CompressedStrips, compressed_events, compressed_strips
from restframe.movie.files import shared_reader

MAX_CONCURRENT_MOVIES = 5  # of a batch on one GPU; 8 are faster by a quarter, but take more memory of the host
WORKING_BYTES_PER_PIXEL = 48  # that the program needs at most, beside raw frames
HOST_BYTES_OF_BATCH = 1.5e9, 2.5  # that a batch may take on the host: a constant, and per byte of a movie's frames
HOST_BYTES_OF_PROCESS = 0.35e9, 17  # more than measured: libraries and CUDA, and sums, per pixel


class DeviceFrames:
    """`RawFrames` whose blocks lie on a GPU.

    ``memory_share``: fraction of the free GPU memory that frames may take; ``device``: the GPU.
    """

    limiting_setting = Setting("gpu_memory")

    def __init__(self, raw: RawFrames, memory_share: float, device: int = 0) -> None:
        self.raw = raw
        self.device = device
        frame_count, height, width = raw.shape
        frame_bytes = height * width * raw.dtype.itemsize
        movie_bytes, working_bytes = frame_count * frame_bytes, WORKING_BYTES_PER_PIXEL * height * width
        free_bytes = free_memory()
        room = int(min(memory_share * free_bytes, free_bytes - working_bytes))
        # decoding needs memory for the frames once more
        self.keep_frames = 2 * movie_bytes <= room
        self.frames_per_block = (
            frame_count if self.keep_frames else int(max(1, min(frame_count, room // (4 * frame_bytes))))
        )
        self.fits_another_movie = self.keep_frames and 3 * movie_bytes + 2 * working_bytes <= free_bytes
        self.concurrent_movies = 1
        if self.keep_frames:  # while the motion of one movie is fitted on the CPU, the GPU can work on others
            on_device = int(free_bytes // (3 * movie_bytes + 4 * working_bytes))
            on_host = int(host_memory_of_batch(movie_bytes) // host_memory_of_process(height * width))
            self.concurrent_movies = max(1, min(MAX_CONCURRENT_MOVIES, on_device, on_host))
        self._array: Array | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(t, h, w) of the used frames."""
        return self.raw.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the pixels."""
        return self.raw.dtype

    def __len__(self) -> int:
        return len(self.raw)

    def to_host(self) -> RawFrames:
        """The same frames in the memory of the host. GPU memory is released."""
        self.release()
        return self.raw

    def blocks_including(self, frames: IntArray) -> Iterator[tuple[slice, Array]]:
        """All frames, as `blocks`."""
        return self.blocks()

    @property
    def supports_frame_groups(self) -> bool:
        """Whether a group of the frames can be processed before the others without additional cost: no."""
        return False

    def release_frames(self, frames: IntArray) -> None:
        """Does nothing: the memory of all frames is released together."""

    def release(self) -> None:
        """Release the memory of all frames. They are read again if they are requested."""
        self._array = None
        self.raw.release()

    def load(self) -> None:
        """Read all frames that are to be kept now, not when they are first requested."""
        import cupy

        if not self.keep_frames or self._array is not None:
            return
        with cupy.cuda.Device(self.device):
            try:
                self._array = self._load(slice(0, len(self)))
            except cupy.cuda.memory.OutOfMemoryError:  # another movie has taken the memory since
                self.keep_frames = self.fits_another_movie = False
                self.frames_per_block = max(1, self.frames_per_block // 16)
                cupy.get_default_memory_pool().free_all_blocks()

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """All frames in order: the range of each block and its frames (n, h, w) on the GPU.

        While one block is in use, the next is loaded. Raises `InputError`, which names the frame, if one is damaged.
        """
        self.load()
        if self._array is not None:
            yield slice(0, len(self)), self._array
            return
        import cupy

        size = self.frames_per_block
        frame_ranges = [slice(first, min(first + size, len(self))) for first in range(0, len(self), size)]

        def load(frame_range: slice) -> Array:
            with cupy.cuda.Device(self.device), cupy.cuda.Stream(non_blocking=True):
                return self._load(frame_range)

        with ThreadPoolExecutor(1) as loader:
            pending = loader.submit(load, frame_ranges[0])
            for index, frame_range in enumerate(frame_ranges):
                frames = pending.result()
                if index + 1 < len(frame_ranges):
                    pending = loader.submit(load, frame_ranges[index + 1])
                yield frame_range, frames
                cupy.cuda.get_current_stream().synchronize()

    def _load(self, frame_range: slice) -> Array:
        """Frames on the current device; they are complete when this returns."""
        import cupy

        numbers = self.raw.frame_numbers[frame_range]
        frames = cupy.empty((len(numbers), *self.shape[1:]), self.dtype)
        in_memory = self.raw.frames_in_memory()
        if in_memory is not None:
            _send_frames(list(in_memory[frame_range]), frames, self.raw.threads)
        else:
            remaining: Sequence[int] = range(len(numbers))
            if (compressed := compressed_strips(self.raw.movie, numbers)) is not None:
                remaining = _decode_strips(compressed, frames)
            elif (electrons := compressed_events(self.raw.movie, numbers)) is not None:
                remaining = _count_electrons(electrons, frames)
            # also damaged frames: the CPU's decoders raise an error with the reason, or can read more
            _read_frames([numbers[index] for index in remaining], [frames[index] for index in remaining], self.raw)
            self.raw.check_unchanged()
        cupy.cuda.get_current_stream().synchronize()
        return frames


def host_memory_of_batch(movie_bytes: int) -> float:
    """Bytes of host memory that a batch may take, if the raw frames of a movie have ``movie_bytes``."""
    constant, per_byte = HOST_BYTES_OF_BATCH
    return constant + per_byte * movie_bytes


def host_memory_of_process(pixel_count: int) -> float:
    """Bytes of host memory that one process of a batch takes, for sums of ``pixel_count`` pixels."""
    constant, per_pixel = HOST_BYTES_OF_PROCESS
    return constant + per_pixel * pixel_count


def free_memory() -> int:
    """Bytes of memory that can be allocated on the current device."""
    import cupy

    pool = cupy.get_default_memory_pool()
    free_bytes = int(cupy.cuda.runtime.memGetInfo()[0]) + int(pool.free_bytes())
    pool_limit = int(pool.get_limit())
    return min(free_bytes, pool_limit - int(pool.used_bytes())) if pool_limit else free_bytes


def _decode_strips(compressed: CompressedStrips, frames: Array) -> list[int]:
    """Decoded strips into ``frames`` (t, h, w). Returns the indices of the frames that failed."""
    first, last = int(compressed.offsets.min()), int((compressed.offsets + compressed.counts).max())
    data = upload(compressed.path, first, last)
    frame_count, strip_count = compressed.offsets.shape
    sizes = np.tile(compressed.sizes, frame_count)
    starts = compressed.offsets.ravel() - first
    decoded, failed = decode(compressed.codec, data, starts, compressed.counts.ravel(), sizes)
    flip_rows(decoded, frames)
    return [int(index) for index in np.flatnonzero(failed.reshape(frame_count, strip_count).any(1))]


def _count_electrons(electrons: CompressedEvents, frames: Array) -> list[int]:
    """Electrons into ``frames`` (t, h, w). Returns the indices of the frames to which damaged raw frames belong."""
    frames.fill(0)
    first, last = int(electrons.offsets.min()), int((electrons.offsets + electrons.counts).max())
    data = upload(electrons.path, first, last)
    starts, targets = electrons.offsets - first, electrons.targets
    used_bits = add_events(data, starts, electrons.counts, electrons.coding, electrons.level, targets, frames)
    return [int(index) for index in np.unique(targets[~electrons.ends_well(used_bits)])]


def upload(path: os.PathLike[str], first: int, last: int) -> Array:
    """Bytes ``first`` to ``last`` of a file, followed by `PADDING_BYTES` zeros, on the GPU."""
    import cupy

    data = cupy.empty(last - first + PADDING_BYTES, cupy.uint8)
    data[last - first :] = 0

    starts = range(first, last, PIECE_BYTES)
    pieces = [data[start - first : min(start + PIECE_BYTES, last) - first] for start in starts]
    with shared_reader(path) as read:

        def fill(buffer: AnyArray, start: int) -> None:
            count = read(buffer, start)
            if count < len(buffer):
                raise OSError(f"{len(buffer) - count} bytes are missing")

        send(pieces, fill, starts)
    return data


def _read_frames(numbers: Sequence[int], targets: list[Array], raw: RawFrames) -> None:
    """Frames of the movie, each decoded by a thread of the CPU, to their places on the GPU."""

    def read(buffer: AnyArray, number: int) -> None:
        raw.movie.read(number, buffer.view(raw.dtype).reshape(raw.shape[1:]))

    send(targets, read, numbers, raw.threads)


def _send_frames(frames: list[AnyArray], targets: Array, threads: int) -> None:
    """Frames in host memory to the GPU."""

    def copy(buffer: AnyArray, frame: AnyArray) -> None:
        np.copyto(buffer.view(frame.dtype).reshape(frame.shape), frame)

    send(list(targets), copy, frames, threads)
