"""Whether there is a GPU, and CuPy for tests that need one: a module that calls `require_gpu` is skipped without it."""

import functools
import importlib

import pytest


@functools.cache
def why_no_gpu() -> str:
    """Why CUDA kernels cannot run here; empty if they can."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        return f"CuPy cannot be imported: {error}"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no CUDA device: {error}"
    return "" if count else "no CUDA device"


def require_gpu():
    """CuPy; skips the module that calls this where there is no GPU."""
    reason = why_no_gpu()
    if reason:
        pytest.skip(reason, allow_module_level=True)
    return importlib.import_module("cupy")
