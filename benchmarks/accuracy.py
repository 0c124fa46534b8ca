"""How accurate corrected movies are, on simulated movies with known motion.

For each movie, for no correction, global motion only, and patches: the still ratio by resolution band, alone and as a
fraction of the ceiling (the still ratio of the true motion after the same correction), the track error, and the error
that restframe itself states. With --track-only, only the track errors. docs/accuracy.md explains the terms.
benchmarks/goals.py compares movies with defects, beads or little dose with the same movies without them.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
from goals import KINDS as DIFFICULT
from movies import DEFAULT_CACHE, Bench, load, make_on_gpu, recipe_for

from restframe.measures import BANDS, TrackError, expected_ssnr, ssnr, track_error
from restframe.session import correct, measure_motion
from restframe.settings import Detector, Exposure, Machine, Motion, Settings, Sums
from restframe.simulate import PRESETS
from restframe.track.field import MotionField

# the whole set, --kinds all
SET = ("falcon", "k3", "k2", "k3super", "few", "lowdose", "early", "jump", "bubble", "tilted", "quiet")
SET += ("noise", "wronggain", "frames8", "frames3")
PATCHES = {"k3": (7, 5), "k3super": (7, 5)}  # 5 x 5 otherwise
BIN = {"k3super": 2.0}  # 1 otherwise


@dataclass(frozen=True)
class Row:
    """Results of one correction of one movie."""

    name: str
    still: tuple[float, ...]  # by band
    of_ceiling: tuple[float, ...]
    noise_free: tuple[float, ...] | None  # still ratio with signal and noise measured separately, of the ceiling
    track: TrackError
    stated: float  # A, the error that the field states; NaN where motion was not measured
    invented: float  # A rms, the local motion of the field
    seconds: float


@dataclass(frozen=True)
class Track:
    """The motion of one movie, measured; errors in A."""

    error: TrackError
    worst_frame: float  # A, rms error over positions in the frame where it is largest
    worst: int  # number of that frame
    stated: float  # the error that the field states
    making: float  # seconds
    measuring: float


def settings_for(bench: Bench, patches: tuple[int, int], machine: Machine) -> Settings:
    """Settings of a user who knows camera and exposure, but not the motion."""
    recipe = bench.simulated.recipe
    return Settings(
        detector=Detector(gain=bench.simulated.gain, find_defects=True),
        exposure=Exposure(recipe.pixel_size, recipe.voltage, recipe.frame_dose),
        motion=Motion(patches=patches),
        sums=Sums(bin=BIN.get(recipe.kind, 1.0), sum_range=(0.0, 0.0)),
        machine=machine,
    )


def measure(bench: Bench, machine: Machine, noise_free: bool, weighted: bool) -> list[Row]:
    """All corrections of one movie. ``weighted``: of the dose-weighted sums, relative to their ceiling."""
    truth, recipe = bench.simulated.truth, bench.simulated.recipe
    patches = PATCHES.get(recipe.kind, (5, 5))
    local, whole = settings_for(bench, patches, machine), settings_for(bench, (0, 0), machine)
    rest = MotionField.at_rest(truth.n_frames, truth.shape)
    corrections = (
        ("true motion", local, truth),
        ("no correction", whole, rest),
        ("whole frame", whole, None),
        (f"patches {patches[0]}x{patches[1]}", local, None),
    )
    counts = bench.noise_free() if noise_free else None
    rows: list[Row] = []
    pixel = recipe.pixel_size
    ideal = ssnr(bench.still_image, bench.truth_image, pixel)
    still_noise = bench.still_image - bench.truth_image
    ideal_exact = expected_ssnr(bench.truth_image, still_noise, bench.truth_image, pixel) if noise_free else ()
    first_exact = None
    for name, settings, known_field in corrections:
        begin = perf_counter()
        result = correct(bench.counts, settings, field=known_field)
        seconds = perf_counter() - begin
        image = result.dose_weighted if weighted else result.sum
        still = quotient(ssnr(image, bench.truth_image, pixel), ideal)
        ceiling = rows[0].still if rows else still
        exact = None
        if counts is not None:
            without_defects = replace(settings, detector=Detector(find_defects=False))
            corrected = correct(counts, without_defects, field=result.field)
            clean = corrected.dose_weighted if weighted else corrected.sum
            clean = clean * (image.mean() / clean.mean())
            ratio = quotient(expected_ssnr(clean, image - clean, bench.truth_image, pixel), ideal_exact)
            first_exact = first_exact or ratio
            exact = quotient(ratio, first_exact)
        grid_x, grid_y = truth.positions()
        local_motion = result.field(grid_x, grid_y) - result.field.global_displacement()[:, None, None]
        rows.append(
            Row(
                name,
                still,
                quotient(still, ceiling),
                exact,
                track_error(result.field, truth, pixel),
                result.numbers.get("error_px", float("nan")) * pixel,
                float(np.sqrt(((local_motion - local_motion.mean(0)) ** 2).sum(-1).mean())) * pixel,
                seconds,
            )
        )
    return rows


def quotient(values: tuple[float, ...], others: tuple[float, ...]) -> tuple[float, ...]:
    """Each value divided by its counterpart."""
    return tuple(value / other for value, other in zip(values, others, strict=True))


def track(bench: Bench, machine: Machine, making: float) -> Track:
    """The error of the motion that is measured with patches."""
    truth, recipe = bench.simulated.truth, bench.simulated.recipe
    begin = perf_counter()
    measured = measure_motion(bench.counts, settings_for(bench, PATCHES.get(recipe.kind, (5, 5)), machine))
    seconds = perf_counter() - begin
    error = (measured.field(*truth.positions()) - truth(*truth.positions())) * recipe.pixel_size
    error -= error.mean(axis=0)
    by_frame = np.sqrt((error**2).sum(-1).mean(axis=(1, 2)))
    stated = (measured.numbers or {}).get("error_px", float("nan")) * recipe.pixel_size
    errors = track_error(measured.field, truth, recipe.pixel_size)
    return Track(errors, float(by_frame.max()), int(by_frame.argmax()), stated, making, seconds)


def heading(noise_free: bool) -> str:
    """The table's first line; its columns are those of `line`."""
    bands = "".join(f"{f'{low:g}-{high:g}':>7}" for low, high in BANDS)  # A
    exact = " | noise-free          " if noise_free else ""
    return f"{'still ratio':15} |{bands} | of the ceiling      {exact} | track, A: all  whole  local stated |   time"


