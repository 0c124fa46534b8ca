"""Environment variables of other programs that would stop this one, or let a library write to stderr.

Batch systems export OMP_NUM_THREADS empty or 0. Libraries read these variables when they are loaded, so the functions
here are called before NumPy and Numba are imported; this module imports nothing but the standard library.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import MutableMapping, Sequence

COUNT = r"\s*[1-9]\d{0,5}\s*"
COUNTS = rf"{COUNT}(,{COUNT})*"
SWITCH = r"\s*(true|false)\s*"
SIZE = r"\s*[1-9]\d*\s*[bkmg]?\s*"

VALID_VALUES = {  # variables that are kept, where their whole value has this form
    "OMP_NUM_THREADS": COUNTS,
    "OMP_THREAD_LIMIT": COUNT,
    "OMP_MAX_ACTIVE_LEVELS": COUNT,
    "OMP_DYNAMIC": SWITCH,
    "OMP_STACKSIZE": SIZE,
    "GOMP_STACKSIZE": r"\s*[1-9]\d*\s*",
    "OMP_WAIT_POLICY": r"\s*(active|passive)\s*",
    "GOMP_SPINCOUNT": r"\s*\d+\s*[kmgt]?\s*",
    "OPENBLAS_NUM_THREADS": COUNT,
    "GOTO_NUM_THREADS": COUNT,
    "MKL_NUM_THREADS": COUNT,
    "NUMBA_NUM_THREADS": COUNT,
    "NUMBA_CACHE_DIR": r"(?s).+",
    "NUMBA_CPU_NAME": r"[\w-]+",
    "NUMBA_CPU_FEATURES": r"[-+,.\w]*",
}
PREFIXES = ("OMP_", "GOMP_", "KMP_", "NUMBA_")  # variables with these that are not in the table are removed
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "MKL_NUM_THREADS")


def remove_unusable(environment: MutableMapping[str, str], all_others: bool = False) -> list[str]:
    """Remove variables whose value a library would refuse. Returns their names.

    ``all_others``: also those for the same libraries that are not in the table, such as NUMBA_DISABLE_JIT and
    OMP_DISPLAY_ENV: for a process that belongs to restframe alone.
    """
    removed = []
    for name, value in list(environment.items()):
        form = VALID_VALUES.get(name)
        is_unusable = not re.fullmatch(form, value, re.IGNORECASE) if form else all_others and name.startswith(PREFIXES)
        if is_unusable:
            del environment[name]
            removed.append(name)
    return removed


def own_packages_first(search_path: Sequence[str], python_path: str, package_folder: str) -> list[str]:
    """``search_path`` (sys.path) with the folders of PYTHONPATH, and the working folder, behind all others.

    Another program's environment may set PYTHONPATH to its own NumPy. ``package_folder``: where restframe was imported
    from; it stays where it is.
    """
    own = os.path.realpath(package_folder)
    foreign = {os.path.realpath(folder) for folder in python_path.split(os.pathsep)} | {os.path.realpath(os.curdir)}
    foreign -= {own}
    standard = {os.path.realpath(folder) for folder in (sys.prefix, sys.base_prefix)}
    first = [folder for folder in search_path if os.path.realpath(folder) not in foreign - standard]
    return first + [folder for folder in search_path if folder not in first]
