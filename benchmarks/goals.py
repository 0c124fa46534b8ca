"""What movies with unlisted defects, uneven light, beads, crystals or little dose bring, against the goals for them.

    python benchmarks/goals.py --size 768 --seeds 101-120 --jobs 2

Each kind of movie is measured with the settings of a user who knows gain and exposure, and once more for comparison:
with its defects listed, without what makes it difficult, with global motion only, or with other fractions. The table
has a row for each goal. docs/accuracy.md explains the kinds and has results.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import scipy.fft
from movies import recipe_for

from restframe.measures import displacement_error
from restframe.session import correct, measure_motion
from restframe.settings import Detector, Exposure, Machine, Motion, Settings, Sums
from restframe.simulate import Recipe, SimulatedMovie, simulate
from restframe.simulate.detector_objects import make_standing_objects
from restframe.simulate.recipe import DetectorObjects, SpecimenObjects

LISTED = ("clusters", "bands", "blocks", "gaps", "tiltclusters")  # also with the defects listed
WITHOUT = ("beamedge", "dust", "quadrant", "texture", "texturedice", "carbonedge", "beads")  # also without the objects
GLOBAL = ("tilt", "tiltclusters", "tiltweak", "weak", "rigid", "noise", "lattice", "detail", "weakdetail")
BEADS = ("beads", "brightbeads")
KINDS = tuple(dict.fromkeys((*LISTED, *WITHOUT, *BEADS, *GLOBAL, "fine")))
UNKNOWN_EXPOSURE = ("brightbeads", "lattice", "detail", "weakdetail")  # not movies of an electron microscope
SUMMED_FRAMES = (5, 10)  # the 240 frames of "fine" as 48 and 24 fractions
PATCHES, GLOBAL_ONLY = (5, 5), (0, 0)
FRC_BAND = 0.05, 0.1  # cycles per pixel
HONEST_RATIO, HONEST_MOVIE = (0.77, 1.3), 2.0  # goals of true / stated error: rms over movies, single movies
COVERED = 0.3  # of a pixel that belongs to a bead

Numbers = dict[str, Any]


@dataclass(frozen=True)
class Arguments:
    """How movies are made and measured."""

    size: int | None
    device: str
    threads: int

    @property
    def machine(self) -> Machine:
        return Machine(gpus=(0,) if self.device == "gpu" else (), threads=self.threads)


@dataclass(frozen=True)
class Case:
    """One measurement of the motion of a movie; errors in A."""

    total: float
    whole: float
    local: float
    stated: float
    rest_total: float  # errors of no correction
    rest_whole: float
    claimed: float  # rms motion that was measured
    scale: float  # measured over true global motion
    degree: float  # of the local motion; NaN where none was looked for
    track: list[list[float]]  # (t, 2) A, measured global motion less its mean over time
    seconds: float


def settings_for(movie: SimulatedMovie, machine: Machine, patches: tuple[int, int], defects: Any = None) -> Settings:
    """Settings of a user who knows gain and exposure. ``defects``: mask (h, w) of those that are listed."""
    recipe = movie.recipe
    exposure = Exposure(recipe.pixel_size, recipe.voltage, recipe.frame_dose)
    if recipe.kind in UNKNOWN_EXPOSURE:
        exposure = Exposure()
    return Settings(Detector(gain=movie.gain, defect_map=defects), exposure, Motion(patches=patches), machine=machine)


def measure_case(movie: SimulatedMovie, counts: np.ndarray, settings: Settings, summed: int = 1) -> Case:
    """Measure the motion. ``summed``: that many frames at a time are summed before."""
    pixel_size = movie.recipe.pixel_size
    if summed > 1:
        counts = counts.reshape(-1, summed, *counts.shape[1:]).sum(1, dtype=np.uint16)
        exposure = replace(settings.exposure, frame_dose=summed * settings.exposure.frame_dose)
        settings = replace(settings, exposure=exposure)
    begin = perf_counter()
    measured = measure_motion(counts, settings)
    seconds = perf_counter() - begin
    x, y = movie.truth.positions()
    true = movie.truth(x, y)
    true = true.reshape(len(counts), summed, *true.shape[1:]).mean(1)
    field = measured.field(x, y)
    error, rest = displacement_error(field, true, pixel_size), displacement_error(0 * true, true, pixel_size)
    claimed = displacement_error(field, 0 * true, pixel_size)
    track, true_track = ((one - one.mean(0)).mean((1, 2)) * pixel_size for one in (field, true))
    return Case(
        error.total,
        error.whole_frame,
        error.local,
        measured.numbers.get("error_px", float("nan")) * pixel_size,
        rest.total,
        rest.whole_frame,
        claimed.total,
        float((track * true_track).sum() / (true_track**2).sum()),
        measured.numbers.get("local_degree", float("nan")),
        track.tolist(),
        seconds,
    )


def make_movie(recipe: Recipe, device: str) -> tuple[SimulatedMovie, np.ndarray]:
    """The movie and its counts, made where the device is."""
    plain, counts = _plain_movie(replace(recipe, kind="", detector_objects=DetectorObjects(), count_type=""), device)
    movie = replace(plain, recipe=recipe, standing=make_standing_objects(recipe, plain.camera.gain))
    largest = np.iinfo(recipe.count_type).max
    frames = (np.minimum(frame, largest).astype(recipe.count_type) for frame in counts)
    if movie.standing is not None:
        frames = (movie.standing.apply(counts, frame) for frame, counts in enumerate(frames))
    return movie, np.stack(list(frames))


@lru_cache(maxsize=2)
def _plain_movie(recipe: Recipe, device: str) -> tuple[SimulatedMovie, np.ndarray]:
    """A movie without objects of the detector: the same for several kinds."""
    recipe = replace(recipe, count_type="uint16")
    if device == "gpu":
        import cupy

        movie = simulate(recipe, cupy)
    else:
        movie = simulate(recipe)
    return movie, movie.counts


@lru_cache(maxsize=2)
def _plain_case(recipe: Recipe, args: Arguments) -> Case:
    """The measurement of a movie without objects, as a reference for several kinds."""
    movie, counts = make_movie(recipe, args.device)
    return measure_case(movie, counts, settings_for(movie, args.machine, PATCHES))


def one_seed(kinds: Sequence[str], seed: int, args: Arguments) -> list[Numbers]:
    """All numbers of the movies of one seed."""
    return [one_movie(kind, seed, args) for kind in kinds]


def one_movie(kind: str, seed: int, args: Arguments) -> Numbers:
    """All numbers of one movie."""
    recipe = recipe_for(kind, seed, args.size)
    movie, counts = make_movie(recipe, args.device)
    settings = partial(settings_for, movie, args.machine)
    cases = {"user": measure_case(movie, counts, settings(PATCHES))}
    if kind in LISTED and movie.standing is not None:
        defects = movie.standing.defect_mask(recipe.shape[1:]).astype(np.uint8)
        cases["reference"] = measure_case(movie, counts, settings(PATCHES, defects))
    if kind in WITHOUT:
        plain = replace(recipe, kind="", detector_objects=DetectorObjects(), specimen_objects=SpecimenObjects())
        cases["reference"] = _plain_case(plain, args)
    if kind in GLOBAL:
        cases["global"] = measure_case(movie, counts, settings(GLOBAL_ONLY))
    if kind == "fine":
        for summed in SUMMED_FRAMES:
            cases[f"sums of {summed}"] = measure_case(movie, counts, settings(PATCHES), summed)
    numbers: Numbers = {"kind": kind, "seed": seed, "shape": recipe.shape}
    numbers["cases"] = {name: asdict(case) for name, case in cases.items()}
    if kind in BEADS:
        numbers |= bead_numbers(movie, counts, settings(PATCHES))
    return numbers


def bead_numbers(movie: SimulatedMovie, counts: np.ndarray, settings: Settings) -> Numbers:
    """Fraction of the beads' pixels that are called bad, and how much that lowers the FRC of odd and even sums."""
    assert movie.moving is not None
    settings = replace(settings, sums=Sums(split=True))
    result = correct(counts, settings)
    shape = movie.recipe.shape[1:]
    true_defects = np.zeros(shape, np.uint8)
    for x, y, width, height in movie.defects:
        true_defects[y : y + height, x : x + width] = 1
    # without its true defects: these are in both sums and would raise the correlation
    listed = replace(settings.detector, find_defects=False, defect_map=true_defects)
    kept = correct(counts, replace(settings, detector=listed))
    bad = np.zeros(shape, bool)
    bad[result.bad_pixels[:, 1], result.bad_pixels[:, 0]] = True
    covered = np.zeros(shape, bool)
    for frame in range(len(counts)):
        covered |= movie.moving.bead_coverage(frame) > COVERED
    correlations = [mean_frc(each.odd, each.even) for each in (result, kept)]
    return {"beads_bad": float(bad[covered].mean()), "frc_lost": 1 - correlations[0] / correlations[1]}


