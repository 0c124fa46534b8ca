"""The CUDA kernels compile, for GPUs that this machine need not have."""

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from restframe.kernels.cuda.gather import GATHER_DEFINITIONS
from restframe.kernels.cuda.modules import OPTIONS, RAW_TYPES, raw_definitions, source
from restframe.kernels.cuda.tiles import transform_definitions
from restframe.kernels.cuda.trajectories import THREADS
from restframe.simulate.cuda import SOURCE

BINNING = ("FACTOR=3", "TAPS=19")
MODULES = [
    *(("raw", (*raw_definitions(np.dtype(name), 1 + k), *GATHER_DEFINITIONS)) for k, name in enumerate(RAW_TYPES)),
    ("raw", raw_definitions(np.dtype(np.uint8), 12)),
    ("binned", (raw_definitions(np.dtype(np.uint8))[0], *BINNING)),
    *(
        ("tiles", transform_definitions(size, cells, band))
        for size, cells, band in ((62, 31, 24), (96, 12, 38), (256, 16, 102))
    ),
    *((name, ()) for name in ("spectra", "images", "values", "decode", "fixed_pattern")),
    *(("trajectories", (f"THREADS={threads}",)) for threads in THREADS.values()),
]


@pytest.fixture(scope="module")
def nvrtc():
    found = importlib.util.find_spec("nvidia.cuda_nvrtc") if importlib.util.find_spec("nvidia") else None
    if not found or not found.submodule_search_locations:
        pytest.skip("no NVRTC; the test extra brings it on Linux")
    folder = Path(next(iter(found.submodule_search_locations))) / "lib"
    return ctypes.CDLL(str(next(folder.glob("libnvrtc.so*"))))


def compiled(nvrtc, text: str, options: tuple[str, ...]) -> tuple[bool, str]:
    program = ctypes.c_void_p()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None) == 0
    words = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
    good = nvrtc.nvrtcCompileProgram(program, len(options), words) == 0
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return good, log.value.decode()


@pytest.mark.parametrize(("name", "definitions"), MODULES, ids=lambda v: v if isinstance(v, str) else "".join(v)[:60])
def test_for_several_gpus(nvrtc, name, definitions):
    for gpu in ("sm_75", "sm_90"):
        good, log = compiled(nvrtc, source(name, definitions), (*OPTIONS, f"--gpu-architecture={gpu}"))
        assert good, log


def test_the_simulators_loops(nvrtc):
    good, log = compiled(nvrtc, source(SOURCE), (*OPTIONS, "--gpu-architecture=sm_75"))
    assert good, log


def test_an_error_is_found(nvrtc):
    good, log = compiled(nvrtc, source("images") + "\nvoid wrong() { return 1; }", OPTIONS)
    assert not good
    assert "kernels.cu" in log
