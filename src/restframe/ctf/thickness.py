"""The fit averaged over the thickness of the ice, which is hardly ever known.

For each thickness of a grid everything else is refined. The probability of a thickness is the height of the posterior
times its volume in the other parameters. The mean over all of them has a smaller error than the most likely thickness
alone: the phase of the oscillation is reversed beyond the first node of thick ice, which imitates another defocus.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from restframe.arrays import FloatArray
from restframe.ctf.bins import Bins, Folding, folded
from restframe.ctf.model import Microscope
from restframe.ctf.refine import Fit, Freedom, Posterior, maximum

THICKNESSES = (0.0, 300.0, 600.0, 900.0, 1200.0, 1500.0, 1800.0, 2200.0, 2700.0, 3300.0)  # A
ROUGH_FOLDING = Folding(radial=24, sectors=12, phases=8)
FINE_FOLDING = Folding()
MAX_GAIN_LOST = 6.0  # log posterior below the best thickness: others are left out
MAX_GAIN_TO_CONTINUE = 40.0  # log posterior below the best: the refinement of the next thickness starts at the best
STEEP_GAIN = 3.0  # log posterior between neighbours in the grid: there is a thickness between them
MIN_STEP = 10.0  # A between thicknesses
MAX_HALVINGS = 6


@dataclass(frozen=True, eq=False)
class WeightedFit:
    """A fit and the logarithm of its probability, up to a constant."""

    fit: Fit
    log_weight: float

    @property
    def log_probability(self) -> float:
        return self.fit.gain + self.fit.log_volume + self.log_weight


def fits_by_thickness(bins: Bins, microscope: Microscope, start: Fit, freedom: Freedom) -> list[WeightedFit]:
    """The fits near ``start`` for all thicknesses that are not much less likely than the best one."""
    held = replace(freedom, thickness=False)
    rough = Posterior(folded(bins, microscope, start.shape, ROUGH_FOLDING), microscope)
    fits: dict[float, Fit] = {}
    thickness_of_start = float(np.sqrt(start.shape.squared_thickness))
    upwards = [thickness for thickness in THICKNESSES if thickness >= thickness_of_start]
    downwards = [thickness for thickness in reversed(THICKNESSES) if thickness < thickness_of_start]
    for order in (upwards, downwards):
        previous = start
        for thickness in order:
            fits[thickness] = _at_thickness(rough, previous, thickness, held)
            if fits[thickness].gain > start.gain - MAX_GAIN_TO_CONTINUE:
                previous = fits[thickness]
    best = max(fits.values(), key=lambda one: one.gain)
    fine = Posterior(folded(bins, microscope, best.shape, FINE_FOLDING), microscope)
    likely = {thickness: fit for thickness, fit in fits.items() if fit.gain > best.gain - MAX_GAIN_LOST}
    fits |= {thickness: _at_thickness(fine, fit, thickness, held) for thickness, fit in likely.items()}
    refined = set(likely)
    for _ in range(MAX_HALVINGS):
        between = _steep_places(fits, refined)
        for thickness, neighbour in between:
            fits[thickness] = _at_thickness(fine, fits[neighbour], thickness, held)
            refined.add(thickness)
        if not between:
            break
    grid = np.array(sorted(fits))
    width = dict(zip(grid.tolist(), _cell_widths(grid).tolist(), strict=True))
    return [WeightedFit(fits[thickness], float(np.log(width[thickness]))) for thickness in sorted(refined)]


def _at_thickness(posterior: Posterior, start: Fit, thickness: float, freedom: Freedom) -> Fit:
    return maximum(posterior, replace(start.shape, squared_thickness=thickness**2), start.signal, freedom)


def _steep_places(fits: dict[float, Fit], refined: set[float]) -> list[tuple[float, float]]:
    """Thicknesses half way between the most likely one and neighbours that are much less likely, and the former."""
    grid = sorted(fits)
    best = max(refined, key=lambda thickness: fits[thickness].gain)
    index = grid.index(best)
    places = []
    for neighbour in grid[max(index - 1, 0) : index] + grid[index + 1 : index + 2]:
        steep = fits[best].gain - fits[neighbour].gain > STEEP_GAIN
        if steep and abs(neighbour - best) > 2 * MIN_STEP:
            places.append((0.5 * (best + neighbour), best))
    return places


def _cell_widths(grid: FloatArray) -> FloatArray:
    """How much of the axis belongs to each of the increasing values ``grid``."""
    edges = np.concatenate([grid[:1], 0.5 * (grid[1:] + grid[:-1]), grid[-1:]])
    return np.diff(edges)