def mean_frc(first: np.ndarray, second: np.ndarray) -> float:
    """Fourier shell correlation of two images over `FRC_BAND`."""
    height, width = first.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    spectra = [scipy.fft.rfft2((image - image.mean()) * window) for image in (first, second)]
    frequency = np.hypot(scipy.fft.fftfreq(height)[:, None], scipy.fft.rfftfreq(width)[None])
    inside = (frequency >= FRC_BAND[0]) & (frequency < FRC_BAND[1])
    first_values, second_values = (spectrum[inside] for spectrum in spectra)
    norm = np.sqrt((abs(first_values) ** 2).sum() * (abs(second_values) ** 2).sum())
    return float((first_values * second_values.conj()).real.sum() / norm)


Movies = Sequence[Numbers]


def values_of(movies: Movies, case: str, name: str) -> np.ndarray:
    """One number of one case of each movie."""
    return np.array([movie["cases"][case][name] for movie in movies], float)


def mean_ratio(movies: Movies, first: tuple[str, str], second: tuple[str, str]) -> float:
    """Mean of one number over the mean of another one; each given by its case and name."""
    return float(values_of(movies, *first).mean() / values_of(movies, *second).mean())


def rms_ratio(movies: Movies, case: str, name: str) -> float:
    """Root mean square of an error over that of the stated error of the same case."""
    squares = [(values_of(movies, case, each) ** 2).mean() for each in (name, "stated")]
    return float(np.sqrt(squares[0] / squares[1]))


