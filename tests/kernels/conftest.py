"""The same tests for all implementations of the kernels that are available here."""

import pytest
from with_gpu import why_no_gpu

from restframe.kernels.cpu import Cpu
from restframe.kernels.reference import Reference


def _make(name):
    if name == "cpu":
        return Cpu(2)
    reason = why_no_gpu()
    if reason:
        pytest.skip(reason)
    from restframe.kernels.cuda import Cuda

    return Cuda(0)


@pytest.fixture(params=["cpu", "cuda"])
def kernels(request):
    """A fast implementation, active; skipped where it cannot run."""
    made = _make(request.param)
    with made.active():
        yield made


@pytest.fixture
def reference():
    return Reference()
