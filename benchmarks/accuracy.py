"""How close corrected movies come to a specimen that never moved.

For each simulated movie: the still ratio by resolution band, alone and as a fraction of the ceiling (the true motion
through the same correction), and the track error, for no correction, whole frames only, and patches.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np
from movies import DEFAULT_CACHE, Bench, load, recipe_for

from restframe.measures import BANDS, TrackError, expected_still_ratio, still_ratio, track_error
from restframe.pipeline import correct
from restframe.settings import Detector, Exposure, Machine, Motion, Settings
from restframe.simulate import PRESETS
from restframe.track.field import MotionField


@dataclass(frozen=True)
class Row:
    """One way to correct one movie."""

    name: str
    still: tuple[float, ...]  # by band
    of_ceiling: tuple[float, ...]
    noise_free: tuple[float, ...] | None  # the still ratio with signal and noise seen apart
    track: TrackError
    seconds: float


def settings_for(bench: Bench, patches: tuple[int, int], threads: int) -> Settings:
    """What a user would know about the movie."""
    recipe = bench.simulated.recipe
    return Settings(
        detector=Detector(gain=bench.simulated.gain, find_defects=True),
        exposure=Exposure(recipe.pixel_size, recipe.voltage, recipe.frame_dose),
        motion=Motion(patches=patches),
        machine=Machine(threads=threads),
    )


def measure(bench: Bench, patches: tuple[int, int], threads: int, noise_free: bool, say: Callable[[str], None]):
    """All ways for one movie; the table is printed as it grows."""
    truth, pixel_size = bench.simulated.truth, bench.simulated.recipe.pixel_size
    local, whole = settings_for(bench, patches, threads), settings_for(bench, (0, 0), threads)
    rest = MotionField.at_rest(truth.n_frames, truth.shape)
    ways = (
        ("true motion", local, truth),
        ("no correction", whole, rest),
        ("whole frame", whole, None),
        (f"patches {patches[0]}x{patches[1]}", local, None),
    )
    rows: list[Row] = []
    for name, settings, given in ways:
        begin = perf_counter()
        result = correct(bench.counts, settings, field=given)
        seconds = perf_counter() - begin
        still = still_ratio(result.sum, bench.truth_image, bench.still_image, pixel_size)
        ceiling = rows[0].still if rows else still
        exact = None
        if noise_free:
            bare = replace(settings, detector=Detector(find_defects=False))
            image = correct(bench.noise_free(), bare, field=result.field).sum
            image = image * (bench.truth_image.mean() / image.mean())
            still_noise = bench.still_image - bench.truth_image
            exact = expected_still_ratio(image, result.sum - image, bench.truth_image, still_noise, pixel_size)
        track = track_error(result.field, truth, pixel_size)
        of_ceiling = tuple(a / b for a, b in zip(still, ceiling, strict=True))
        rows.append(Row(name, still, of_ceiling, exact, track, seconds))
        say(line(rows[-1]))
    return rows


def heading(noise_free: bool) -> str:
    """The table's first line; its columns are those of `line`."""
    bands = "".join(f"{f'{low:g}-{high:g}':>7}" for low, high in BANDS)  # A
    exact = " | still, apart        " if noise_free else ""
    return f"{'still ratio':15} |{bands} | of the ceiling      {exact} | track, A: all  whole  local |   time"


def line(row: Row) -> str:
    """One row of the table."""

    def numbers(values):
        return "".join(f"{v:7.3f}" for v in values)

    exact = f" |{numbers(row.noise_free)}" if row.noise_free else ""
    error = row.track
    return (
        f"{row.name:15} |{numbers(row.still)} |{numbers(row.of_ceiling)}{exact} |"
        f"       {error.total:6.3f} {error.whole_frame:6.3f} {error.local:6.3f} | {row.seconds:4.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = " ".join(PRESETS)
    parser.add_argument("--kinds", nargs="+", default=["falcon"], choices=PRESETS, metavar="KIND", help=kinds)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--patch", nargs=2, type=int, default=[5, 5], metavar=("X", "Y"))
    parser.add_argument("--size", type=int, help="largest edge in pixels: a cut-out of the same kind of movie")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--noise-free", action="store_true", help="also apply each motion to the noise-free frames")
    parser.add_argument("--json", type=Path, help="write the numbers there")
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, help=f"where movies are kept ({DEFAULT_CACHE})")
    args = parser.parse_args()

    def say(text: str) -> None:
        print(text, flush=True)

    found = []
    for kind in args.kinds:
        for seed in args.seeds:
            recipe = recipe_for(kind, seed, args.size)
            bench = load(recipe, args.cache)
            frames, height, width = recipe.shape
            dose = f"{recipe.pixel_size:g} A, {recipe.frame_dose:g} e/A² a frame"
            say(f"\n{kind}, seed {seed}: {width} x {height} x {frames}, {dose}")
            say(heading(args.noise_free))
            rows = measure(bench, tuple(args.patch), args.threads, args.noise_free, say)
            found.append({"recipe": asdict(recipe), "rows": [asdict(row) for row in rows]})
    if args.json:
        args.json.write_text(json.dumps({"bands_A": BANDS, "movies": found}, indent=2) + "\n")
    if len(found) > 1:
        say("\nmean of all movies, of the ceiling and track error:")
        for i, row in enumerate(found[0]["rows"]):
            fractions = np.mean([f["rows"][i]["of_ceiling"] for f in found], axis=0)
            error = np.mean([f["rows"][i]["track"]["total"] for f in found])
            say(f"{row['name']:15} |{''.join(f'{v:7.3f}' for v in fractions)} | {error:.3f} A")


if __name__ == "__main__":
    main()