def worst_excess(movies: Movies, case: str, name: str) -> float:
    """Largest error beyond that of no correction, over the stated error."""
    excess = values_of(movies, case, name) - values_of(movies, case, f"rest_{name}")
    return float((excess / values_of(movies, case, "stated")).max())


def worst_patches(movies: Movies) -> float:
    """Largest error with patches beyond that of global motion, over the stated error."""
    excess = values_of(movies, "user", "total") - values_of(movies, "global", "total")
    return float((excess / values_of(movies, "user", "stated")).max())


def mean_of(movies: Movies, case: str, name: str) -> float:
    return float(values_of(movies, case, name).mean())


def error_px(movies: Movies) -> float:
    """Largest error of the global motion, in pixels of 1 A."""
    return float(values_of(movies, "user", "whole").max())


def scale_error(movies: Movies) -> float:
    return float(abs(values_of(movies, "user", "scale").mean() - 1))


def local_motion_claimed(movies: Movies) -> float:
    """Fraction of the movies with local motion."""
    return float((values_of(movies, "user", "degree") > 0).mean())


def different_tracks(movies: Movies) -> float:
    """Largest distance, A, of the tracks with and without patches of movies that have no local motion."""
    distances = [0.0]
    for movie in movies:
        if movie["cases"]["user"]["degree"] == 0:
            tracks = (np.array(movie["cases"][case]["track"]) for case in ("user", "global"))
            distances.append(float(np.sqrt(((next(tracks) - next(tracks)) ** 2).sum(-1).mean())))
    return max(distances)


