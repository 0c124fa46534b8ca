"""CUDA C to kernels: compiled by CuPy when first needed, kept by it on disk."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
OPTIONS = ("--std=c++17",)  # as CuPy has it for its own kernels: for each set it starts the compiler, if only to look
RAW_TYPES = {"uint8": "u1", "int8": "i1", "uint16": "u2", "int16": "i2", "float32": "f4"}
TOTAL_TYPES = {"u": "u4", "i": "i8", "f": "double"}  # in which sums over frames are exact, for integers


def source(name: str, definitions: tuple[str, ...] = ()) -> str:
    """The text of a module: ``definitions``, NAME=VALUE, then what all share, then its own.

    They are no options of the compiler, because CuPy starts that once for each set of options, compiled before or not.
    """
    defined = "".join("#define " + definition.replace("=", " ", 1) + "\n" for definition in definitions)
    parts = ["common.cuh", *(["calibration.cuh"] if name in ("raw", "small") else []), f"{name}.cu"]
    return defined + "".join((HERE / part).read_text(encoding="utf-8") for part in parts)


def raw_definitions(dtype: np.dtype, images: int = 1) -> tuple[str, ...]:
    """Definitions of the module `raw` for frames of ``dtype`` and that many running images."""
    total = TOTAL_TYPES[np.dtype(dtype).kind]
    return f"RAW={RAW_TYPES[np.dtype(dtype).name]}", f"TOTAL={total}", f"IMAGES={images}"


@cache
def module(name: str, definitions: tuple[str, ...], device: int):
    """A compiled module on a device."""
    import cupy

    made = cupy.RawModule(code=source(name, definitions), options=OPTIONS)
    made.compile()
    return made


@cache
def _function(name: str, kernel: str, definitions: tuple[str, ...], device: int, shared: int):
    function = module(name, definitions, device).get_function(kernel)
    if shared > 48 * 1024:
        function.max_dynamic_shared_size_bytes = shared
    return function


def launch(name: str, kernel: str, grid, block: int, arguments, shared: int = 0, definitions: tuple[str, ...] = ()):
    """Start a kernel on the current device and stream; integers go as int, floats as float, None as a null pointer."""
    import cupy

    function = _function(name, kernel, definitions, cupy.cuda.Device().id, shared)
    function(tuple(map(int, grid)), (block,), tuple(map(_argument, arguments)), shared_mem=shared)


def _argument(value: Any) -> Any:
    if value is None:
        return np.uint64(0)
    if isinstance(value, int | np.int32):
        return np.int32(value)
    return np.float32(value) if isinstance(value, float) else value
