"""Accuracy of the CTF estimation on simulated images of ice, beside the Cramer-Rao bound of the same images.

    python benchmarks/ctf.py --images 100 --first 20000
    python benchmarks/ctf.py --rows strong-4096 tilt-2048 --images 12 --verbose
    python benchmarks/ctf.py --rows movie-1024 --images 50

Columns: rms error of the mean defocus and of one component of (D1 - D2) (cos 2a, sin 2a) in A, the bound of both, their
ratio, and z, the rms of error over stated error. Images that are more than 500 A off are fails and not in the rms.
All images differ in defocus (0.4 to 3.5 um), astigmatism (0 to 1000 A), pixel size (0.8 to 1.5 A) and voltage (200 or
300 kV), in rows "wide" in all that a microscope does: 0.4 to 4 um, 0 to 1500 A, ice of 200 to 3000 A, 100 to 300 kV.
Rows "carbon" and "holes" hold a straight edge: carbon film, or a hole without ice, on one side. Rows "movie" are
simulated movies of particles that restframe corrects; beside them stands the estimate from the same specimen at rest.
Images of seeds below 20000 were used for development.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np

from restframe import correct, estimate_ctf
from restframe.arrays import FloatArray
from restframe.ctf.bins import Bins, make_bins
from restframe.ctf.estimate import Ctf, highest_frequency
from restframe.ctf.model import CtfShape, Microscope, SignalStrength
from restframe.ctf.refine import Freedom, cramer_rao_covariance
from restframe.ctf.spectrum import AxisWindow, edge_window, polar_spectrum
from restframe.optics import CtfParameters
from restframe.simulate.ice_images import IceImage, simulate_ice
from restframe.simulate.movie import simulate
from restframe.simulate.recipe import PRESETS, Recipe

FAIL = 500.0  # A
CARBON = (1.5, 80.0)  # strength and B in A² of carbon film
CARBON_ABSORPTION = 0.08  # of the electrons
EDGE_STEP = 0.5  # standard deviations of the noise between the means on both sides of an edge
EDGE_WIDTH = 20.0  # A
MOVIE_FRAMES, MOVIE_DOSE = 30, 1.4  # e/A² per frame
SIGNALS = {"strong": (0.5, 100.0), "typical": (0.2, 120.0), "weak": (0.05, 120.0), "none": (0.0, 120.0)}


@dataclass(frozen=True)
class Row:
    """One kind of images."""

    signal: str
    side: int
    max_thickness: float = 0.0  # A
    max_phase: float = 0.0  # degrees
    max_tilt: float = 0.0  # degrees
    ice_ring: float = 0.0
    max_defocus: float = 35000.0  # A
    max_astigmatism: float = 1000.0  # A
    voltages: tuple[float, ...] = (200.0, 300.0)  # kV
    beyond_edge: str = ""  # what lies on one side of an edge: "carbon" or "hole"
    movie: bool = False


ROWS = {
    "strong-2048": Row("strong", 2048),
    "typical-2048": Row("typical", 2048),
    "thick-2048": Row("typical", 2048, max_thickness=1500),
    "phase-2048": Row("typical", 2048, max_phase=150),
    "ring-2048": Row("typical", 2048, ice_ring=2.0),
    "volt100-2048": Row("typical", 2048, voltages=(100.0,)),
    "carbon-2048": Row("typical", 2048, beyond_edge="carbon"),
    "holes-2048": Row("typical", 2048, beyond_edge="hole"),
    "wide-2048": Row("typical", 2048, 3000, 0, 0, 0, 40000, 1500, (100.0, 200.0, 300.0)),
    "none-2048": Row("none", 2048),
    "none-phase-2048": Row("none", 2048, max_phase=150),
    "none-tilt-2048": Row("none", 2048, max_tilt=45),
    "tilt-2048": Row("typical", 2048, max_tilt=45),
    "strong-4096": Row("strong", 4096),
    "typical-4096": Row("typical", 4096),
    "weak-4096": Row("weak", 4096),
    "tilt-4096": Row("typical", 4096, max_tilt=45),
    "none-4096": Row("none", 4096),
    "movie-1024": Row("typical", 1024, movie=True),
}


def recipe_of(row: Row, seed: int) -> IceImage:
    """The image of a row with this seed."""
    generator = np.random.default_rng(100_000 + seed)
    strength, bfactor = SIGNALS[row.signal]
    pixel_size = generator.uniform(0.8, 1.5)
    limits = (4000, row.max_defocus), (0, row.max_astigmatism), (0, 180)
    defocus, astigmatism, angle = (generator.uniform(*one) for one in limits)
    optics = CtfParameters(row.voltages[seed % len(row.voltages)], defocus, astigmatism, angle)
    thickness = generator.uniform(200, row.max_thickness) if row.max_thickness else 0.0
    phase_shift = np.deg2rad(generator.uniform(0, row.max_phase))
    tilt, axis = generator.uniform(0, row.max_tilt), generator.uniform(0, 180)
    recipe = IceImage(row.side, pixel_size, optics, strength, bfactor, phase_shift, thickness, seed=seed)
    return replace(recipe, tilt=tilt, tilt_axis=axis, ice_ring=row.ice_ring)


def true_shape(recipe: IceImage) -> CtfShape:
    optics = recipe.optics
    double_angle = np.deg2rad(2 * optics.astigmatism_angle)
    tangent, axis = np.tan(np.deg2rad(recipe.tilt)), np.deg2rad(recipe.tilt_axis)
    return CtfShape(
        optics.defocus,
        float(optics.astigmatism * np.cos(double_angle)),
        float(optics.astigmatism * np.sin(double_angle)),
        recipe.phase_shift,
        recipe.thickness**2,
        float(-tangent * np.sin(axis)),
        float(tangent * np.cos(axis)),
    )


@dataclass(frozen=True)
class Outcome:
    """What one image gave: errors, bounds, stated errors of defocus, both components of astigmatism, phase, tilt."""

    found: bool
    error: np.ndarray
    bound: np.ndarray
    stated: np.ndarray
    seconds: float


def seen_through_edges(bins: Bins, recipe: IceImage, microscope: Microscope) -> Bins:
    """``bins`` with what remains of the oscillation in an image of finite size: its spectrum is blurred.

    An image whose opposite edges fit together has no edges.
    """
    if not recipe.margin:
        return bins
    window = AxisWindow(0, edge_window(recipe.side))
    lag = 2 * microscope.wavelength * recipe.optics.defocus * np.sqrt(bins.squared_frequency) / recipe.pixel_size
    coherence = window.coherence(lag * np.cos(bins.angle)) * window.coherence(lag * np.sin(bins.angle))
    return replace(bins, visibility=coherence)


def with_edge(recipe: IceImage, beyond_edge: str) -> tuple[FloatArray, float]:
    """An image with an edge through it, beyond which there is carbon film or nothing, and the fraction beyond it."""
    generator = np.random.default_rng(200_000 + recipe.seed)
    angle, distance = generator.uniform(0, 2 * np.pi), generator.uniform(0, 0.25) * recipe.side
    strength, bfactor = CARBON if beyond_edge == "carbon" else (0.0, recipe.bfactor)
    ice = simulate_ice(recipe)
    other = simulate_ice(replace(recipe, strength=strength, bfactor=bfactor, seed=recipe.seed + 1_000_000))
    if beyond_edge == "carbon":
        other = other * np.float32(np.sqrt(1 - CARBON_ABSORPTION)) - np.float32(EDGE_STEP)
    else:
        other = other + np.float32(EDGE_STEP)
    position = np.arange(recipe.side) - recipe.side / 2
    across = position[None, :] * np.cos(angle) + position[:, None] * np.sin(angle) - distance
    mask = 1 / (1 + np.exp(-np.clip(across * recipe.pixel_size / (EDGE_WIDTH / 4), -30, 30)))
    return np.asarray(ice * np.sqrt(1 - mask) + other * np.sqrt(mask), np.float32), float(mask.mean())


def signal_with_edge(recipe: IceImage, beyond_edge: str, fraction: float) -> SignalStrength:
    """The signal of both sides together, as one exponential from 30 to 4 A."""
    squared = np.linspace(1 / 30, 1 / 4, 100) ** 2
    total = (1 - fraction) * recipe.strength * np.exp(-0.5 * recipe.bfactor * squared)
    if beyond_edge == "carbon":
        total = total + fraction * CARBON[0] * np.exp(-0.5 * CARBON[1] * squared)
    slope, start = np.polyfit(squared, np.log(total), 1)
    return SignalStrength(float(start), float(-2 * slope))


def error_and_stated(ctf: Ctf, truth: CtfShape, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors and stated errors of defocus, astigmatism, phase shift (degrees) and tilt (degrees)."""
    shape, fit = ctf.fit.shape, ctf.fit
    phase_error = (np.rad2deg(shape.phase_shift - truth.phase_shift) + 90) % 180 - 90
    error = [shape.defocus - truth.defocus, shape.astigmatism_x - truth.astigmatism_x]
    error += [shape.astigmatism_y - truth.astigmatism_y, phase_error, ctf.tilt_angle - tilt]
    names = ("defocus", "astigmatism_x", "astigmatism_y")
    stated = [*(fit.error(name) for name in names), np.rad2deg(fit.error("phase_shift")), ctf.errors.tilt_angle]
    return np.array(error), np.array(stated)


