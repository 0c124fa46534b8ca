"""CUDA C to kernels: compiled by CuPy when first needed, kept by it on disk, and launched."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from restframe.arrays import Array

FOLDER = Path(__file__).parent
OPTIONS = ("--std=c++17",)  # as CuPy has it for its own kernels; for each other set it starts the compiler once more
RAW_TYPES = {"uint8": "u1", "int8": "i1", "uint16": "u2", "int16": "i2", "float32": "f4"}
TOTAL_TYPES = {"u": "u4", "i": "i8", "f": "double"}  # in which sums over frames are exact, for integers
CALIBRATED_MODULES = ("raw", "binned")  # these read raw frames
STATIC_SHARED_BYTES = 48 * 1024  # shared memory of a block that no attribute has to allow


def source(module_name: str | Path, definitions: tuple[str, ...] = ()) -> str:
    """The text of a module: ``definitions``, each NAME=VALUE, then what all modules share, then the module's own file.

    A `Path` is a file outside this folder, which shares nothing. Definitions are part of the text instead of options
    of the compiler, because CuPy starts the compiler once for each set of options, even if everything is compiled.
    """
    defined = "".join("#define " + definition.replace("=", " ", 1) + "\n" for definition in definitions)
    if isinstance(module_name, Path):
        return defined + module_name.read_text(encoding="utf-8")
    shared = ["common.cuh", *(["calibration.cuh"] if module_name in CALIBRATED_MODULES else [])]
    return defined + "".join((FOLDER / name).read_text(encoding="utf-8") for name in (*shared, f"{module_name}.cu"))


def all_sources() -> str:
    """The text of all files."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.cu*")))


def raw_definitions(dtype: Any, image_count: int = 1) -> tuple[str, ...]:
    """Definitions of the module `raw` for frames of ``dtype`` and that many running images."""
    total_type = TOTAL_TYPES[np.dtype(dtype).kind]
    return f"RAW={RAW_TYPES[np.dtype(dtype).name]}", f"TOTAL={total_type}", f"IMAGES={image_count}"


@cache
def _compiled_module(module_name: str | Path, definitions: tuple[str, ...], device: int) -> Any:
    import cupy

    compiled = cupy.RawModule(code=source(module_name, definitions), options=OPTIONS)
    compiled.compile()
    return compiled


@cache
def _function(
    module_name: str | Path, kernel: str, definitions: tuple[str, ...], device: int, shared_bytes: int
) -> Any:
    function = _compiled_module(module_name, definitions, device).get_function(kernel)
    if shared_bytes > STATIC_SHARED_BYTES:
        function.max_dynamic_shared_size_bytes = shared_bytes
    return function


def launch(
    module_name: str | Path,
    kernel: str,
    grid: tuple[int, ...],
    threads: int,
    arguments: tuple[Any, ...],
    shared_bytes: int = 0,
    definitions: tuple[str, ...] = (),
) -> None:
    """Start ``kernel`` of a module on the current device and stream, in a ``grid`` of blocks of ``threads`` threads.

    Python's integers become int, its floats float, and None a null pointer. NumPy's numbers keep their type.
    """
    import cupy

    function = _function(module_name, kernel, definitions, cupy.cuda.Device().id, shared_bytes)
    function(tuple(map(int, grid)), (threads,), tuple(map(_kernel_argument, arguments)), shared_mem=shared_bytes)


def set_constant(module_name: str, constant: str, values: Array, definitions: tuple[str, ...] = ()) -> None:
    """Copy ``values`` to a ``__constant__`` array of a module on the current device.

    The caller always gives the same values, so that several movies on one GPU do not disturb each other.
    """
    import cupy

    memory = _compiled_module(module_name, definitions, cupy.cuda.Device().id).get_global(constant)
    memory.copy_from_device_async(cupy.asarray(values).data, values.nbytes)


def _kernel_argument(value: Any) -> Any:
    if value is None:
        return np.uint64(0)
    if isinstance(value, int):
        return np.int32(value)
    return np.float32(value) if type(value) is float else value
