"""Would a prior of the motion that is shared by the movies of a session make their motion more accurate?

    python benchmarks/session_prior.py --kinds tiltweak weak few --size 1024

The prior's scales (`track/prior.py`) are learned from each movie. Here they come from others of the same session, whose
motion has the same statistics: all movies of a kind. Three priors are compared with that of the movie alone:

learned: the median of the scales that the training movies have learned, each by itself, and their time axis
true: the scales and the time axis with the highest probability of the true motion of the training movies, which no
    measurement can surpass
true, path: the same, also for the steps of the coarse track

Scales may still differ from the shared ones, by `POOLED_LOG_SCALE_SD` instead of `evidence.LOG_SCALE_SD`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from unittest import mock

import numpy as np
from goals import GLOBAL_ONLY, PATCHES, Case, make_movie, measure_case, seeds_in, settings_for
from movies import recipe_for
from scipy.optimize import minimize

from restframe.settings import Machine
from restframe.simulate import Recipe
from restframe.simulate.motion import make_truth
from restframe.track import coarse as coarse_module
from restframe.track import evidence, global_motion, local_motion, measure, prior_scales
from restframe.track.field import legendre_values
from restframe.track.fit import Fit
from restframe.track.prior import TIME_AXES, Prior, TimeAxis
from restframe.track.problem import FieldModel

POOLED_LOG_SCALE_SD = 0.3
VARIANTS = "own", "learned", "true", "true, path"


@dataclass(frozen=True, eq=False)
class SharedPrior:
    """Scales in binned pixels, and a time axis."""

    prior: Prior
    time_axis: TimeAxis


@contextmanager
def with_shared_prior(shared: SharedPrior | None, for_path: bool) -> Iterator[None]:
    """Measurements use this prior. ``for_path``: also where the coarse track is uncertain."""
    if shared is None:
        yield
        return
    speed_variance = float(shared.prior.speed_variance[0])

    def step_variance(mid_dose, pixel_size):
        times = shared.time_axis.stretched_time(mid_dose - mid_dose[0])
        return np.maximum(speed_variance * np.diff(times), 1e-3)

    patches = [
        mock.patch.object(measure, "default_prior", lambda *_: shared.prior),
        mock.patch.object(evidence, "LOG_SCALE_SD", POOLED_LOG_SCALE_SD),
        mock.patch.object(prior_scales, "TIME_AXES", (shared.time_axis,)),
        mock.patch.object(global_motion, "FieldModel", partial(FieldModel, time_axis=shared.time_axis)),
    ]
    if for_path:
        patches.append(mock.patch.object(coarse_module, "step_variance", step_variance))
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def learn(kind: str, seed: int, size: int) -> tuple[Prior, FieldModel, float]:
    """The prior that a movie alone learns, with the model of its local motion, and pixels per binned pixel."""
    movie, counts = make_movie(recipe_for(kind, seed, size), "cpu")
    fits: list[Fit] = []

    def fit_field(*arguments):
        fits.append(original(*arguments))
        return fits[-1]

    factors: list[float] = []

    def fit_local_motion(kernels, series, *arguments):
        factors.append(series.binned.factor)
        return original_local(kernels, series, *arguments)

    original, original_local = local_motion.fit_field, measure.fit_local_motion
    with (
        mock.patch.object(local_motion, "fit_field", fit_field),
        mock.patch.object(measure, "fit_local_motion", fit_local_motion),
    ):
        measure_case(movie, counts, settings_for(movie, Machine(threads=1), PATCHES))
    return fits[0].prior, fits[0].problem.model, factors[0]


def true_prior(recipe: Recipe, model: FieldModel, factor: float, seeds: list[int]) -> SharedPrior:
    """The prior under which the true motion of the movies with these ``seeds`` is most probable."""
    amplitudes = [true_amplitudes(recipe_for(recipe.kind, seed, recipe.shape[1]), model, factor) for seed in seeds]
    best = None
    for axis in TIME_AXES:
        axis_model = FieldModel(
            model.modes,
            model.tile_means,
            model.mid_dose,
            model.reference,
            model.global_groups,
            model.local_groups,
            axis,
        )
        coefficients = [axis_model.coefficients(each) for each in amplitudes]
        value, prior = most_probable_prior(axis_model, coefficients)
        # density of the motion itself, not of coefficients in a basis that depends on the axis
        for basis in axis_model.mode_bases:
            value += 2 * len(seeds) * np.linalg.slogdet(basis.values.T @ basis.values)[1] / -2
        if best is None or value > best[0]:
            best = value, SharedPrior(prior, axis)
    return best[1]


def true_amplitudes(recipe: Recipe, model: FieldModel, factor: float) -> np.ndarray:
    """Least squares amplitudes (modes, t, 2) of the true motion, binned pixels, zero in the reference frame."""
    truth = make_truth(recipe)
    x, y = truth.positions()
    height, width = recipe.shape[1:]
    highest = max(max(mode) for mode in model.modes)
    along_x = np.stack(legendre_values((2 * x.ravel() + 1) / width - 1, highest))
    along_y = np.stack(legendre_values((2 * y.ravel() + 1) / height - 1, highest))
    patterns = np.stack([along_x[degree_x] * along_y[degree_y] for degree_x, degree_y in model.modes], 1)
    motion = truth(x, y).reshape(len(truth.amplitudes[0]), -1, 2) / factor
    motion = motion - motion[model.reference]
    amplitudes = np.linalg.lstsq(patterns, np.moveaxis(motion, 0, 1).reshape(len(patterns), -1), rcond=None)[0]
    return amplitudes.reshape(len(model.modes), -1, 2)


def most_probable_prior(model: FieldModel, coefficients: list[np.ndarray]) -> tuple[float, Prior]:
    """The scales of each degree with the highest probability of the coefficients, and its logarithm."""
    total, scales = 0.0, []
    for degree in range(int(model.degrees.max()) + 1):
        modes = np.flatnonzero(model.degrees == degree)
        roughness = model.mode_bases[modes[0]].roughness
        squares = np.stack(
            [one[model.coefficient_slices[mode]] ** 2 for one in coefficients for mode in modes]
        )  # (m, n, 2)

        def minus_log(log_scales, roughness=roughness, squares=squares):
            precision = np.exp(-log_scales[0]) + roughness * np.exp(-log_scales[1])
            return float((precision[:, None] * squares - np.log(precision)[:, None]).sum() / 2)

        starts = ([0.0, 0.0], [-2.0, 3.0], [2.0, -3.0])
        found = min((minimize(minus_log, start, method="Nelder-Mead") for start in starts), key=lambda one: one.fun)
        total -= found.fun
        scales.append(np.clip(found.x, -12, 12))
    return total, Prior.from_log_scales(np.array(scales))


def learned_prior(results: list[tuple[Prior, FieldModel, float]]) -> SharedPrior:
    """Median of the learned log scales, and the time axis that was chosen most often."""
    scales = np.median([prior.log_scales() for prior, _, _ in results], axis=0)
    axes = [model.time_axis for _, model, _ in results]
    return SharedPrior(Prior.from_log_scales(scales), max(axes, key=axes.count))


def measure_variants(kind: str, seed: int, size: int, priors: dict[str, SharedPrior]) -> dict[str, list[Case]]:
    """Global motion, and motion with patches, for each variant."""
    movie, counts = make_movie(recipe_for(kind, seed, size), "cpu")
    cases = {}
    for name in VARIANTS:
        with with_shared_prior(priors.get(name), for_path=name.endswith("path")):
            cases[name] = [
                measure_case(movie, counts, settings_for(movie, Machine(threads=1), patches))
                for patches in (GLOBAL_ONLY, PATCHES)
            ]
    return cases


def print_table(kind: str, movies: list[dict[str, list[Case]]]) -> None:
    """Mean errors, A, and their quotient by those with the movie's own prior."""
    rest = np.mean([[case.rest_whole for case in movie["own"]][:1] for movie in movies])
    print(f"\n{kind}, {len(movies)} movies; no correction: global {rest:.3f} A")
    print("| prior | global, A | over own | true / stated | with patches, A | over own | true / stated |")
    print("|---|---|---|---|---|---|---|")
    own = None
    for name in VARIANTS:
        whole = np.array([movie[name][0].whole for movie in movies])
        total = np.array([movie[name][1].total for movie in movies])
        stated = np.array([[case.stated for case in movie[name]] for movie in movies])
        own = own or (whole, total)
        columns = []
        for errors, own_errors, errors_stated in zip((whole, total), own, stated.T, strict=True):
            ratio = np.sqrt((errors**2).mean() / (errors_stated**2).mean())
            columns.append(f"{errors.mean():.3f} | {errors.mean() / own_errors.mean():.3f} | {ratio:.2f}")
        print(f"| {name} | {' | '.join(columns)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=["tiltweak", "weak", "few"])
    parser.add_argument("--size", type=int, default=1024, help="largest edge in pixels")
    parser.add_argument("--training-seeds", type=seeds_in, default=range(201, 221), help="such as 201-220")
    parser.add_argument("--seeds", type=seeds_in, default=range(101, 121))
    parser.add_argument("--jobs", type=int, default=1, help="movies at once")
    args = parser.parse_args()
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for kind in args.kinds:
            results = list(pool.map(partial(learn, kind, size=args.size), args.training_seeds))
            model, factor = results[0][1:]
            truth = true_prior(recipe_for(kind, 1, args.size), model, factor, args.training_seeds)
            learned = learned_prior(results)
            priors = {"learned": learned, "true": truth, "true, path": truth}
            for name, shared in (("learned", learned), ("true", truth)):
                print(kind, name, shared.time_axis, np.round(shared.prior.log_scales(), 1).tolist(), flush=True)
            print_table(
                kind, list(pool.map(partial(measure_variants, kind, size=args.size, priors=priors), args.seeds))
            )


if __name__ == "__main__":
    main()