def movie_recipe(row: Row, seed: int) -> Recipe:
    """A movie with the optics of the image of this seed."""
    image = recipe_of(row, seed)
    movie = replace(PRESETS["falcon"], shape=(MOVIE_FRAMES, row.side, row.side), frame_dose=MOVIE_DOSE, seed=seed)
    optics = image.optics
    movie = replace(movie, pixel_size=image.pixel_size, voltage=optics.voltage, defocus=optics.defocus)
    return replace(movie, astigmatism=optics.astigmatism, astigmatism_angle=optics.astigmatism_angle)


def measure_movie(row: Row, seed: int) -> Outcome:
    """The estimate from a corrected movie. In place of a bound: the error of that from the specimen at rest."""
    recipe = movie_recipe(row, seed)
    movie = simulate(recipe)
    choices = {"pixel_size": recipe.pixel_size, "voltage": recipe.voltage}
    result = correct(
        movie.counts, gain=movie.gain, frame_dose=MOVIE_DOSE, spherical_aberration=recipe.cs, patches=(4, 4), **choices
    )
    assert result.ctf is not None
    truth = true_shape(recipe_of(row, seed))
    error, stated = error_and_stated(result.ctf, truth, 0.0)
    at_rest = estimate_ctf(np.asarray(movie.still_counts(), np.float32), **choices)
    rest_error, _ = error_and_stated(at_rest, truth, 0.0)
    return Outcome(result.ctf.found, error, np.abs(rest_error[:4]), stated, 0.0)


