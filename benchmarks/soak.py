"""A long run with faults: are all good movies done, all bad ones named, memory and open files flat?

    python benchmarks/soak.py --movies 500

A folder is watched while small movies arrive in it. Of every 20, one is truncated, one is no movie, one vanishes while
it waits, one has another size than the gain reference, and one is written in pieces. Movies are corrected in three
processes, as on GPUs (`with_processes.py`). Meanwhile the run is killed (SIGKILL) and started again `--kills` times,
one of its other processes is killed `--worker-kills` times, and the disk of the results is full for a while (a small
tmpfs, if this user may mount one).

At the end, every good movie must be done, its image must have the bytes of a single run, and every bad one must be
named with its reason by `restframe status`. Prints the figures, and ends with 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import mrcfile
import numpy as np

SIDE, FRAMES = 128, 4
DIFFERENT_MOVIES = 8  # whose images are known from single runs
FLAGS = "-OutMrc out/ -PixSize 1.5 -FmDose 4 -LogDir logs -Gain gain.mrc -Iter 3 -Gpu -1 --settle 0.5 --retry-failed 1"
FULL_DISK_BYTES = 4_000_000
SAMPLE_SECONDS = 1.0
BAD_KINDS = {3: "truncated", 7: "no movie", 11: "vanishing", 15: "wrong size"}  # number modulo 20: what is wrong
IN_PIECES = 18


@dataclass
class Samples:
    """Memory and open files of the runs, over time."""

    memory_bytes: list[list[int]] = field(default_factory=list)  # of each run
    open_files: list[list[int]] = field(default_factory=list)


def movie_bytes(folder: Path, seed: int, side: int = SIDE) -> bytes:
    """A small movie of a specimen that moves."""
    rng = np.random.default_rng(seed)
    scene = np.kron(rng.integers(2, 12, (48, 48)), np.ones((4, 4)))
    frames = [scene[8 : 8 + side, 20 - t : 20 + side - t] for t in range(FRAMES)]
    path = folder / "movie.mrc"
    with mrcfile.new(path, data=rng.poisson(frames).astype(np.int16), overwrite=True) as mrc:
        mrc.set_image_stack()
    return path.read_bytes()


def expected_images(folder: Path, contents: list[bytes]) -> list[bytes]:
    """The image of each of the different movies, corrected alone."""
    words = FLAGS.replace("--settle 0.5 --retry-failed 1", "").replace("out/", "alone.mrc")
    images = []
    for content in contents:
        (folder / "alone_movie.mrc").write_bytes(content)
        command = [sys.executable, "-m", "restframe", "-InMrc", "alone_movie.mrc", *words.split()]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        images.append((folder / "alone.mrc").read_bytes())
    return images


def deliver(folder: Path, count: int, per_second: float, contents: list[bytes], other_size: bytes) -> None:
    """Put movies into the folder, good and bad ones, as a microscope does."""
    for number in range(count):
        path, content = folder / f"m{number:04d}.mrc", contents[number % DIFFERENT_MOVIES]
        kind = BAD_KINDS.get(number % 20)
        if kind == "truncated":
            path.write_bytes(content[: len(content) * 2 // 3])
        elif kind == "no movie":
            path.write_bytes(b"no movie " * 1000)
        elif kind == "wrong size":
            path.write_bytes(other_size)
        elif number % 20 == IN_PIECES:
            with open(path, "wb") as file:
                for start in range(0, len(content), len(content) // 4):
                    file.write(content[start : start + len(content) // 4])
                    file.flush()
                    time.sleep(0.2)
        else:
            path.write_bytes(content)
        if kind == "vanishing":
            threading.Timer(0.3 + 0.5 * (number % 3), path.unlink, kwargs={"missing_ok": True}).start()
        time.sleep(1 / per_second)


def start(folder: Path, idle_seconds: int) -> subprocess.Popen[bytes]:
    program = [sys.executable, str(Path(__file__).with_name("with_processes.py")), "--threads", "3"]
    command = [*program, "-InMrc", "movies/", "-Serial", str(idle_seconds), *FLAGS.split()]
    with open(folder / "log.txt", "ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def workers_of(pid: int) -> list[int]:
    """The processes that a run has started to correct movies."""
    workers = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                workers.append(int(child))
    return workers


def kill_workers(runs: list[subprocess.Popen[bytes]], kill_times: list[float], counts: Counter[str]) -> None:
    """Kill a process of the latest of the ``runs`` at each of these times (of `time.monotonic`), or a bit later."""
    for kill_time in kill_times:
        time.sleep(max(kill_time - time.monotonic(), 0))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                os.kill(workers_of(runs[-1].pid)[-1], signal.SIGKILL)
                counts["worker killed"] += 1
                break
            except (OSError, IndexError):  # the run has none yet, or is being killed
                time.sleep(0.2)


def sample(process: subprocess.Popen[bytes], samples: Samples) -> None:
    """Note memory and open files of a process until it ends."""
    memory, files = [], []
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            memory += [1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")]
            files.append(len(os.listdir(f"/proc/{process.pid}/fd")))
        except OSError:
            break
        time.sleep(SAMPLE_SECONDS)
    samples.memory_bytes.append(memory)
    samples.open_files.append(files)


def fill_disk(folder: Path, seconds: float) -> bool:
    """Fill the disk of the results for a while, if it is a small one of its own."""
    if not os.path.ismount(folder):
        return False
    ballast = folder / ".ballast"
    try:
        with open(ballast, "wb") as file:
            while True:
                file.write(bytes(4096))
                file.flush()
    except OSError:
        time.sleep(seconds)
    ballast.unlink()
    return True


@dataclass(frozen=True)
class Plan:
    """What happens in a soak."""

    movies: int
    per_second: float
    kills: int  # of the run
    worker_kills: int  # of one of its other processes
    seed: int = 0


def soak(folder: Path, plan: Plan) -> tuple[Counter[str], Samples]:
    """Run everything. Returns counts, among them those of faults, which are in capitals."""
    rng, counts, samples = random.Random(plan.seed), Counter[str](), Samples()
    count, per_second, kills = plan.movies, plan.per_second, plan.kills
    runs: list[subprocess.Popen[bytes]] = []
    for name in ("movies", "out"):
        (folder / name).mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={FULL_DISK_BYTES + count * 500_000}", "tmpfs", str(folder / "out")]
    is_mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        mrcfile.write(folder / "gain.mrc", np.ones((SIDE, SIDE), np.float32))
        contents = [movie_bytes(folder, number) for number in range(DIFFERENT_MOVIES)]
        images = expected_images(folder, contents)
        other_size = movie_bytes(folder, 99, SIDE - 32)
        feeder = threading.Thread(target=deliver, args=(folder / "movies", count, per_second, contents, other_size))
        feeder.start()
        started = time.monotonic()
        kill_times = sorted(rng.uniform(0.05, 0.9) * count / per_second for _ in range(kills))
        worker_kill_times = sorted(
            started + rng.uniform(0.1, 0.95) * count / per_second for _ in range(plan.worker_kills)
        )
        runs.append(start(folder, 600 if kills else 15))
        worker_killer = threading.Thread(target=kill_workers, args=(runs, worker_kill_times, counts))
        worker_killer.start()
        for kill_time in kill_times:
            process = runs[-1]
            sampler = threading.Thread(target=sample, args=(process, samples))
            sampler.start()
            time.sleep(max(started + kill_time - time.monotonic(), 2))
            process.kill()
            process.wait()
            sampler.join()
            counts["coordinator killed"] += 1
            runs.append(start(folder, 600 if len(runs) < kills else 15))
        process = runs[-1]
        sampler = threading.Thread(target=sample, args=(process, samples))
        sampler.start()
        time.sleep(3)
        counts["disk full"] += fill_disk(folder / "out", 3)
        feeder.join()
        worker_killer.join()
        process.wait()
        sampler.join()
        seconds = time.monotonic() - started
        last = start(folder, 2)  # what failed on the full disk is tried again
        last.wait()
        counts["movies per hour"] = round(3600 * count / seconds)
        counts.update(check(folder, count, images))
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder / "out")], check=False)
    return counts, samples


def check(folder: Path, count: int, images: list[bytes]) -> Counter[str]:
    """What was done, and what is wrong."""
    counts: Counter[str] = Counter()
    command = [sys.executable, "-m", "restframe", "status", "out", "--json"]
    status = json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout)
    reasons = {Path(one["movie"]).name: one["reason"] for one in status["failures"]}
    for number in range(count):
        name, kind = f"m{number:04d}", BAD_KINDS.get(number % 20)
        image = folder / f"out/{name}.mrc"
        if kind is None:
            is_good = image.is_file() and image.read_bytes() == images[number % DIFFERENT_MOVIES]
            counts["good movies done" if is_good else "GOOD MOVIE NOT DONE"] += 1
        elif kind == "vanishing":
            is_consistent = image.is_file() != (f"{name}.mrc" in reasons) or not image.is_file()
            counts["vanishing movies" if is_consistent else "VANISHING MOVIE"] += 1
        else:
            counts[f"{kind}, named" if reasons.get(f"{name}.mrc") else f"{kind.upper()} NOT NAMED"] += 1
            counts["BAD MOVIE HAS AN IMAGE"] += image.is_file()
    counts["TEMPORARY FILES"] += sum(path.suffix == ".part" for path in (folder / "out").rglob(".*"))
    return +counts


def flatness(values: list[list[int]]) -> tuple[float, float]:
    """Mean of the second quarter and of the last quarter of the longest run."""
    longest = max(values, key=len)
    quarter = max(len(longest) // 4, 1)
    return float(np.mean(longest[quarter : 2 * quarter] or longest)), float(np.mean(longest[-quarter:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--movies", type=int, default=500)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--worker-kills", type=int, default=10)
    parser.add_argument("--per-second", type=float, default=4.0)
    parser.add_argument("--keep", help="work in this folder and keep it")
    values = parser.parse_args()
    folder = Path(values.keep or tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    plan = Plan(values.movies, values.per_second, values.kills, values.worker_kills)
    counts, samples = soak(folder, plan)
    for name, number in counts.items():
        print(f"{name}: {number}")
    memory, files = flatness(samples.memory_bytes), flatness(samples.open_files)
    print(f"memory of the longest run, second and last quarter: {memory[0] / 1e6:.0f} and {memory[1] / 1e6:.0f} MB")
    print(f"open files: {files[0]:.1f} and {files[1]:.1f}")
    if not values.keep:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(any(name.isupper() or "NOT NAMED" in name for name in counts))


if __name__ == "__main__":
    main()
