"""All implementations have the methods that the protocol declares, with its parameters."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

from restframe.kernels.cpu import Cpu
from restframe.kernels.cuda import Cuda
from restframe.kernels.interface import Kernels
from restframe.kernels.reference import Reference

METHODS = sorted(name for name, member in vars(Kernels).items() if inspect.isfunction(member) and name[0] != "_")
ATTRIBUTES = sorted(Kernels.__annotations__)
MOST_PARAMETERS = 7


def parameters(owner, name):
    """Name, kind and default of each parameter, in order, without ``self``."""
    found = inspect.signature(inspect.getattr_static(owner, name).__get__(object(), owner)).parameters.values()
    return [(parameter.name, parameter.kind, parameter.default) for parameter in found]


def test_there_are_methods_to_compare():
    assert len(METHODS) > 40
    assert {"gather", "align_spectra", "active", "to_host"} <= set(METHODS)
    assert ATTRIBUTES == ["compiling_notice", "frames_per_block"]


@pytest.mark.parametrize("implementation", [Reference, Cpu, Cuda])
@pytest.mark.parametrize("name", METHODS)
def test_the_same_parameters(implementation, name):
    assert parameters(implementation, name) == parameters(Kernels, name)


@pytest.mark.parametrize("implementation", [Reference, Cpu, Cuda])
def test_nothing_but_the_interface(implementation):
    public = {name for name in vars(implementation) if name[0] != "_"}
    assert public == {*METHODS, *ATTRIBUTES}
    assert isinstance(implementation.frames_per_block, int) and isinstance(implementation.compiling_notice, str)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_documented(name):
    assert len(inspect.getdoc(getattr(Kernels, name)) or "") > 20
    assert len(parameters(Kernels, name)) <= MOST_PARAMETERS


def test_the_class_for_cuda_needs_no_cupy():
    code = "import sys; sys.modules['cupy'] = None; from restframe.kernels.cuda import Cuda; print(Cuda.__name__)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "Cuda"


def test_where_arrays_lie(kernels):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    there = kernels.to_device(array)
    np.testing.assert_array_equal(kernels.to_host(there), array)
    zeros, empty = kernels.zeros((2, 3), np.float32), kernels.empty((4,), np.int32)
    assert type(zeros) is type(there) and type(empty) is type(there)
    assert not kernels.to_host(zeros).any() and zeros.shape == (2, 3) and empty.dtype == np.int32
    assert kernels.parallel_map(lambda item: item + 1, range(5)) == [1, 2, 3, 4, 5]
    assert not kernels.is_out_of_memory(ValueError("something else"))
