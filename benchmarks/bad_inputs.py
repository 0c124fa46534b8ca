"""What happens with damaged and hostile input? At least 1,000 broken files, each corrected by the command in-process.

    python benchmarks/bad_inputs.py                 1,200 inputs, about 5 minutes
    python benchmarks/bad_inputs.py --count 150     a sample
    python benchmarks/bad_inputs.py --seed 7        other random places
    python benchmarks/bad_inputs.py --only tiff     inputs whose name contains this

Inputs are small valid ones, each broken in one way: cut at each structure and at random places, flipped bits, headers
with impossible numbers, other content, other kinds of files, odd names. Movies (TIFF, MRC, compressed MRC, EER, DM),
gain, dark, defects, integration file and known motion are broken in turn.

Each run ends in one class:

    right      exit code 0; the sum is that of the unbroken input, or a warning names what was left out
    as stated  exit code 0; another reader finds the same frames in the broken file: its pixels are other valid ones
    refused    one clear message on stderr, an exit code above 0, no file left
    bad        anything else: a traceback, a hang, a crash, a file left after an error, a sum that nobody can explain,
               memory beyond what the file can hold

The runs happen in another process, which is replaced when it crashes or hangs. Exit code 1 if any run is bad.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from broken_files import Broken, broken_inputs, make_valid
from other_readers import other_reader

SECONDS_PER_RUN = 30
SECONDS_TO_COMPILE = 600
MEMORY_BYTES_PER_RUN = 400_000_000  # above that of the process before; a movie of this size takes 20 MB
RIGHT, AS_STATED, REFUSED, BAD = "right", "as stated", "refused", "bad"


# ---- runs, in a process of their own


class Hang(BaseException):
    """A run takes too long."""


def run_all(valid: Path, roles: dict[str, str], inputs: list[Broken], first: int, results: Path) -> None:
    """Run inputs from number ``first`` on; a line of JSON is appended to ``results`` before and after each."""
    from restframe.cli.main import main

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    work = Path(tempfile.mkdtemp(prefix="restframe-bad-"))
    references: dict[str, object] = {}
    try:
        with open(results, "a") as file:
            for base, role in roles.items():  # compiles all loops, so that no run has to
                references[base] = reference_image(valid, base, role, work, main)
                print(json.dumps({"ready": base}), file=file, flush=True)
            for number, broken in enumerate(inputs[first:], first):
                print(json.dumps({"start": number}), file=file, flush=True)
                outcome, why = run_one(valid, broken, work, main, references[broken.base])
                print(json.dumps({"end": number, "class": outcome, "why": why}), file=file, flush=True)
    finally:
        shutil.rmtree(work)


def reference_image(valid: Path, base: str, role: str, work: Path, main: Callable[[list[str]], int]) -> object:
    """The result of an unbroken input."""
    argv = arguments(valid, role, valid / base, work / "reference.mrc")
    code, _, text = captured(main, argv, work, SECONDS_TO_COMPILE)
    if code:
        raise RuntimeError(f"{base}, which is not broken, fails: {text}")
    image = saved_image(work / "reference.mrc")
    for path in work.glob("reference*"):
        path.unlink()
    return image


def arguments(valid: Path, role: str, path: Path, output: Path) -> list[str]:
    movie = path if role == "movie" else valid / "plain.tif"
    flags = {
        "movie": [], "gain": ["-Gain"], "dark": ["-Dark"], "defects": ["-DefectFile"], "defect map": ["-DefectMap"],
        "integration": ["-FmIntFile"], "motion": ["-InAln"],
    }[role]  # fmt: skip
    return ["-InTiff", str(movie), "-OutMrc", str(output), *[part for flag in flags for part in (flag, str(path))]]


def run_one(
    valid: Path, broken: Broken, work: Path, main: Callable[[list[str]], int], unbroken: object
) -> tuple[str, str]:
    """The class of one run, and why."""
    import numpy as np

    place = work / "in"
    place.mkdir()
    output = work / "out"
    output.mkdir()
    try:
        path = place / broken.base
        path = broken.make(path, (valid / broken.base).read_bytes()) or path
        memory_before = reset_peak_memory()
        try:
            code, text, errors = captured(main, arguments(valid, broken.role, path, output / "o.mrc"), work)
        except Hang:
            return BAD, f"hangs: more than {SECONDS_PER_RUN} s"
        except BaseException as error:
            return BAD, f"{type(error).__name__}: {error}"
        growth = peak_memory() - memory_before
        left = sorted(file.name for file in output.iterdir())
        if growth > MEMORY_BYTES_PER_RUN:
            return BAD, f"{growth / 1e6:.0f} MB of memory"
        if code:
            return refusal(code, text, errors, left)
        if errors:
            return BAD, f"exit 0 with text on stderr: {errors[:200]}"
        image = saved_image(output / "o.mrc")
        if image is None or not np.isfinite(image).all():
            return BAD, "exit 0 with an image that is missing or not finite"
        if image.shape == unbroken.shape and np.allclose(image, unbroken, rtol=1e-5, atol=1e-4):
            return RIGHT, "the same image"
        if re.search(r"^Warning: .*(damaged|NaN|frames)", text, re.MULTILINE):
            return RIGHT, "a warning names it"
        return compared(path, broken.role)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(output, ignore_errors=True)


def refusal(code: int, text: str, errors: str, left: list[str]) -> tuple[str, str]:
    """Whether an error is explained well and leaves nothing behind."""
    lines = errors.splitlines()
    if left:
        return BAD, f"exit {code}, but files are left: {left}"
    if len(lines) != 1 or not lines[0].startswith("Error: ") or "restframe failed" in errors or "Traceback" in text:
        return BAD, f"exit {code} without one clear line: {errors[:300]!r} {text[-300:]!r}"
    return REFUSED, lines[0][:200]


def compared(path: Path, role: str) -> tuple[str, str]:
    """Whether another reader finds in a broken file what restframe finds."""
    import numpy as np

    from restframe.movie import open_movie, read_frames

    if role in ("defects", "integration", "motion"):
        return AS_STATED, "a text with other values"
    ours = read_frames(open_movie(path)).astype(np.float64)
    try:
        other = other_reader(path)
    except Exception as error:
        return BAD, f"exit 0 with another image; no other reader reads the file ({type(error).__name__}: {error})"
    if other.shape == ours.shape and np.allclose(other, ours, equal_nan=True):
        return AS_STATED, "other valid pixels"
    return BAD, f"exit 0 with another image; another reader finds {other.shape}, not {ours.shape} or other values"


def saved_image(path: Path):  # type: ignore[no-untyped-def]
    import mrcfile

    return mrcfile.read(path).copy() if path.exists() else None


def captured(
    main: Callable[[list[str]], int], argv: list[str], work: Path, seconds: int = SECONDS_PER_RUN
) -> tuple[int, str, str]:
    """Exit code of the command, and what it writes to stdout and stderr, also past Python. Raises `Hang`."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    files = [open(work / name, "w+b") for name in ("stdout", "stderr")]  # noqa: SIM115 - closed below
    signal.alarm(seconds)
    try:
        for number, file in enumerate(files, 1):
            os.dup2(file.fileno(), number)
        code = main(argv)
    finally:
        signal.alarm(0)
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(saved, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        texts = []
        for file in files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
    return code, texts[0], texts[1]


def reset_peak_memory() -> int:
    """The memory of this process, whose peak is counted from now on."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(match[1]) * 1024 if match else 0


# ---- the process that watches


def run_watched(count: int, seed: int = 0, only: str = "") -> list[tuple[str, str, str]]:
    """Name, class and reason of each run."""
    outcomes: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        valid, results = Path(folder, "valid"), Path(folder, "results")
        valid.mkdir()
        results.touch()
        roles = make_valid(valid)
        inputs = chosen(valid, roles, count, seed, only)
        while len(outcomes) < len(inputs):
            command = [sys.executable, __file__, "--worker", str(valid), str(results), "--first", str(len(outcomes))]
            command += ["--count", str(count), "--seed", str(seed), "--only", only]
            with open(Path(folder, "worker"), "w+") as output:
                process = subprocess.Popen(command, stdout=output, stderr=output)
                how = watch(process, results)
                output.seek(0)
                last_words = output.read()[-500:]
            lines = [json.loads(line) for line in results.read_text().splitlines()]
            ended = {line["end"]: (line["class"], line["why"]) for line in lines if "end" in line}
            started = max((line["start"] for line in lines if "start" in line), default=-1)
            if started < len(outcomes):
                raise RuntimeError(f"the process of the runs does not start: {last_words}")
            for number in range(len(outcomes), started + 1):
                outcomes.append((inputs[number].name, *ended.get(number, (BAD, f"{how}: {last_words}"))))
    return outcomes


def chosen(valid: Path, roles: dict[str, str], count: int, seed: int, only: str) -> list[Broken]:
    return [broken for broken in broken_inputs(valid, roles, count, seed) if only in broken.name]


def watch(process: subprocess.Popen[bytes], results: Path) -> str:
    """Wait for a process; end it where nothing is added to its results for too long. How it ended."""
    size, since, allowed = -1, time.monotonic(), SECONDS_TO_COMPILE
    while process.poll() is None:
        time.sleep(0.05)
        if results.stat().st_size != size:
            size, since = results.stat().st_size, time.monotonic()
            allowed = 3 * SECONDS_PER_RUN if b'"start"' in results.read_bytes() else SECONDS_TO_COMPILE
        elif time.monotonic() - since > allowed:
            process.kill()
            process.wait()
            return "hangs, also after an alarm"
    return f"crash with code {process.returncode}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true", help="print every run")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        valid, results = map(Path, options.worker)
        roles = make_valid(valid)
        run_all(valid, roles, chosen(valid, roles, options.count, options.seed, options.only), options.first, results)
        return 0
    start = time.perf_counter()
    outcomes = run_watched(options.count, options.seed, options.only)
    for name, outcome, why in outcomes:
        if outcome == BAD or options.verbose:
            print(f"{outcome:10} {name!r}: {why}")
    counts = Counter(outcome for _, outcome, _ in outcomes)
    print(", ".join(f"{counts[name]} {name}" for name in (RIGHT, AS_STATED, REFUSED, BAD)), end="; ")
    print(f"{len(outcomes)} inputs, {time.perf_counter() - start:.0f} s")
    return int(counts[BAD] > 0)


if __name__ == "__main__":
    sys.exit(main())
