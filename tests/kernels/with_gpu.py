"""CuPy, for tests that need a GPU: a module that imports this is skipped where there is none."""

import pytest

cupy = pytest.importorskip("cupy")
try:
    there = cupy.cuda.runtime.getDeviceCount() > 0
except cupy.cuda.runtime.CUDARuntimeError:
    there = False
if not there:
    pytest.skip("no CUDA device", allow_module_level=True)
