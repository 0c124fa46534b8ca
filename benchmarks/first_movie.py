"""The first movie on a new machine, where all loops have to be compiled, against a later one; on the CPU.

    python benchmarks/first_movie.py                  # movies of 512 x 512 x 8 and 4096 x 4096 x 8 pixels
    python benchmarks/first_movie.py --side 512       # one of them
    python benchmarks/first_movie.py --source DIR     # another version: the folder that holds its package

Each run is a process of its own. CPU seconds contain those of the helpers that compile (Linux). The goal is that the
first movie takes at most twice as long as a later one and 5 s.
"""

from __future__ import annotations

import argparse
import compileall
import ctypes
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent))
from speed_cpu import movie_folder

KIND, FRAMES = "falcon", 8
FLAGS = ("-Gpu", "-1", "-Patch", "5", "5", "-PixSize", "0.885", "-FmDose", "1.2")
PR_SET_CHILD_SUBREAPER = 36
EXTRA_SECONDS = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, nargs="*", default=[512, 4096], help="of the frames, in pixels")
    parser.add_argument("--source", type=Path, default=Path(__file__).resolve().parents[1] / "src")
    parser.add_argument("--movies", type=Path, help="folder where the movies are kept (default: a temporary one)")
    arguments = parser.parse_args()
    if sys.platform == "linux":  # helpers that outlive their run become children of this process
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        source = scratch / "source"  # without loops that are compiled already
        shutil.copytree(arguments.source, source, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(source, quiet=1)  # as pip does
        for side in arguments.side:
            folder = movie_folder(KIND, side, FRAMES, arguments.movies or scratch)
            cache = scratch / f"cache{side}"
            first = correct(folder, scratch, cache, source)
            later = min(correct(folder, scratch, cache, source) for _ in range(2))
            print(
                f"{side} x {side} x {FRAMES}: first {first[0]:.1f} s ({first[1]:.1f} CPU s), later {later[0]:.1f} s "
                f"({later[1]:.1f} CPU s), goal {2 * later[0] + EXTRA_SECONDS:.1f} s",
                flush=True,
            )


def correct(folder: Path, scratch: Path, cache: Path, source: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one run with its compiled loops in ``cache``."""
    command = [sys.executable, "-m", "restframe", "-InTiff", folder / "movie.tif", "-Gain", folder / "gain.mrc"]
    command += [
        "-OutMrc",
        scratch / "sum.mrc",
        *["-Gpu", "-1", "-Patch", "5", "5", "-PixSize", "0.885", "-FmDose", "1.2"],
    ]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(source)}
    before, start = cpu_seconds(), perf_counter()
    subprocess.run(list(map(str, command)), env=environment, check=True, stdout=subprocess.DEVNULL, cwd=scratch)
    wall = perf_counter() - start
    with suppress(ChildProcessError):
        while True:
            os.wait()
    return wall, cpu_seconds() - before


def cpu_seconds() -> float:
    """Of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
