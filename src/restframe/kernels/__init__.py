"""The loops that take the time, once for each kind of device.

`reference.py` is the specification: readable, for NumPy and CuPy arrays alike. `cpu.py` does the same with Numba.
"""

from __future__ import annotations

from types import ModuleType

from restframe.settings import Machine


def choose(machine: Machine) -> ModuleType:
    """The kernels for this run. Numba's threads are set to ``machine.threads``."""
    if machine.gpus:
        from restframe.kernels import reference

        return reference
    import numba

    from restframe.kernels import cpu

    numba.set_num_threads(min(threads(machine), numba.config.NUMBA_NUM_THREADS))
    return cpu


def threads(machine: Machine) -> int:
    """Threads to use: as asked for, else one for each core that this process may run on."""
    import os

    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return machine.threads if machine.threads > 0 else available
