"""The loops that take most of the time, for each kind of device. `interface.Kernels` documents them.

`reference` is the specification: readable, for NumPy and CuPy arrays alike. `cpu` computes the same with Numba, `cuda`
on an NVIDIA GPU. `trajectories.py` and `polynomials.py` are NumPy; they serve fast implementations.
"""

from __future__ import annotations

from restframe.cores import available_cores
from restframe.kernels.interface import Kernels
from restframe.settings import Machine

__all__ = ["Kernels", "make_kernels", "thread_count"]


def make_kernels(machine: Machine) -> Kernels:
    """CUDA on the first of ``machine.gpus``, else the CPU with ``machine.threads`` threads.

    Sets nothing by itself: work goes into ``with kernels.active():``. Raises `DeviceError` where there is no such GPU.
    """
    if machine.gpus:  # without Numba, whose import takes a second
        from restframe.kernels.cuda import Cuda

        return Cuda(machine.gpus[0])
    import restframe.loops  # noqa: F401 - before the loops: it sets the folder for compiled code
    from restframe.kernels.cpu import Cpu

    return Cpu(thread_count(machine))


def thread_count(machine: Machine) -> int:
    """Threads to use: as asked for, else one for each core that this process may run on."""
    return machine.threads if machine.threads > 0 else available_cores()
