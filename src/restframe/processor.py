"""The kind of processor for which loops are compiled: this one, or one that others of its family contain.

Loops that are compiled for a portable processor serve in container images, which are built on one machine and run on
others. They are used where `restframe warm-up --portable` has made them: the same bytes on all machines of the family.
"""

from __future__ import annotations

import os
import platform
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

from restframe.loop_files import LoopFiles

MARKER = "portable"  # a file among the compiled loops, which holds the name of the processor
NAME_VARIABLE, FEATURES_VARIABLE = "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"
X86, X86_FEATURES = "x86-64-v3", frozenset({"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe", "abm"})
"""Intel's since 2013, AMD's since 2015."""
OTHERS = "generic"


def portable_processor() -> str:
    """LLVM's name of the portable processor of this machine's family."""
    return X86 if platform.machine().lower() in ("x86_64", "amd64") else OTHERS


def contains(name: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this machine's processor has all that loops for the processor ``name`` need."""
    if name != portable_processor():
        return False
    if name == OTHERS:
        return True
    with suppress(OSError), open(cpuinfo, encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("flags"):
                return set(line.split()) >= X86_FEATURES
    return False


def set_processor(environment: MutableMapping[str, str], name: str) -> None:
    """Let Numba, which is not imported yet, compile for the processor ``name``."""
    environment[NAME_VARIABLE], environment[FEATURES_VARIABLE] = name, ""


def use_portable_loops(environment: MutableMapping[str, str], files: LoopFiles) -> None:
    """Where loops for a portable processor are kept, and this machine can run them, use these. Before Numba is loaded.

    A processor that the environment names is kept.
    """
    if NAME_VARIABLE in environment or FEATURES_VARIABLE in environment:
        return
    name = (files.read(MARKER) or b"").decode("ascii", "replace")
    if name and contains(name):
        set_processor(environment, name)


def describe(environment: MutableMapping[str, str] = os.environ) -> str:
    """The processor for which loops are compiled, for the user."""
    name = environment.get(NAME_VARIABLE)
    return f"{name} (portable)" if name == portable_processor() else name or "this processor"
