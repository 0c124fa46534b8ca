"""The kernels for CUDA: the array formulas through CuPy."""

from __future__ import annotations

from restframe.errors import DeviceError
from restframe.kernels.reference import (
    add_frames,
    add_weighted,
    align,
    by_ring,
    corrected,
    cut_spectra,
    decimate,
    filtered,
    gather,
    gradient,
    irfft2,
    multiply_smooth,
    pixels,
    rfft2,
    small_frame,
    to_host,
    zeros,
)

__all__ = [
    "add_frames",
    "add_weighted",
    "align",
    "by_ring",
    "corrected",
    "cut_spectra",
    "decimate",
    "empty",
    "filtered",
    "gather",
    "gradient",
    "irfft2",
    "multiply_smooth",
    "pixels",
    "rfft2",
    "small_frame",
    "to_device",
    "to_host",
    "use_device",
    "zeros",
]


def empty(shape, dtype):
    import cupy

    return cupy.empty(shape, dtype)


def to_device(array):
    import cupy

    return cupy.asarray(array)


def use_device(number: int) -> None:
    """Work on GPU ``number`` from here on. Raises `DeviceError` if there is none."""
    import cupy

    try:
        cupy.cuda.Device(number).use()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"-Gpu {number}: no such GPU ({error}). nvidia-smi lists what is there; -Gpu -1 uses the CPU."
        ) from None
