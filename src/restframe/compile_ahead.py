"""Compiles all loops for the CPU before they are needed, in several processes.

Numba compiles one loop at a time in a process. The first run on a machine therefore starts helpers: processes that
compile loops in another order than the run needs them. A loop that one of them is compiling is waited for and not
compiled twice (`restframe.compiled_cache`), so that two first runs at the same time share the work, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from threading import Event, Thread
from typing import Any

from restframe.cores import available_cores
from restframe.loop_files import loop_files

MODULES = (
    "restframe.movie.events",  # not every movie needs these two
    "restframe.kernels.cpu.fixed_pattern",
    "restframe.movie.lzw",  # the others in the order in which a run needs them
    "restframe.kernels.cpu.images",
    "restframe.kernels.cpu.binned",
    "restframe.kernels.cpu.tiles",
    "restframe.kernels.cpu.spectra",
    "restframe.kernels.cpu.gather",
    "restframe.kernels.cpu.fourier",
)
MAX_HELPERS = 7
MANY_LOOPS = 100  # as many as there can be
LOOPS_PER_PROCESS = 3  # fewer take less time than importing the libraries
_helpers_started = Event()
HELPER = (
    "import sys; sys.path[:] = sys.argv[4:]; from restframe.compile_ahead import help_to_compile; "
    "help_to_compile(*map(int, sys.argv[1:4]))"
)


def loops() -> list[tuple[Any, str]]:
    """All loops and the types of arguments for which they are compiled ahead."""
    from restframe.compiled_cache import LoopCache  # imports Numba

    return [
        (dispatcher, signature)
        for module in map(import_module, MODULES)
        for dispatcher in vars(module).values()
        if isinstance(getattr(dispatcher, "_cache", None), LoopCache) and dispatcher.__module__ == module.__name__
        for signature in dispatcher._cache.signatures
    ]


def missing_loops() -> list[tuple[Any, str]]:
    """Those of `loops` that have to be compiled: no process has kept them."""
    return [(loop, signature) for loop, signature in loops() if not loop._cache.is_kept(signature)]


def compile_missing(number: int, processes: int) -> Iterator[str]:
    """Compile the loops that are missing. Yields their names.

    Process ``number`` of ``processes`` begins at the end of its share, and goes on with the shares before it.
    """
    missing = missing_loops()
    last = len(missing) * (number + 1) // processes - 1
    for index in range(last, last - len(missing), -1):
        loop, signature = missing[index]
        if not loop._cache.is_kept(signature):
            loop.compile(loop._cache.argument_types(signature))
        yield f"{loop.__module__}.{loop.__name__}"


def process_count(threads: int, missing: int) -> int:
    """How many processes are of use for ``missing`` loops where ``threads`` may run."""
    return max(1, min(threads, available_cores(), MAX_HELPERS + 1, missing // LOOPS_PER_PROCESS))


def start_early(threads: int) -> None:
    """Start helpers where no loop is kept at all, before this process has loaded its own libraries."""
    if loop_files().is_empty():
        start_helpers_once(process_count(threads or available_cores(), MANY_LOOPS))


def start_helpers_once(processes: int) -> None:
    """`start_helpers`, at the first call in this process."""
    if not _helpers_started.is_set():
        _helpers_started.set()
        start_helpers(processes)


def start_helpers(processes: int) -> list[subprocess.Popen[bytes]]:
    """Start processes that compile what is missing, ``processes`` with this one; none where nothing can be shared."""
    if processes < 2 or not sys.executable or loop_files().writable_place() is None:
        return []
    helpers = []
    with suppress(OSError):
        for number in range(1, processes):
            shares = map(str, (number, processes, os.getpid()))
            command = [sys.executable, "-c", HELPER, *shares, *sys.path]
            nothing = subprocess.DEVNULL
            helpers.append(subprocess.Popen(command, stdin=nothing, stdout=nothing, stderr=nothing))
    Thread(target=_wait_for, args=(helpers,), name="helpers", daemon=True).start()
    return helpers


def _wait_for(helpers: list[subprocess.Popen[bytes]]) -> None:
    """Until all helpers have ended: they leave no entries in the system's table of processes, and no warnings."""
    for helper in helpers:
        helper.wait()


def help_to_compile(number: int, processes: int, parent: int) -> None:
    """What helper ``number`` does, until all is done or its parent has ended."""
    for _ in compile_missing(number, processes):
        if hasattr(os, "getppid") and os.getppid() != parent:
            return