def largest(movies: Movies, name: str) -> float:
    return max(movie[name] for movie in movies)


@dataclass(frozen=True)
class Goal:
    """A row of the table: what is measured of a kind, and the largest value that meets the goal."""

    kind: str
    what: str
    value: Callable[[Movies], float]
    limit: float
    is_mean: bool  # of the movies; otherwise it is that of the worst one

    def standard_error(self, movies: Movies) -> float:
        """Of a mean, by leaving out each movie once (jackknife)."""
        count = len(movies)
        if not self.is_mean or count < 3:
            return float("nan")
        without_one = [self.value([*movies[:left_out], *movies[left_out + 1 :]]) for left_out in range(count)]
        return float(np.std(without_one) * np.sqrt(count - 1))


USER, REFERENCE, GLOBAL_CASE = ("user", "total"), ("reference", "total"), ("global", "whole")


def goals() -> list[Goal]:
    """All rows, in the order of the table."""
    rows: list[Goal] = []

    def add(kind: str, what: str, limit: float, value: Callable[..., float], *arguments: Any) -> None:
        is_mean = value in (mean_ratio, mean_of, rms_ratio, scale_error)
        rows.append(Goal(kind, what, lambda movies: value(movies, *arguments), limit, is_mean))

    for kind in ("clusters", "bands", "blocks", "gaps"):
        add(kind, "error, defects unlisted / listed", 1.05, mean_ratio, USER, REFERENCE)
    for kind in WITHOUT:
        add(kind, f"error, with / without the {kind}", 1.05, mean_ratio, USER, REFERENCE)
    add("tiltclusters", "error, defects unlisted / listed", 1.05, mean_ratio, USER, REFERENCE)
    for kind in ("tilt", "tiltclusters"):
        add(kind, "error of the global motion, A", 0.25, mean_of, *GLOBAL_CASE)
        add(kind, "error with patches, A", 0.5, mean_of, *USER)
    add("beads", "fraction of bead pixels called bad, worst movie", 0.01, largest, "beads_bad")
    add("brightbeads", "FRC lost by defect filling, worst movie", 0.01, largest, "frc_lost")
    add("brightbeads", "error, pixels, worst movie", 0.1, error_px)
    add("detail", "error, pixels, worst movie", 0.02, error_px)
    add("weakdetail", "mean scale of the motion, difference from 1", 0.02, scale_error)
    add("lattice", "error, pixels, worst movie", 0.1, error_px)
    for kind in ("weak", "tiltweak", "tilt"):
        add(
            kind, "global motion: error / that of no correction", 1.0, mean_ratio, GLOBAL_CASE, ("global", "rest_whole")
        )
        add(kind, "same, worst movie: excess / stated error", 1.0, worst_excess, "global", "whole")
        add(kind, "patches: error / that of no correction", 1.0, mean_ratio, USER, ("user", "rest_total"))
        add(kind, "patches: error / that of global motion", 1.0, mean_ratio, USER, ("global", "total"))
        add(kind, "same, worst movie: excess / stated error", 1.0, worst_patches)
    add("fine", "error, 240 frames / 24 fractions", 1.05, mean_ratio, USER, ("sums of 10", "total"))
    add("fine", "error, 48 fractions / 24 fractions", 1.05, mean_ratio, ("sums of 5", "total"), ("sums of 10", "total"))
    add("rigid", "fraction of movies with local motion", 0.05, local_motion_claimed)
    for kind in ("rigid", "weak", "tiltweak", "noise"):
        add(kind, "tracks with and without -Patch, A apart, worst", 0.001, different_tracks)
    add("noise", "motion claimed / stated error", 1.3, rms_ratio, "user", "claimed")
    return rows