def line(row: Row) -> str:
    """One row of the table."""

    def numbers(values):
        return "".join(f"{value:7.3f}" for value in values)

    exact = f" |{numbers(row.noise_free)}" if row.noise_free else ""
    track = row.track
    return (
        f"{row.name:15} |{numbers(row.still)} |{numbers(row.of_ceiling)}{exact} |"
        f"       {track.total:6.3f} {track.whole_frame:6.3f} {track.local:6.3f} {row.stated:6.3f} |"
        f" {row.seconds:4.1f} s"
    )


def one_movie(kind: str, seed: int, args: argparse.Namespace) -> tuple[dict, str]:
    """Numbers and table of one movie."""
    recipe = recipe_for(kind, seed, args.size)
    machine = Machine(gpus=(0,) if args.device == "gpu" else (), threads=args.threads)
    begin = perf_counter()
    bench = make_on_gpu(recipe) if args.device == "gpu" else load(recipe, args.cache)
    making = perf_counter() - begin
    if args.track_only:
        track_result = track(bench, machine, making)
        return {"recipe": asdict(recipe), "track": asdict(track_result)}, track_line(
            f"{kind}, seed {seed}", [asdict(track_result)]
        )
    rows = measure(bench, machine, args.noise_free, args.weighted)
    frames, height, width = recipe.shape
    title = f"{kind}, seed {seed}: {width} x {height} x {frames}, {recipe.pixel_size:g} A, {recipe.frame_dose:g} e/A²"
    table = "\n".join((f"\n{title} per frame, simulated in {making:.1f} s", heading(args.noise_free), *map(line, rows)))
    return {"recipe": asdict(recipe), "rows": [asdict(row) for row in rows]}, table


