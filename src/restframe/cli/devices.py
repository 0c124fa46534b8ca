"""Which GPUs a run uses."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from threading import Thread

from restframe.errors import DeviceError

FreeMemory = Mapping[int, Callable[[], int]]  # a GPU's id: its free memory in bytes, asked for only where it matters


def choose_gpus(ids: Sequence[int], at_most: int, find: Callable[[], FreeMemory | str]) -> tuple[tuple[int, ...], str]:
    """The GPUs to use, none for the CPU, and a sentence for stdout.

    ``ids`` as after -Gpu, ``at_most`` as after -UseGpus (0: all), ``find`` as find_gpus.
    Raises DeviceError when CUDA is there and an id is not.
    """
    if any(i < 0 for i in ids):
        return (), "The CPU is used, as asked for."
    gpus = find()
    if isinstance(gpus, str):
        return (), f"The CPU is used: {gpus}"
    wanted = tuple(dict.fromkeys(ids))
    missing = [i for i in wanted if i not in gpus]
    if missing:
        there = " ".join(map(str, gpus))
        raise DeviceError(f"-Gpu {missing[0]}: no such GPU, there are {there}. Give one of them, or -1 for the CPU.")
    if 0 < at_most < len(wanted):
        wanted = tuple(sorted(wanted, key=lambda i: -gpus[i]())[:at_most])
    return wanted, f"GPU used: {' '.join(map(str, wanted))}"


def start_cuda(ids: Sequence[int]) -> None:
    """Begin to start CUDA where one GPU is asked for: it takes 0.2 s, in which Python can import what is needed.

    What fails here fails again, and is explained, where the GPU is first used.
    """

    def start() -> None:
        with suppress(OSError):  # no driver
            driver = ctypes.CDLL("libcuda.so.1")  # waits outside Python's lock, unlike CuPy
            driver.cuInit(0)
            driver.cuDevicePrimaryCtxRetain(ctypes.byref(ctypes.c_void_p()), ids[0])

    if len(ids) == 1 and ids[0] >= 0:
        Thread(target=start, daemon=True).start()


def find_gpus() -> FreeMemory | str:
    """The GPUs that CuPy sees, or why there is none."""
    if find_spec("cupy") is None:
        return "CuPy is not installed (pip install 'restframe[cuda]')."
    try:
        import cupy

        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # a missing driver shows in many ways
        return f"CUDA cannot be used ({str(error).splitlines()[0] if str(error) else type(error).__name__})."
    if not count:
        return "there is no CUDA device."

    def free(i: int) -> int:
        with cupy.cuda.Device(i):
            return int(cupy.cuda.runtime.memGetInfo()[0])

    return {i: partial(free, i) for i in range(count)}