def measure(row: Row, seed: int, periodic: bool = False) -> Outcome:
    if row.movie:
        return measure_movie(row, seed)
    recipe = recipe_of(row, seed)
    if periodic:
        recipe = replace(recipe, margin=0)
    signal = SignalStrength(float(np.log(max(recipe.strength, 1e-6))), recipe.bfactor)
    if row.beyond_edge:
        image, fraction = with_edge(recipe, row.beyond_edge)
        signal = signal_with_edge(recipe, row.beyond_edge, fraction)
    else:
        image = simulate_ice(recipe)
    start = time.process_time()
    ctf = estimate_ctf(
        image,
        pixel_size=recipe.pixel_size,
        voltage=recipe.optics.voltage,
        phase_shift=(0.0, 180.0) if row.max_phase else None,
        tilt=row.max_tilt > 0,
    )
    seconds = time.process_time() - start
    truth = true_shape(recipe)
    error, stated = error_and_stated(ctf, truth, recipe.tilt)
    spectrum = polar_spectrum(image, recipe.pixel_size, highest_frequency(recipe.pixel_size))
    microscope = Microscope(recipe.optics.voltage)
    freedom = Freedom(phase_shift=row.max_phase > 0, thickness=False)
    bins = seen_through_edges(make_bins(spectrum, 1 / 30), recipe, microscope)
    covariance = cramer_rao_covariance(bins, microscope, truth, signal, freedom)
    bound = np.sqrt(np.diag(covariance))[:4] * [1, 1, 1, np.rad2deg(1)]
    return Outcome(ctf.found, error, bound, stated, seconds)


