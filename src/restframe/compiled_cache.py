"""Compiled loops in files, so that later processes need not compile them.

This takes the place of Numba's own cache, in which a damaged file ends every run, and whose folder is chosen by
permissions (`restframe.loop_files` has the files). Of processes that need the same loop at the same time, one compiles
it.
"""

from __future__ import annotations

import gc
import hashlib
import pickle
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import compiler, serialize, sigutils
from numba.core.registry import cpu_target

from restframe.loop_files import loop_files

# Numba has no complete types
normalize_signature: Any = sigutils.normalize_signature
rebuild_compiled: Any = compiler.CompileResult._rebuild
serialized: Any = serialize.dumps


@cache
def _source_digest(folder: Path) -> str:
    """The state of all sources in a folder, as a loop contains the inner loops of other modules, and of the options."""
    digest = hashlib.sha256()
    for path in (*sorted(folder.glob("*.py")), Path(__file__).with_name("loops.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class LoopCache:
    """The compiled forms of one loop, in files. Takes the place of the cache of one of Numba's dispatchers."""

    def __init__(self, function: Callable[..., Any], signatures: tuple[str, ...] = ()) -> None:
        self.signatures = signatures
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self._source = Path(function.__code__.co_filename)
        self._collects_garbage = False

    def file_name(self, signature: Any, codegen: Any) -> str:
        """The file of the loop for these types of arguments, this processor, and these versions."""
        versions = sys.version, sys.platform, numba.__version__, llvmlite.__version__
        source = _source_digest(self._source.parent)
        description = self._name, str(signature), codegen.magic_tuple(), versions, source
        return f"{self._name}-{hashlib.sha256(repr(description).encode()).hexdigest()[:24]}.bin"

    @staticmethod
    def argument_types(signature: str) -> tuple[Any, ...]:
        """Numba's types for one of ``signatures``."""
        types, _ = normalize_signature(signature)
        return tuple(types)

    def is_kept(self, signature: str) -> bool:
        """Whether a file holds the loop for one of ``signatures``."""
        codegen = cpu_target.target_context.codegen()
        return loop_files().has(self.file_name(self.argument_types(signature), codegen))

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled loop; None if it has to be compiled, which other processes then wait for."""
        target_context.refresh()
        name, files = self.file_name(signature, target_context.codegen()), loop_files()
        data = files.read(name)
        if data is None:
            files.lock(name)
            data = files.read(name)  # another process may have compiled it meanwhile
        if data is None:
            self._collects_garbage = gc.isenabled()
            gc.disable()  # it takes a fifth of the time
            return None
        files.unlock()
        return rebuild_compiled(target_context, *pickle.loads(data))

    def save_overload(self, signature: Any, compiled: Any) -> None:
        """Keep a loop that was compiled."""
        if self._collects_garbage:
            gc.enable()
        loop_files().write(self.file_name(signature, compiled.codegen), serialized(compiled._reduce()))
        loop_files().unlock()
