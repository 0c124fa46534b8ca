"""Kill batches at random moments, start them again, and look at what they leave.

    python benchmarks/batch_kills.py --kills 200

Each batch corrects small movies and is killed (SIGKILL) after a random part of its usual time, again and again until
all movies are done. Counted as faults: a file under a final name that is not that of an undisturbed batch, byte for
byte; a record whose outputs are missing; a movie that has a record and is corrected again; a movie that is missing at
the end. Prints one line, and ends with 1 if there was a fault.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import mrcfile
import numpy as np

WORDS = "-InMrc movies/ -OutMrc out/ -Serial 1 -PixSize 1.5 -FmDose 4 -LogDir logs -Gain gain.mrc -Iter 3 -Gpu -1"
SIDE, FRAMES = 128, 4


def make_movies(folder: Path, count: int, seed: int = 9) -> None:
    """Small movies of a specimen that moves, and a gain."""
    rng = np.random.default_rng(seed)
    (folder / "movies").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        scene = np.kron(rng.integers(2, 12, (48, 48)), np.ones((4, 4)))
        frames = [scene[8 : 8 + SIDE, 20 - t : 20 + SIDE - t] for t in range(FRAMES)]
        with mrcfile.new(
            folder / f"movies/m{number:03d}.mrc", data=rng.poisson(frames).astype(np.int16), overwrite=True
        ) as mrc:
            mrc.set_image_stack()
    mrcfile.write(folder / "gain.mrc", np.ones((SIDE, SIDE), np.float32), overwrite=True)


def start(folder: Path, words: str = WORDS) -> subprocess.Popen[str]:
    """A batch in ``folder``."""
    (folder / "out").mkdir(exist_ok=True)
    command = ["nice", sys.executable, "-m", "restframe", *words.split()]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outputs(folder: Path) -> dict[str, bytes]:
    """Images and logs under their final names."""
    paths = sorted([*folder.glob("out/*.mrc"), *folder.glob("logs/*.log")])
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def records(folder: Path) -> dict[str, int]:
    """Each record by name, with the time at which it was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("out/restframe/*.json")}


def faults_after_kill(folder: Path, expected: Mapping[str, bytes], earlier: Mapping[str, int]) -> list[str]:
    """What is wrong after a kill. ``earlier``: the records before that run."""
    now = records(folder)
    faults = [f"{name} was done twice" for name, written in earlier.items() if now.get(name) != written]
    found = outputs(folder)
    faults += [f"{name} is partial" for name, data in found.items() if expected.get(name) != data]
    for name in now:
        record = json.loads((folder / "out/restframe" / name).read_text())
        missing = [one["path"] for one in record["outputs"] if not (folder / "out/restframe" / one["path"]).is_file()]
        faults += [f"{name} names {path}, which is missing" for path in missing]
    return faults


def run_kills(folder: Path, kills: int, movie_count: int = 8, seed: int = 0) -> Counter[str]:
    """How often batches were killed, how many batches were completed, and each fault."""
    rng = random.Random(seed)
    reference = folder / "reference"
    make_movies(reference, movie_count)
    for _ in range(2):  # the second one finds compiled loops
        started = time.monotonic()
        process = start(reference, f"{WORDS} --redo")
        text, _ = process.communicate()
        if process.returncode:
            raise SystemExit(text)
        usual_seconds = time.monotonic() - started
    expected = outputs(reference)
    counts: Counter[str] = Counter()
    while counts["kills"] < kills:
        batch = folder / f"batch{counts['batches']}"
        make_movies(batch, movie_count)
        while True:
            earlier = records(batch)
            started = time.monotonic()
            process = start(batch)
            try:
                enough = counts["kills"] >= kills
                process.communicate(timeout=None if enough else rng.uniform(0.3, 1.3) * usual_seconds)
                if not earlier:  # other programs may have slowed the reference down
                    usual_seconds = min(usual_seconds, time.monotonic() - started)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                counts["kills"] += 1
            counts.update(faults_after_kill(batch, expected, earlier))
        counts["batches"] += 1
        if process.returncode or outputs(batch) != expected or len(records(batch)) != movie_count:
            counts["batch is not complete"] += 1
        counts.update(faults_after_kill(batch, expected, earlier))
        leftovers = [path for path in batch.rglob(".*") if path.suffix == ".part"]
        counts["temporary files after the end"] += len(leftovers)
    return +counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    values = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = run_kills(Path(folder), values.kills, seed=values.seed)
    print(", ".join(f"{name}: {count}" for name, count in counts.items()))
    sys.exit(bool(set(counts) - {"kills", "batches"}))


if __name__ == "__main__":
    main()
