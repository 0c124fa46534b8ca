"""The loops that take the time, once for each kind of device.

`reference.py` is the specification: readable, for NumPy and CuPy arrays alike. `cpu.py` does the same with Numba,
`cuda` on an NVIDIA GPU. `courses.py` is NumPy, for both.
"""

from __future__ import annotations

import os
from types import ModuleType

from restframe.settings import Machine


def choose(machine: Machine) -> ModuleType:
    """CUDA for the first of ``machine.gpus``, else the CPU. Numba's threads are set to ``machine.threads``."""
    if machine.gpus:  # without Numba, whose import takes a second
        from restframe.kernels import cuda

        cuda.use_device(machine.gpus[0])
        return cuda
    from restframe.loops import nb  # before the loops: it says where they are kept

    from restframe.kernels import cpu  # isort: skip

    nb.set_num_threads(min(threads(machine), cpu.MOST_THREADS))
    return cpu


def threads(machine: Machine) -> int:
    """Threads to use: as asked for, else one for each core that this process may run on."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return machine.threads if machine.threads > 0 else available
