"""Which GPUs are chosen."""

import pytest

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
