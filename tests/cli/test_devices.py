"""Which GPUs are chosen."""

import pytest

from restframe.batch.leases import GpuLeases
from restframe.cli import devices
from restframe.cli.devices import WantedGpus, choose_gpus
from restframe.errors import DeviceError, NoFreeGpuError

FREE = {0: lambda: 10, 1: lambda: 30, 2: lambda: 20}


def test_the_cpu_when_asked_for_or_without_cuda():
    assert choose_gpus(WantedGpus((-1,)), lambda: FREE, GpuLeases()) == ((), "The CPU is used, as asked for.")
    assert choose_gpus(WantedGpus((0, 1)), lambda: "there is no CUDA device.", GpuLeases()) == (
        (),
        "The CPU is used: there is no CUDA device.",
    )


def test_all_that_are_listed():
    assert choose_gpus(WantedGpus((2, 0, 2)), lambda: FREE, GpuLeases())[0] == (2, 0)
    assert choose_gpus(WantedGpus((2, 0), 5), lambda: FREE, GpuLeases())[0] == (2, 0)


def test_some_of_them_are_those_that_are_free(tmp_path):
    path = tmp_path / "free.txt"
    with GpuLeases(path) as first, GpuLeases(path) as second, GpuLeases(path) as third:
        assert choose_gpus(WantedGpus((2, 0, 1), 2), lambda: FREE, first) == ((2, 0), "GPU used: 2 0")
        assert choose_gpus(WantedGpus((2, 0, 1), 2), lambda: FREE, second) == ((1,), "GPU used: 1")
        with pytest.raises(NoFreeGpuError, match="All GPUs are in use: 2 0 1") as error:
            choose_gpus(WantedGpus((2, 0, 1), 2), lambda: FREE, third)
        assert error.value.exit_code == 1


def test_one_movie_is_corrected_on_one(tmp_path):
    assert choose_gpus(WantedGpus((2, 0), is_for_one_movie=True), lambda: FREE, GpuLeases())[1] == "GPU used: 2"
    with GpuLeases(tmp_path / "free.txt") as leases:
        assert choose_gpus(WantedGpus((1, 0, 2), 2, is_for_one_movie=True), lambda: FREE, leases)[0] == (1,)
        assert leases.gpus == (1,)


def test_one_that_is_not_there():
    with pytest.raises(DeviceError, match=r"-Gpu 7: no such GPU, there are 0 1 2"):
        choose_gpus(WantedGpus((0, 7)), lambda: FREE, GpuLeases())


class AtOnce:
    """A thread that has run when `start` returns, and raises what its work does."""

    def __init__(self, target, daemon):
        self.start = target


@pytest.mark.parametrize(("ids", "expected"), [((2,), ["init", 2]), ((-1,), []), ((0, 1), [])])
def test_cuda_starts_early_for_one_gpu(monkeypatch, ids, expected):
    asked = []

    class Driver:
        def cuInit(self, flags):
            asked.append("init")

        def cuDevicePrimaryCtxRetain(self, context, number):
            asked.append(number)

    monkeypatch.setattr(devices, "Thread", AtOnce)
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: Driver())
    devices.start_cuda(ids)
    assert asked == expected


def test_no_driver_is_no_error_yet(monkeypatch):
    asked = []

    def missing(name):
        asked.append(name)
        raise OSError(name)

    monkeypatch.setattr(devices, "Thread", AtOnce)
    monkeypatch.setattr(devices.ctypes, "CDLL", missing)
    devices.start_cuda((0,))
    assert asked
