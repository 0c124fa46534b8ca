"""How the command's process starts: before anything that can fail for reasons outside of restframe is imported.

This module imports nothing but the standard library.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import NoReturn

from restframe.environment import own_packages_first, remove_unusable

STANDARD_STREAMS = ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY))
EXIT_OUTPUT, EXIT_OTHER = 4, 6  # as in restframe.errors, which is not imported yet


def command() -> NoReturn:
    """Run the command as a process of its own, which ends at once: removing libraries one by one takes 0.15 s."""
    code = _run()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # reported before, where it could be
            code = code or EXIT_OUTPUT
    os._exit(code)


def _run() -> int:
    closed = _open_closed_streams()
    if 1 in closed:
        sys.stderr.write("Error: stdout is closed. Send it to a file, to a pipe or to /dev/null.\n")
        return EXIT_OUTPUT
    remove_unusable(os.environ, all_others=True)
    package_folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.path[:] = own_packages_first(sys.path, os.environ.get("PYTHONPATH", ""), package_folder)
    if sys.warnoptions:  # PYTHONWARNINGS=error of another program would stop this one
        sys.warnoptions.clear()
        warnings.resetwarnings()
    try:
        from restframe.cli.main import main
    except Exception as error:
        if os.environ.get("RESTFRAME_DEBUG") == "1":
            raise
        sys.stderr.write(f"Error: restframe cannot start: {_import_problem(error)}\n")
        return EXIT_OTHER
    return main()


def _import_problem(error: Exception) -> str:
    """What was wrong with the libraries, and where NumPy was found, in one line."""
    numpy = sys.modules.get("numpy")
    where = getattr(numpy, "__file__", None)
    found = f" NumPy was imported from {where}." if where else ""
    python_path = os.environ.get("PYTHONPATH")
    advice = (
        f" PYTHONPATH is {python_path}: start restframe without it." if python_path else " Install restframe again."
    )
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{first_line.rstrip('.')}.{found}{advice}"


def _open_closed_streams() -> set[int]:
    """Open /dev/null in place of standard streams that are closed, so that no file of ours takes their place.

    Returns the numbers of those that were closed.
    """
    closed = set()
    for number, mode in STANDARD_STREAMS:
        try:
            os.fstat(number)
        except OSError:
            closed.add(number)
            opened = os.open(os.devnull, mode)  # the lowest free number, which is this one
            if opened != number:
                os.dup2(opened, number)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    return closed
