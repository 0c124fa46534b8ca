"""Numba, configured: how loops are compiled, and where they are kept.

Modules with compiled loops import the decorators `compiled_loop` and `inner_loop`, and Numba's types, from here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from restframe.environment import remove_unusable
from restframe.loop_files import loop_files
from restframe.processor import use_portable_loops

remove_unusable(os.environ)
use_portable_loops(os.environ, loop_files())

import numba as nb  # noqa: E402 - reads the environment
from numba import int64, uint8, uint32, uint64  # noqa: E402

from restframe.compiled_cache import LoopCache  # noqa: E402

OPTIONS: dict[str, Any] = {
    "nogil": True,
    "no_cfunc_wrapper": True,
}


def compiled_loop(*signatures: str, **options: Any) -> Any:
    """A decorator for a loop that Python calls: compiled when it is first called, and kept for later processes.

    It runs without Python's lock. ``signatures``: the types of arguments for which it is compiled ahead
    (`restframe.compile_ahead`), such as "(int64, float32[::1])"; it is compiled for others when they occur.
    ``options``: those of `numba.njit`. No array that it writes to may share memory with another argument.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = _without_aliases(nb.njit(**(OPTIONS | options))(function))
        dispatcher._cache = LoopCache(function, signatures)
        return dispatcher

    return compiled


def inner_loop(separate_arrays: bool = False, **options: Any) -> Any:
    """A decorator for a loop that only other compiled loops call. Python must not call it.

    It becomes part of those that call it, and is compiled with them. ``separate_arrays``: no array that it writes to
    shares memory with another argument. This makes some loops faster and others slower.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = nb.njit(**(OPTIONS | options | {"no_cpython_wrapper": True}))(function)
        return _without_aliases(dispatcher) if separate_arrays else dispatcher

    return compiled


def _without_aliases(dispatcher: Any) -> Any:
    """The loop, compiled without tests whether its arrays overlap, as Numba compiles its own parallel loops."""

    def customized(flags: Any) -> Any:
        flags.noalias = True
        return flags

    dispatcher._compiler._customize_flags = customized
    return dispatcher


__all__ = ["compiled_loop", "inner_loop", "int64", "nb", "uint8", "uint32", "uint64"]