TRACK_HEADING = "                  | track, A: all  whole  local stated true/stated | worst frame | made  measured"


def track_line(name: str, tracks: list[dict]) -> str:
    """A row below `TRACK_HEADING`: the mean of tracks (`Track` as a dict), the worst frame of them all."""
    total, whole, local = np.mean([list(one["error"].values()) for one in tracks], axis=0)
    stated, making, measuring = (np.mean([one[key] for one in tracks]) for key in ("stated", "making", "measuring"))
    honest = np.mean([one["error"]["total"] / one["stated"] for one in tracks])
    worst = max(tracks, key=lambda one: one["worst_frame"])
    return (
        f"{name:17} |       {total:7.3f} {whole:6.3f} {local:6.3f} {stated:6.3f} {honest:11.2f} |"
        f" {worst['worst_frame']:6.2f} ({worst['worst']:2}) |{making:5.1f} s {measuring:5.1f} s"
    )


def track_summary(movies: list[dict]) -> str:
    """Every kind, mean over its seeds."""
    lines = ["\nmean of seeds", TRACK_HEADING]
    for kind in dict.fromkeys(movie["recipe"]["kind"] for movie in movies):
        lines.append(track_line(kind, [movie["track"] for movie in movies if movie["recipe"]["kind"] == kind]))
    return "\n".join(lines)


def summary(movies: list[dict]) -> str:
    """The last correction (patches) of every kind, mean over its seeds."""
    exact = any(row["noise_free"] for movie in movies for row in movie["rows"])
    ratio = "noise-free" if exact else "of the ceiling"
    lines = [f"\n{'mean of seeds':12} | {ratio:20} | track, A: all  whole  local stated true/stated invented"]
    for kind in dict.fromkeys(movie["recipe"]["kind"] for movie in movies):
        rows = [movie["rows"][-1] for movie in movies if movie["recipe"]["kind"] == kind]
        best = [np.mean([r["noise_free"] or r["of_ceiling"] for r in rows], axis=0)]
        track = np.mean([list(r["track"].values()) for r in rows], axis=0)
        stated, invented = (np.mean([r[key] for r in rows]) for key in ("stated", "invented"))
        honest = np.mean([r["track"]["total"] / r["stated"] for r in rows])
        numbers = "".join(f"{value:7.3f}" for value in best[0])
        errors = " ".join(f"{value:6.3f}" for value in (*track, stated))
        lines.append(f"{kind:12}  |{numbers} |       {errors} {honest:11.2f} {invented:8.3f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = f"all: {' '.join(SET)}; difficult: {' '.join(kind for kind in DIFFICULT if kind not in SET)}"
    parser.add_argument(
        "--kinds", nargs="+", default=["falcon"], choices=[*PRESETS, "all", "difficult"], metavar="KIND", help=kinds
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--size", type=int, help="largest edge in pixels: a cut-out of the same kind of movie")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="gpu: movies are made there too")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--jobs", type=int, default=1, help="movies at once")
    parser.add_argument("--track-only", action="store_true", help="measure the motion, make no sums")
    parser.add_argument("--noise-free", action="store_true", help="also apply each motion to the noise-free frames")
    parser.add_argument("--weighted", action="store_true", help="compare the dose-weighted sums")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help=f"where movies are kept ({DEFAULT_CACHE})")
    args = parser.parse_args()
    chosen = SET if "all" in args.kinds else DIFFICULT if "difficult" in args.kinds else args.kinds
    movies = [(kind, seed, args) for kind in chosen for seed in args.seeds]
    done: dict[int, dict] = {}
    if args.track_only:
        print(TRACK_HEADING, flush=True)
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(one_movie, *movie): index for index, movie in enumerate(movies)}
        for job in as_completed(waiting):
            done[waiting[job]], table = job.result()
            print(table, flush=True)
            if args.json:
                numbers = {"bands_A": BANDS, "movies": [done[index] for index in sorted(done)]}
                args.json.write_text(json.dumps(numbers, indent=1) + "\n")
    results = [done[index] for index in sorted(done)]
    print(track_summary(results) if args.track_only else summary(results))


if __name__ == "__main__":
    main()