def table(movies: Movies) -> str:
    """A row for each goal whose kind was measured, as Markdown."""
    lines = ["| kind | movies | | goal | measured | standard error | |", "|---|---|---|---|---|---|---|"]
    for goal in goals():
        chosen = [movie for movie in movies if movie["kind"] == goal.kind]
        if chosen:
            value, error = goal.value(chosen), goal.standard_error(chosen)
            met = "" if value <= goal.limit else "not met"
            numbers = f"{goal.limit:g} | {value:.3f} | {'' if np.isnan(error) else f'{error:.3f}'}"
            lines.append(f"| {goal.kind} | {len(chosen)} | {goal.what} | {numbers} | {met} |")
    return "\n".join(lines)


def error_table(movies: Movies) -> str:
    """Errors of each kind, in A, as Markdown: means over movies, and how far the stated error covers them."""
    lines = ["| kind | movies | no correction | error | stated | true / stated, rms | largest of one movie | |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        chosen = [movie for movie in movies if movie["kind"] == kind]
        for case, name in (("user", "total"), ("global", "whole")):
            if not chosen or case not in chosen[0]["cases"] or kind == "noise":
                continue
            ratio = rms_ratio(chosen, case, name)
            largest_ratio = float((values_of(chosen, case, name) / values_of(chosen, case, "stated")).max())
            means = (mean_of(chosen, case, each) for each in (f"rest_{name}", name, "stated"))
            honest = HONEST_RATIO[0] <= ratio <= HONEST_RATIO[1] and largest_ratio <= HONEST_MOVIE
            label = kind if case == "user" else f"{kind}, global motion"
            numbers = " | ".join(f"{value:.3f}" for value in means)
            lines.append(
                f"| {label} | {len(chosen)} | {numbers} | {ratio:.2f} | {largest_ratio:.2f} |"
                f" {'' if honest else 'not met'} |"
            )
    return "\n".join(lines)


def movie_line(numbers: Numbers) -> str:
    """What was measured on one movie."""
    cases = [
        f"{name}: all {case['total']:.3f} whole {case['whole']:.3f} stated {case['stated']:.3f}"
        f" rest {case['rest_total']:.2f} degree {case['degree']:.0f} {case['seconds']:.1f} s"
        for name, case in numbers["cases"].items()
    ]
    beads = [f"{name} {numbers[name]:.4f}" for name in ("beads_bad", "frc_lost") if name in numbers]
    return f"{numbers['kind']:12} {numbers['seed']:4} | " + " | ".join((*cases, *beads))


def seeds_in(text: str) -> range:
    """The seeds of "3" or "101-120"."""
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, metavar="KIND", help=" ".join(KINDS))
    parser.add_argument("--seeds", nargs="+", type=seeds_in, default=[range(101, 102)], help="such as 3 or 101-120")
    parser.add_argument("--size", type=int, help="largest edge in pixels: a cut-out of the same kind of movie")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="gpu: movies are made there too")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--jobs", type=int, default=1, help="movies at once")
    parser.add_argument("--json", type=Path, help="write the numbers there; those that it holds are not measured again")
    args = parser.parse_args()
    seeds = [seed for each in args.seeds for seed in each]
    done: dict[tuple[str, int], Numbers] = {}
    if args.json and args.json.exists():
        done = {(movie["kind"], movie["seed"]): movie for movie in json.loads(args.json.read_text())}
    missing = {seed: [kind for kind in args.kinds if (kind, seed) not in done] for seed in seeds}
    arguments = Arguments(args.size, args.device, args.threads)
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(one_seed, kinds, seed, arguments) for seed, kinds in missing.items() if kinds]
        for job in as_completed(jobs):
            for numbers in job.result():
                done[numbers["kind"], numbers["seed"]] = numbers
                print(movie_line(numbers), flush=True)
            if args.json:
                args.json.write_text(json.dumps(list(done.values())) + "\n")
    movies = [done[kind, seed] for kind in args.kinds for seed in seeds]
    print(f"{table(movies)}\n\n{error_table(movies)}")


if __name__ == "__main__":
    main()
