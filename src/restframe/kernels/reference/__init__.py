"""The kernels as plain array formulas: the specification of the fast ones.

The functions take NumPy and CuPy arrays alike (array-api-compat finds out which) and return the same kind.
`restframe.kernels.interface` documents them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from restframe.arrays import Array
from restframe.kernels.interface import Item, Value
from restframe.kernels.reference.fixed_pattern import pattern_bias, subtract_fixed_pattern
from restframe.kernels.reference.fourier import add_weighted_spectrum, irfft2, multiply_interpolated, rfft2
from restframe.kernels.reference.frames import (
    add_frames,
    corrected_frame,
    decimate,
    make_binned_frames,
    mark_bad_pixels,
    pixel_counts,
    to_device,
    to_host,
)
from restframe.kernels.reference.gather import displacement_grid, gather, subpixel_histogram
from restframe.kernels.reference.images import (
    correlation_peaks,
    defect_cluster_mask,
    local_mean,
    mean_of_good_pixels,
    nyquist_power,
    order_statistics,
    standard_deviation,
)
from restframe.kernels.reference.spectra import (
    align_spectra,
    empty_spectra,
    filter_spectra,
    hat_functions,
    ring_power_sums,
    ring_sums,
    scale_spectra,
    shift_gradient,
    tile_spectra,
)
from restframe.kernels.reference.trajectories import log_evidence, trajectories_to_device

if TYPE_CHECKING:
    from restframe.movie import RawFrames

__all__ = ["Reference", "decimate", "hat_functions", "to_host"]


class Reference:
    """The kernels as plain array formulas; see `interface.Kernels`."""

    frames_per_block = 1
    compiling_notice = ""

    def active(self) -> AbstractContextManager[None]:
        return nullcontext()

    def single_threaded(self) -> Reference:
        return self

    def parallel_map(self, work: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
        return [work(item) for item in items]

    def is_compiled(self) -> bool:
        return True

    def is_out_of_memory(self, error: Exception) -> bool:
        return False

    def device_frames(self, raw: RawFrames, memory_share: float) -> Any:
        return raw

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return np.zeros(shape, dtype)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return np.empty(shape, dtype)

    to_device = staticmethod(to_device)
    to_host = staticmethod(to_host)
    add_frames = staticmethod(add_frames)
    pixel_counts = staticmethod(pixel_counts)
    corrected_frame = staticmethod(corrected_frame)
    mark_bad_pixels = staticmethod(mark_bad_pixels)
    make_binned_frames = staticmethod(make_binned_frames)
    rfft2 = staticmethod(rfft2)
    irfft2 = staticmethod(irfft2)
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
