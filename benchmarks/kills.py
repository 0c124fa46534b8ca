"""Kill runs of the command at random moments, and look at what they leave.

    python benchmarks/kills.py --runs 200

Each run corrects a small movie with all kinds of output and is killed (SIGKILL): one half of them after a random part
of the usual time, the other half a few milliseconds after several files have appeared, while results are saved.
A file under a final name must then be that of a complete run, byte for byte, and after one more run no temporary file
may be left in any of its folders. Prints one line, and ends with 1 if that was not so.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import mrcfile
import numpy as np

WORDS = (
    "-InMrc movie.mrc -OutMrc out/o.mrc -PixSize 1.5 -FmDose 4 -SplitSum 1 -OutStack 1 2 -Patch 2 2 -LogDir out/logs "
    "-OutAln out/aln -OutStar 1 -Gain gain.mrc -FlipGain 1 -Gpu -1"
)


SAVING_SECONDS = 0.02  # that saving takes, about
DRAFTS_WHILE_SAVING = 3


def make_inputs(folder: Path) -> None:
    """A movie of a specimen that moves, and a gain."""
    rng = np.random.default_rng(9)
    scene = np.kron(rng.integers(2, 12, (80, 80)), np.ones((4, 4)))
    frames = rng.poisson([scene[8:264, 20 - t : 276 - t] for t in range(10)]).astype(np.int16)
    with mrcfile.new(folder / "movie.mrc", data=frames) as mrc:
        mrc.set_image_stack()
    mrcfile.write(folder / "gain.mrc", np.ones((256, 256), np.float32))


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A run of the command in ``folder``."""
    (folder / "out").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "restframe", *WORDS.split()],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def files(folder: Path) -> dict[str, bytes]:
    """Every file under the folder of the outputs."""
    found = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def is_temporary(name: str) -> bool:
    return Path(name).name.startswith(".")


def kill_and_look(folder: Path, seconds: float, while_saving: bool, expected: Mapping[str, bytes]) -> str:
    """What a run leaves that is killed after ``seconds``: "ended before", "nothing", "temporary files", "files", or
    "PARTIAL FILE". ``while_saving``: the seconds are counted from when the images are being written.
    """
    shutil.rmtree(folder / "out", ignore_errors=True)
    process = start(folder)
    while while_saving and process.poll() is None and len(list((folder / "out").glob(".*.part"))) < DRAFTS_WHILE_SAVING:
        time.sleep(0.0005)
    try:
        process.wait(seconds)
        return "ended before"
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    left = files(folder)
    finals = {name: data for name, data in left.items() if not is_temporary(name)}
    if any(expected.get(name) != data for name, data in finals.items()):
        return "PARTIAL FILE"
    if finals:
        return "files"
    return "temporary files" if left else "nothing"


def run_kills(folder: Path, runs: int, seed: int = 1) -> Counter[str]:
    """How many runs left what; the key "STALE FILE" counts next runs after which a temporary file was left."""
    make_inputs(folder)
    assert start(folder).wait() == 0
    begin = time.perf_counter()
    assert start(folder).wait() == 0
    usual_seconds = time.perf_counter() - begin
    expected = files(folder)
    counts: Counter[str] = Counter()
    generator = random.Random(seed)
    for _ in range(runs):
        while_saving = generator.random() < 0.5
        seconds = generator.uniform(0, SAVING_SECONDS if while_saving else usual_seconds)
        outcome = kill_and_look(folder, seconds, while_saving, expected)
        counts[outcome] += 1
        if outcome == "temporary files" or outcome == "files":
            assert start(folder).wait() == 0
            after = files(folder)
            counts["STALE FILE"] += any(map(is_temporary, after))
            counts["WRONG RESULT"] += after != expected
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = run_kills(Path(folder), arguments.runs, arguments.seed)
    print(f"{arguments.runs} runs killed: " + ", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    return int(bool(counts["PARTIAL FILE"] or counts["STALE FILE"] or counts["WRONG RESULT"]))


if __name__ == "__main__":
    sys.exit(main())