def root_mean_square(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    return np.sqrt(np.mean(np.square(values), axis=axis))


def report(name: str, row: Row, outcomes: list[Outcome]) -> str:
    found = sum(one.found for one in outcomes)
    seconds = float(np.mean([one.seconds for one in outcomes]))
    if row.signal == "none":
        return f"{name:13} fits claimed: {found} of {len(outcomes)}; {seconds:.2f} s"
    error = np.array([one.error for one in outcomes])
    bound = np.array([one.bound for one in outcomes])
    stated = np.array([one.stated for one in outcomes])
    good = np.abs(error[:, 0]) < FAIL
    claimed = np.array([one.found for one in outcomes])
    wrong = int((~good & claimed).sum())

    def pooled(values: np.ndarray) -> np.ndarray:
        """rms of defocus, and of both components of the astigmatism together."""
        return np.array([root_mean_square(values[:, 0]), root_mean_square(values[:, 1:3])])

    if row.movie:  # the estimate at rest may fail, too
        bound[np.abs(bound[:, 0]) > FAIL] = np.nan
    usual, least = pooled(error[good]), pooled(bound[good & np.isfinite(bound[:, 0])])
    z = pooled(error[good] / stated[good])
    text = f"{name:13} {usual[0]:6.1f} {usual[1]:6.1f}   bound {least[0]:6.1f} {least[1]:6.1f}   ratio "
    text += f"{usual[0] / least[0]:4.2f} {usual[1] / least[1]:4.2f}   z {z[0]:4.2f} {z[1]:4.2f}   "
    text += f"fails {int((~good).sum())} of {len(good)}, {wrong} of them claimed; no fit {int((~claimed).sum())}; "
    if row.max_phase:
        phase_z = root_mean_square(error[good, 3] / stated[good, 3])
        text += f"phase {root_mean_square(error[good, 3]):.2f}, bound {root_mean_square(bound[good, 3]):.2f} degrees, "
        text += f"z {phase_z:.2f}; "
    if row.max_tilt:
        tilt_z = root_mean_square(error[good, 4] / stated[good, 4])
        text += f"tilt {root_mean_square(error[good, 4]):.2f} degrees, z {tilt_z:.2f}; "
    return text + f"{seconds:.2f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--images", type=int, default=100, help="per row")
    parser.add_argument("--first", type=int, default=20000, help="seed of the first image")
    parser.add_argument("--periodic", action="store_true", help="opposite edges of the images fit together")
    parser.add_argument("--verbose", action="store_true", help="a line for every image")
    arguments = parser.parse_args()
    for name in arguments.rows:
        outcomes = []
        for seed in range(arguments.first, arguments.first + arguments.images):
            outcomes.append(measure(ROWS[name], seed, arguments.periodic))
            if arguments.verbose:
                one = outcomes[-1]
                print(
                    seed, one.found, np.round(one.error, 2), np.round(one.stated, 2), f"{one.seconds:.2f}", flush=True
                )
        print(report(name, ROWS[name], outcomes), flush=True)


if __name__ == "__main__":
    main()
