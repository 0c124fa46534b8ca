"""How long one movie takes, stage by stage, and how long RELION's own program takes for it on the same machine.

The command is run as a user runs it (files in, files out) and its process is measured. The stages come from a second
run inside this process. The kernels are compiled before; that is timed separately. On a busy machine,
CPU seconds are more reliable than wall seconds.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time

from movies import DEFAULT_CACHE

from restframe.cores import available_cores

STAGES = {  # functions, by the module that calls them
    "references": ("restframe.prepare", "load_references"),
    "reading, survey, binned frames": ("restframe.pipeline", "survey_frames"),
    "motion": ("restframe.pipeline", "measure"),
    "  coarse motion": ("restframe.track.measure", "measure_coarse_motion"),
    "  spectra of tiles": ("restframe.track.measure", "make_tile_data"),
    "  fit of global motion": ("restframe.track.measure", "fit_global_motion"),
    "  fit of local motion": ("restframe.track.measure", "fit_local_motion"),
    "sums": ("restframe.pipeline", "make_sums"),
    "  gather": ("restframe.restore.sums", "gather"),
    "  transforms and weights": ("restframe.restore.sums", "accumulate_spectra"),
    "  back to images": ("restframe.restore.sums", "finish_spectra"),
}


@dataclass(frozen=True)
class Cost:
    """Of a process or a stage."""

    wall: float  # s
    cpu: float  # s, user and system, all threads
    peak: float = 0.0  # GB of memory


def run(command: list[str], folder: Path) -> Cost:
    """Cost of a command; its text goes to ``folder``. Raises RuntimeError when it fails."""
    begin = perf_counter()
    with open(folder / "log.txt", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {(folder / 'log.txt').read_text()[-2000:]}")
    return Cost(perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e9)


def restframe_command(movie: Path, threads: int, out: Path, *more: str) -> list[str]:
    """As `restframe simulate` says that the movie in folder ``movie`` is corrected, with 5 x 5 patches by default."""
    recipe = json.loads((movie / "recipe.json").read_text())["recipe"]
    words = [sys.executable, "-m", "restframe", "-InTiff", str(movie / "movie.tif"), "-OutMrc", str(out / "sum.mrc")]
    words += ["-Gain", str(movie / "gain.mrc"), "-PixSize", str(recipe["pixel_size"]), "-kV", str(recipe["voltage"])]
    words += ["-FmDose", str(recipe["frame_dose"]), "-Gpu", "-1", "--threads", str(threads)]
    return [*words, *(more if "-Patch" in more else ("-Patch", "5", "5", *more))]


def relion_command(movie: Path, threads: int, out: Path) -> list[str] | None:
    """The same work for RELION's own program, None when it is not on the PATH."""
    if not shutil.which("relion_run_motioncorr"):
        return None
    recipe = json.loads((movie / "recipe.json").read_text())["recipe"]
    star = out / "movies.star"
    star.write_text(
        "\ndata_optics\n\nloop_\n_rlnOpticsGroupName #1\n_rlnOpticsGroup #2\n_rlnMicrographOriginalPixelSize #3\n"
        "_rlnVoltage #4\n_rlnSphericalAberration #5\n_rlnAmplitudeContrast #6\n"
        f"opticsGroup1 1 {recipe['pixel_size']} {recipe['voltage']} 2.7 0.1\n\n"
        "\ndata_movies\n\nloop_\n_rlnMicrographMovieName #1\n_rlnOpticsGroup #2\nmovie.tif 1\n"
    )
    for name in ("movie.tif", "gain.mrc"):
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to(movie / name)
    words = f"relion_run_motioncorr --i movies.star --o ./ --use_own --j {threads} --gainref gain.mrc --patch_x 5"
    words += f" --patch_y 5 --bfactor 150 --dose_weighting --dose_per_frame {recipe['frame_dose']} --save_noDW"
    return [*words.split(), "--preexposure", "0"]


@contextmanager
def timed_stages() -> Iterator[dict[str, Cost]]:
    """While this lasts, calls of the functions in `STAGES` are timed."""
    from importlib import import_module

    costs: dict[str, Cost] = {}
    undo: list[Callable[[], None]] = []

    def watch(stage: str, module, name: str) -> None:
        function = getattr(module, name)

        @functools.wraps(function)
        def timed(*args, **kwargs):
            wall, cpu = perf_counter(), process_time()
            try:
                return function(*args, **kwargs)
            finally:
                before = costs.get(stage, Cost(0, 0))
                costs[stage] = Cost(before.wall + perf_counter() - wall, before.cpu + process_time() - cpu)

        setattr(module, name, timed)
        undo.append(lambda: setattr(module, name, function))

    for stage, (home, name) in STAGES.items():
        watch(stage, import_module(home), name)
    try:
        yield costs
    finally:
        for step in undo:
            step()


