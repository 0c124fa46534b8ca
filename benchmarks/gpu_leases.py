"""Processes race for a few GPUs and are killed at random: is a GPU ever held twice, or lost?

    python benchmarks/gpu_leases.py --rounds 200

No GPU is needed: numbers stand for them. In each round 16 processes try to take one of 4 GPUs. Who gets one notes this
in a file that only one process can make, holds the GPU for a moment, and removes the file. Some are killed while they
hold one. In every third round the file of GPUs is deleted in the middle. After each round, all 4 must be free. Prints
one line, and ends with 1 if a GPU was held twice or lost.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from restframe.batch.leases import GpuLeases
from restframe.errors import NoFreeGpuError

GPUS = (0, 1, 2, 3)
RACERS = 16
ROUNDS_PER_DELETION = 3

RACER = """
import os, random, sys, time
from pathlib import Path
from restframe.batch.leases import GpuLeases
from restframe.errors import NoFreeGpuError

def is_alive(pid):
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except OSError:
        return False

folder = Path(sys.argv[1])
random.seed(os.getpid())
print("ready", flush=True)
for line in sys.stdin:
    answer = "none"
    deadline = time.monotonic() + float(line)
    while time.monotonic() < deadline:
        try:
            with GpuLeases(folder / "free.txt") as leases:
                (gpu,) = leases.acquire((0, 1, 2, 3), 1)
                holder = folder / f"holder-{gpu}"
                try:
                    descriptor = os.open(holder, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                except FileExistsError:
                    other = holder.read_text()
                    if other and is_alive(other):
                        answer = "TWICE"
                        break
                    descriptor = os.open(holder, os.O_WRONLY | os.O_TRUNC)  # of one that was killed
                os.write(descriptor, str(os.getpid()).encode())
                os.close(descriptor)
                answer = "held"
                time.sleep(random.uniform(0, 0.02))
                holder.unlink()
        except NoFreeGpuError:
            time.sleep(random.uniform(0, 0.01))
    print(answer, flush=True)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", RACER, folder], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def holder_pids(folder: Path) -> list[int]:
    """The processes that hold a GPU now."""
    pids = []
    for path in folder.glob("holder-*"):
        with suppress(OSError, ValueError):  # it is just given back
            pids.append(int(path.read_text()))
    return pids


def run_rounds(folder: Path, rounds: int, round_seconds: float = 0.2, seed: int = 0) -> Counter[str]:
    """How often GPUs were taken, processes killed, files deleted, and each fault."""
    rng, counts = random.Random(seed), Counter[str]()
    racers = [start(folder) for _ in range(RACERS)]
    try:
        for number in range(rounds):
            for racer in racers:
                assert racer.stdin
                racer.stdin.write(f"{round_seconds}\n")
                racer.stdin.flush()
            time.sleep(rng.uniform(0.2, 0.9) * round_seconds)
            if number % ROUNDS_PER_DELETION == 0:
                (folder / "free.txt").unlink(missing_ok=True)
                counts["deletions"] += 1
            holders = holder_pids(folder)
            victims = [racer for racer in racers if racer.pid in holders][:2]
            for victim in victims:
                end(victim)
                racers.remove(victim)
                counts["kills"] += 1
            for racer in racers:
                assert racer.stdout
                counts[racer.stdout.readline().strip()] += 1
            try:
                with GpuLeases(folder / "free.txt") as leases:
                    counts["lost"] += len(GPUS) - len(leases.acquire(GPUS, len(GPUS)))
            except NoFreeGpuError:
                counts["lost"] += len(GPUS)
            for path in folder.glob("holder-*"):
                path.unlink()
            racers += [start(folder) for _ in victims]
            counts["rounds"] += 1
    finally:
        for racer in racers:
            end(racer)
    return +counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    values = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = run_rounds(Path(folder), values.rounds)
    print(", ".join(f"{name}: {count}" for name, count in counts.items()))
    sys.exit(bool(counts["TWICE"] or counts["lost"]))


if __name__ == "__main__":
    main()
