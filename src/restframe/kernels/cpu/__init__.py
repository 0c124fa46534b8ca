"""The kernels for the CPU, in Numba.

Every output element is summed by one thread in one order, so results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from restframe import compile_ahead, pages
from restframe.arrays import AnyArray, Array, ComplexArray, FloatArray, IntArray
from restframe.kernels.cpu import fourier
from restframe.kernels.cpu.binned import make_binned_frames
from restframe.kernels.cpu.fixed_pattern import pattern_bias, subtract_fixed_pattern
from restframe.kernels.cpu.fourier import add_weighted_spectrum, multiply_interpolated
from restframe.kernels.cpu.gather import gather, subpixel_histogram
from restframe.kernels.cpu.images import (
    add_frames,
    correlation_peaks,
    defect_cluster_mask,
    local_mean,
    mean_of_good_pixels,
    nyquist_power,
)
from restframe.kernels.cpu.spectra import (
    align_spectra,
    filter_spectra,
    ring_power_sums,
    ring_sums,
    scale_spectra,
    shift_gradient,
)
from restframe.kernels.cpu.storage import empty_spectra
from restframe.kernels.cpu.threads import Threads
from restframe.kernels.cpu.tiles import tile_spectra
from restframe.kernels.interface import Item, Value
from restframe.kernels.reference.frames import corrected_frame, mark_bad_pixels
from restframe.kernels.reference.gather import displacement_grid
from restframe.kernels.reference.images import order_statistics, standard_deviation
from restframe.kernels.reference.trajectories import trajectories_to_device
from restframe.kernels.trajectories import log_evidence

if TYPE_CHECKING:
    from restframe.movie import RawFrames

COMPILING_NOTICE = "Loops are compiled for this processor, which takes some 10 seconds. Later runs start at once."


class Cpu:
    """The kernels in Numba, with at most ``threads`` threads; see `interface.Kernels`."""

    frames_per_block = 1  # frames that a thread transforms at a time, to stay in the cache
    compiling_notice = COMPILING_NOTICE

    def __init__(self, threads: int = 1) -> None:
        self.threads = max(1, threads)
        self._loop_threads = Threads(self.threads)
        self._has_helpers = False

    def active(self) -> AbstractContextManager[None]:
        """The compiled loops that the calling thread starts use these threads."""
        return self._loop_threads.active()

    def single_threaded(self) -> Cpu:
        return Cpu(1)

    def parallel_map(self, work: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(work, items))

    def is_compiled(self) -> bool:
        """Whether all loops are kept from earlier processes. If not, helpers begin to compile them."""
        missing = [] if self._has_helpers else compile_ahead.missing_loops()
        if missing:
            self._has_helpers = True
            compile_ahead.start_helpers_once(compile_ahead.process_count(self.threads, len(missing)))
            return False
        return not self._has_helpers

    def is_out_of_memory(self, error: Exception) -> bool:
        return False

    def device_frames(self, raw: RawFrames, memory_share: float) -> Any:
        return raw

    def to_device(self, array: Array) -> Array:
        return array

    def to_host(self, array: Array) -> AnyArray:
        host_array: AnyArray = array
        return host_array

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return pages.zeros(shape, dtype)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return np.empty(shape, dtype)

    def pixel_counts(self, frames: Array, rows: IntArray, columns: IntArray) -> AnyArray:
        counts: AnyArray = frames[:, rows, columns]
        return counts

    def rfft2(self, images: Array, columns: int | None = None) -> ComplexArray:
        return fourier.rfft2(images, columns, self.threads)

    def irfft2(self, spectra: Array, image_shape: tuple[int, int]) -> FloatArray:
        return fourier.irfft2(spectra, image_shape, self.threads)

    add_frames = staticmethod(add_frames)
    corrected_frame = staticmethod(corrected_frame)
    mark_bad_pixels = staticmethod(mark_bad_pixels)
    make_binned_frames = staticmethod(make_binned_frames)
    mean_of_good_pixels = staticmethod(mean_of_good_pixels)
    local_mean = staticmethod(local_mean)
    defect_cluster_mask = staticmethod(defect_cluster_mask)
    order_statistics = staticmethod(order_statistics)
    standard_deviation = staticmethod(standard_deviation)
    nyquist_power = staticmethod(nyquist_power)
    correlation_peaks = staticmethod(correlation_peaks)
    empty_spectra = staticmethod(empty_spectra)
    tile_spectra = staticmethod(tile_spectra)
    scale_spectra = staticmethod(scale_spectra)
    subtract_fixed_pattern = staticmethod(subtract_fixed_pattern)
    pattern_bias = staticmethod(pattern_bias)
    ring_sums = staticmethod(ring_sums)
    ring_power_sums = staticmethod(ring_power_sums)
    filter_spectra = staticmethod(filter_spectra)
    align_spectra = staticmethod(align_spectra)
    shift_gradient = staticmethod(shift_gradient)
    trajectories_to_device = staticmethod(trajectories_to_device)
    log_evidence = staticmethod(log_evidence)
    displacement_grid = staticmethod(displacement_grid)
    subpixel_histogram = staticmethod(subpixel_histogram)
    gather = staticmethod(gather)
    add_weighted_spectrum = staticmethod(add_weighted_spectrum)
    multiply_interpolated = staticmethod(multiply_interpolated)
