"""What does it cost to force results to the disk before they get their names (--fsync 1, the default)?

    python benchmarks/fsync.py --pairs 5 --shape 24 2048 2048

The same movie is corrected with --fsync 1 and --fsync 0 in turn. Seconds are those of the movie's record, without the
start of the program. Prints the medians of all steps and of saving, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

FLAGS = "-OutMrc o.mrc -Gain set/gain.mrc -Patch 5 5 -PixSize 1 -FmDose 2 -LogDir . -SplitSum 1 --record -Gpu -1"


def seconds_of_run(folder: Path, fsync: int) -> tuple[float, float]:
    """Seconds of the whole movie, and of saving."""
    command = [sys.executable, "-m", "restframe", "-InTiff", "set/movie.tif", *FLAGS.split(), "--fsync", str(fsync)]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    seconds = json.loads((folder / "o.json").read_text())["seconds"]
    return sum(seconds.values()), seconds["saving"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--shape", type=int, nargs=3, default=(24, 2048, 2048), help="frames, height, width")
    parser.add_argument("--folder", help="on the disk that is measured; a temporary one unless it is given")
    values = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=values.folder) as name:
        folder = Path(name)
        shape = [str(side) for side in values.shape]
        simulate = ["simulate", "set", "--kind", "demo", "--shape", *shape, "--seed", "11"]
        subprocess.run([sys.executable, "-m", "restframe", *simulate], cwd=folder, check=True)
        seconds_of_run(folder, 1)  # compiles
        seconds: dict[int, list[tuple[float, float]]] = {0: [], 1: []}
        for pair in range(values.pairs):
            for fsync in (0, 1) if pair % 2 else (1, 0):
                seconds[fsync].append(seconds_of_run(folder, fsync))
    for name, index in (("movie", 0), ("saving", 1)):
        without, with_fsync = (median(one[index] for one in seconds[fsync]) for fsync in (0, 1))
        print(f"{name}: {with_fsync:.3f} s with fsync, {without:.3f} s without, ratio {with_fsync / without:.3f}")


if __name__ == "__main__":
    main()
