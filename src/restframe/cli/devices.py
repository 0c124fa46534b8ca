"""Which GPUs a run uses."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from threading import Thread

from restframe.batch.leases import GpuLeases
from restframe.errors import DeviceError

FreeMemory = Mapping[int, Callable[[], int]]
"""A GPU's id: a function that returns its free memory in bytes, called only where it matters."""


@dataclass(frozen=True)
class WantedGpus:
    """What the flags say about GPUs."""

    ids: tuple[int, ...]  # as after -Gpu; one below 0 means the CPU
    maximum: int = 0  # as after -UseGpus; 0: all
    is_for_one_movie: bool = False  # which runs on one GPU


def choose_gpus(
    wanted: WantedGpus, find_devices: Callable[[], FreeMemory | str], leases: GpuLeases
) -> tuple[tuple[int, ...], str]:
    """The GPUs to use, none for the CPU, and a sentence for stdout.

    ``find_devices`` as `find_gpus`. ``leases`` holds the GPUs where only some of the list are wanted; otherwise nobody
    is asked, as in MotionCor2. Raises DeviceError when CUDA is there and an id is not, NoFreeGpuError.
    """
    requested_ids, maximum = wanted.ids, wanted.maximum
    if any(device_id < 0 for device_id in requested_ids):
        return (), "The CPU is used, as asked for."
    free_memory = find_devices()
    if isinstance(free_memory, str):
        return (), f"The CPU is used: {free_memory}"
    device_ids = tuple(dict.fromkeys(requested_ids))
    missing = [device_id for device_id in device_ids if device_id not in free_memory]
    if missing:
        available = " ".join(map(str, free_memory))
        raise DeviceError(
            f"-Gpu {missing[0]}: no such GPU, there are {available}. Give one of them, or -1 for the CPU."
        )
    if 0 < maximum < len(device_ids):
        device_ids = leases.acquire(device_ids, 1 if wanted.is_for_one_movie else maximum)
    if wanted.is_for_one_movie:
        device_ids = device_ids[:1]
    return device_ids, f"GPU used: {' '.join(map(str, device_ids))}"


def start_cuda(device_ids: Sequence[int]) -> None:
    """Begin to start CUDA where one GPU is requested: it takes 0.2 s, during which Python can import modules.

    Errors are ignored here: they occur again, and are explained, where the GPU is first used.
    """

    def start() -> None:
        with suppress(OSError):  # no driver
            driver = ctypes.CDLL("libcuda.so.1")  # waits outside Python's lock, unlike CuPy
            driver.cuInit(0)
            driver.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), device_ids[0])

    if len(device_ids) == 1 and device_ids[0] >= 0:
        Thread(target=start, daemon=True).start()


def find_gpus() -> FreeMemory | str:
    """The GPUs that CuPy finds, or the reason why there is none."""
    if find_spec("cupy") is None:
        return "CuPy is not installed (pip install 'restframe[cuda]')."
    try:
        import cupy

        device_count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:  # a missing driver raises errors of many kinds
        return f"CUDA cannot be used ({str(error).splitlines()[0] if str(error) else type(error).__name__})."
    if not device_count:
        return "there is no CUDA device."

    def free_bytes(device_id: int) -> int:
        with cupy.cuda.Device(device_id):
            return int(cupy.cuda.runtime.memGetInfo()[0])

    return {device_id: partial(free_bytes, device_id) for device_id in range(device_count)}
