"""Accuracy of the CTF estimation on simulated images of ice, beside the Cramer-Rao bound of the same images.

    python benchmarks/ctf.py --images 100 --first 10000
    python benchmarks/ctf.py --rows strong-4096 tilt-2048 --images 12 --verbose

Columns: rms error of the mean defocus and of one component of (D1 - D2) (cos 2a, sin 2a) in A, the bound of both, their
ratio, and z, the rms of error over stated error. Images that are more than 500 A off are fails and not in the rms.
All images differ in defocus (0.4 to 3.5 um), astigmatism (0 to 1000 A), pixel size (0.8 to 1.5 A) and voltage (200 or
300 kV). Images of seeds below 10000 were used for development.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np

from restframe import estimate_ctf
from restframe.ctf.bins import Bins, make_bins
from restframe.ctf.estimate import highest_frequency
from restframe.ctf.model import CtfShape, Microscope, SignalStrength
from restframe.ctf.refine import Freedom, cramer_rao_covariance
from restframe.ctf.spectrum import AxisWindow, edge_window, polar_spectrum
from restframe.optics import CtfParameters
from restframe.simulate.ice_images import IceImage, simulate_ice

FAIL = 500.0  # A
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


ROWS = {
    "strong-2048": Row("strong", 2048),
    "typical-2048": Row("typical", 2048),
    "thick-2048": Row("typical", 2048, max_thickness=1500),
    "phase-2048": Row("typical", 2048, max_phase=150),
    "ring-2048": Row("typical", 2048, ice_ring=2.0),
    "none-2048": Row("none", 2048),
    "tilt-2048": Row("typical", 2048, max_tilt=45),
    "strong-4096": Row("strong", 4096),
    "typical-4096": Row("typical", 4096),
    "weak-4096": Row("weak", 4096),
    "tilt-4096": Row("typical", 4096, max_tilt=45),
}


def recipe_of(row: Row, seed: int) -> IceImage:
    """The image of a row with this seed."""
    generator = np.random.default_rng(100_000 + seed)
    strength, bfactor = SIGNALS[row.signal]
    pixel_size = generator.uniform(0.8, 1.5)
    defocus, astigmatism, angle = (generator.uniform(*limits) for limits in ((4000, 35000), (0, 1000), (0, 180)))
    optics = CtfParameters([200.0, 300.0][seed % 2], defocus, astigmatism, angle)
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


def measure(row: Row, seed: int, periodic: bool = False) -> Outcome:
    recipe = recipe_of(row, seed)
    if periodic:
        recipe = replace(recipe, margin=0)
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
    truth, shape, fit = true_shape(recipe), ctf.fit.shape, ctf.fit
    phase_error = (np.rad2deg(shape.phase_shift - truth.phase_shift) + 90) % 180 - 90
    error = [shape.defocus - truth.defocus, shape.astigmatism_x - truth.astigmatism_x]
    error += [shape.astigmatism_y - truth.astigmatism_y, phase_error, ctf.tilt_angle - recipe.tilt]
    names = ("defocus", "astigmatism_x", "astigmatism_y")
    stated = [*(fit.error(name) for name in names), np.rad2deg(fit.error("phase_shift")), ctf.errors.tilt_angle]
    spectrum = polar_spectrum(image, recipe.pixel_size, highest_frequency(recipe.pixel_size))
    microscope = Microscope(recipe.optics.voltage)
    signal = SignalStrength(float(np.log(max(recipe.strength, 1e-6))), recipe.bfactor)
    freedom = Freedom(phase_shift=row.max_phase > 0, thickness=False)
    bins = seen_through_edges(make_bins(spectrum, 1 / 30), recipe, microscope)
    covariance = cramer_rao_covariance(bins, microscope, truth, signal, freedom)
    bound = np.sqrt(np.diag(covariance))[:4] * [1, 1, 1, np.rad2deg(1)]
    return Outcome(ctf.found, np.array(error), bound, np.array(stated), seconds)


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

    usual, least = pooled(error[good]), pooled(bound[good])
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
    parser.add_argument("--first", type=int, default=10000, help="seed of the first image")
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
