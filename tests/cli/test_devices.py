"""Which GPUs are chosen."""

import pytest

from restframe.cli import devices
from restframe.cli.devices import choose_gpus
from restframe.errors import DeviceError

FREE = {0: lambda: 10, 1: lambda: 30, 2: lambda: 20}


def test_the_cpu_when_asked_for_or_without_cuda():
    assert choose_gpus((-1,), 0, lambda: FREE) == ((), "The CPU is used, as asked for.")
    assert choose_gpus((0, 1), 0, lambda: "there is no CUDA device.") == (
        (),
        "The CPU is used: there is no CUDA device.",
    )


def test_all_that_are_listed():
    assert choose_gpus((2, 0, 2), 0, lambda: FREE)[0] == (2, 0)
    assert choose_gpus((2, 0), 5, lambda: FREE)[0] == (2, 0)


def test_those_with_the_most_free_memory():
    assert choose_gpus((0, 1, 2), 2, lambda: FREE)[0] == (1, 2)


def test_one_that_is_not_there():
    with pytest.raises(DeviceError, match=r"-Gpu 7: no such GPU, there are 0 1 2"):
        choose_gpus((0, 7), 0, lambda: FREE)


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