def stages(command: list[str]) -> dict[str, Cost]:
    """Costs of the stages of a restframe command, run in this process."""
    from restframe.cli.main import main

    with timed_stages() as costs, open(os.devnull, "w") as nowhere:
        stdout, sys.stdout = sys.stdout, nowhere
        try:
            if main(command[3:]):
                raise RuntimeError("restframe failed")
        finally:
            sys.stdout = stdout
    stage_order = list(STAGES)
    return {stage: costs[stage] for stage in sorted(costs, key=stage_order.index)}


def movie_folder(kind: str, size: int | None, frames: int | None, cache: Path) -> Path:
    """A simulated movie as files, made if it is not there yet."""
    from restframe.simulate import PRESETS

    frame_count, height, width = PRESETS[kind].shape
    shape = (frames or frame_count, min(size or height, height), min(size or width, width))
    folder = cache / f"files-{kind}-{shape[0]}x{shape[1]}x{shape[2]}"
    if not (folder / "movie.tif").exists():
        words = ["simulate", str(folder), "--kind", kind, "--shape", *map(str, shape)]
        subprocess.run([sys.executable, "-m", "restframe", *words], check=True)
    return folder


def show(name: str, cost: Cost) -> None:
    peak = f"{cost.peak:7.2f} GB" if cost.peak else ""
    print(f"{name:<40}{cost.wall:8.2f} s {cost.cpu:8.2f} s {peak}", flush=True)


def measure(movie: Path, threads: int, repeats: int, relion: bool) -> dict:
    """Print the table for the movie in a folder that `restframe simulate` made; the same as numbers."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        command = restframe_command(movie, threads, out)
        load = os.getloadavg()[0]
        print(f"{movie.name}, {threads} threads of the CPU; load of the machine before: {load:.1f}")
        print(f"{'':<40}{'wall':>10} {'CPU':>10} {'peak memory':>12}")
        first = run(command, out)
        show("restframe, first run (may compile)", first)
        best = min((run(command, out) for _ in range(repeats)), key=lambda cost: cost.wall)
        show("restframe, whole process", best)
        stage_costs = stages(command)
        for stage, cost in stage_costs.items():
            show(f"  {stage}", cost)
        relion_cost = None
        words = relion_command(movie, threads, out) if relion else None
        if words:
            relion_cost = run(words, out)
            show("relion_run_motioncorr --use_own", relion_cost)
            print(
                f"wall {relion_cost.wall / best.wall:.1f} times, CPU {relion_cost.cpu / best.cpu:.1f} times, ", end=""
            )
            print(f"memory {relion_cost.peak / best.peak:.1f} times restframe's")
        elif relion:
            print("relion_run_motioncorr is not on the PATH (Debian package relion): not compared.")
    result = {"movie": str(movie), "threads": threads, "load": load, "first": asdict(first), "whole": asdict(best)}
    return result | {
        "stages": {stage_name: asdict(stage_cost) for stage_name, stage_cost in stage_costs.items()},
        "relion": asdict(relion_cost) if relion_cost else None,
    }


def arguments(parser: argparse.ArgumentParser) -> None:
    """What speed.py asks about the CPU."""
    cpu = parser.add_argument_group("--device cpu")
    cpu.add_argument("--kind", default="falcon", help="of restframe simulate (falcon)")
    cpu.add_argument("--simulated", type=Path, help="a folder that restframe simulate made, instead of --kind")
    cpu.add_argument("--size", type=int, help="at most so many pixels along an edge")
    cpu.add_argument("--frames", type=int, help="instead of the kind's")
    cpu.add_argument("--threads", type=int, default=available_cores())
    cpu.add_argument("--repeats", type=int, default=2, help="the fastest counts (2)")
    cpu.add_argument("--scaling", action="store_true", help="cost against frames, pixels, patches, threads instead")
    cpu.add_argument("--no-relion", action="store_true", help="leave RELION out")
    cpu.add_argument("--cache", type=Path, default=DEFAULT_CACHE)


def from_options(options: argparse.Namespace) -> dict:
    """Measure what the options ask for."""
    movie = options.simulated or movie_folder(options.kind, options.size, options.frames, options.cache)
    return measure(movie.resolve(), options.threads, options.repeats, not options.no_relion)
