"""The loops that take the time, once for each kind of device.

`reference.py` is the specification: readable, for NumPy and CuPy arrays alike. `cpu.py` does the same with Numba,
`cuda.py` runs what it can on a GPU.
"""

from __future__ import annotations

from types import ModuleType

from restframe.settings import Machine


def choose(machine: Machine) -> ModuleType:
    """The kernels for this run: CUDA for the first of ``machine.gpus``, else the CPU. Numba's threads are set to ``machine.threads``."""
    import numba

    from restframe.kernels import cpu

    numba.set_num_threads(min(threads(machine), numba.config.NUMBA_NUM_THREADS))
    if not machine.gpus:
        return cpu
    from restframe.kernels import cuda

    cuda.use_device(machine.gpus[0])
    return cuda


def threads(machine: Machine) -> int:
    """Threads to use: as asked for, else one for each core that this process may run on."""
    import os

    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return machine.threads if machine.threads > 0 else available
