"""The kernels for CUDA: CuPy's arrays and transforms, and our own kernels in CUDA C.

No sum depends on the order in which threads run, so equal input gives equal bytes on one kind of device. CuPy is
imported when it is first needed: this package can be imported without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from restframe.errors import DeviceError
from restframe.kernels.cuda.arrays import empty, to_device, to_host, zeros
from restframe.kernels.cuda.binned import FRAMES_PER_BLOCK, make_binned_frames
from restframe.kernels.cuda.device_frames import DeviceFrames
from restframe.kernels.cuda.fixed_pattern import pattern_bias, subtract_fixed_pattern
from restframe.kernels.cuda.fourier import add_weighted_spectrum, irfft2, multiply_interpolated, rfft2
from restframe.kernels.cuda.gather import displacement_grid, gather, subpixel_histogram
from restframe.kernels.cuda.images import (
    correlation_peaks,
    defect_cluster_mask,
    local_mean,
    mean_of_good_pixels,
    nyquist_power,
    order_statistics,
    standard_deviation,
)
from restframe.kernels.cuda.modules import all_sources
from restframe.kernels.cuda.raw import add_frames, corrected_frame, mark_bad_pixels, pixel_counts
from restframe.kernels.cuda.spectra import (
    align_spectra,
    empty_spectra,
    filter_spectra,
    ring_power_sums,
    ring_sums,
    scale_spectra,
    shift_gradient,
)
from restframe.kernels.cuda.tiles import tile_spectra
from restframe.kernels.cuda.trajectories import log_evidence, trajectories_to_device
from restframe.kernels.interface import Item, Value
from restframe.messages import Setting
from restframe.movie import RawFrames

COMPILING_NOTICE = "The kernels are compiled for this GPU, which takes up to 20 seconds. Later runs start at once."


class Cuda:
    """The kernels on one NVIDIA GPU; see `interface.Kernels`. Raises `DeviceError` where there is no such GPU.

    CUDA knows a current device for each thread, and the kernels run on that. So each thread that uses them must
    enter ``with kernels.active():``.
    """

    frames_per_block = FRAMES_PER_BLOCK
    compiling_notice = COMPILING_NOTICE

    def __init__(self, device: int = 0) -> None:
        try:
            import cupy
        except ImportError as error:
            raise DeviceError(
                Setting("gpus", (device,)),
                f": CuPy cannot be imported ({error}). Install it with pip install 'restframe[cuda]', or use the CPU.",
            ) from None
        self.device = device
        try:
            with cupy.cuda.Device(device):
                pass
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise DeviceError(
                Setting("gpus", (device,)), f": no such GPU ({error}). nvidia-smi lists the GPUs of this machine."
            ) from None

    @contextmanager
    def active(self) -> Iterator[None]:
        import cupy

        with cupy.cuda.Device(self.device):
            yield

    def single_threaded(self) -> Cuda:
        return self

    def parallel_map(self, work: Callable[[Item], Value], items: Iterable[Item]) -> list[Value]:
        return [work(item) for item in items]

    def is_compiled(self) -> bool:
        """Whether an earlier process compiled these kernels for this kind of GPU, where CuPy keeps them.

        If not, an empty file tells the next process that this one did.
        """
        import cupy

        capability = cupy.cuda.Device(self.device).compute_capability
        kind = cupy.__version__, cupy.cuda.runtime.runtimeGetVersion(), capability
        digest = sha256("\n".join(map(str, (*kind, all_sources()))).encode()).hexdigest()[:16]
        folder = Path(os.environ.get("CUPY_CACHE_DIR") or os.path.expanduser("~/.cupy/kernel_cache"))  # as CuPy does
        marker = folder / f"restframe-{digest}"
        if marker.exists():
            return True
        with suppress(OSError):  # CuPy then keeps nothing either
            folder.mkdir(parents=True, exist_ok=True)
            marker.touch()
        return False

    def is_out_of_memory(self, error: Exception) -> bool:
        import cupy

        memory_is_short = isinstance(error, cupy.cuda.memory.OutOfMemoryError) or "ALLOC_FAILED" in str(error)
        if memory_is_short:
            error.__traceback__ = None  # its frames hold arrays
            with self.active():  # the pool and the plans of this device
                cupy.fft.config.get_plan_cache().clear()
                cupy.get_default_memory_pool().free_all_blocks()
        return memory_is_short

    def device_frames(self, raw: RawFrames, memory_share: float) -> DeviceFrames:
        with self.active():
            return DeviceFrames(raw, memory_share, self.device)

    to_device = staticmethod(to_device)
    to_host = staticmethod(to_host)
    zeros = staticmethod(zeros)
    empty = staticmethod(empty)
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
