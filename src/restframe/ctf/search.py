"""Where the fit begins: a matched filter for cos 2 chi on a grid of defocus, astigmatism and phase shift.

With r the power relative to the noise, the sum over all coefficients of -(r - 1) S cos 2 chi, divided by its standard
deviation in noise, has a height h; h²/2 is the log likelihood that a weak signal S adds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from restframe.arrays import AnyArray, FloatArray, IntArray
from restframe.ctf.bins import Bins
from restframe.ctf.model import CtfShape, Microscope, SignalStrength
from restframe.ctf.refine import ASTIGMATISM_PRIOR
from restframe.ctf.spectrum import PolarSpectrum

SECTORS = 18  # of half a turn; spectra are averaged over them for the search
BFACTORS = (40.0, 120.0, 240.0)  # A²
PHASE_STEP = 0.5  # rad of 2 chi at the highest frequency between defocus values
ASTIGMATISM_STEP = 2.0  # rad of 2 chi at the highest frequency between astigmatisms
MIN_SEPARATION = 6.0  # rad of 2 chi at the highest frequency between candidates
MAX_CANDIDATES = 6
SIGNIFICANT_FRACTION = 0.98  # of the information lies below the frequency that decides the steps


@dataclass(frozen=True)
class SearchRange:
    """Where the fit looks."""

    min_defocus: float = 2000.0  # A
    max_defocus: float = 50000.0  # A
    max_astigmatism: float = 2000.0  # A, D1 - D2
    phase_shift: tuple[float, float] | None = None  # rad, minimum and maximum; None: there is no phase plate
    min_frequency: float = 1 / 30.0  # 1/A


@dataclass(frozen=True)
class Candidate:
    """A place where the fit begins."""

    shape: CtfShape
    signal: SignalStrength
    height: float  # of the matched filter, in standard deviations

    @property
    def rank(self) -> float:
        """Log likelihood of the matched filter plus the log prior of the astigmatism."""
        return 0.5 * max(self.height, 0.0) ** 2 - 0.5 * (self.shape.astigmatism / ASTIGMATISM_PRIOR) ** 2


@dataclass(frozen=True, eq=False)
class _Excess:
    """The power above the noise by ring and sector."""

    value: FloatArray  # (r, SECTORS) sum of p / N - 1
    count: FloatArray  # (r,) coefficients of each ring
    squared_frequency: FloatArray  # (r,)
    angle: FloatArray  # (SECTORS,)


def _excess(spectrum: PolarSpectrum, bins: Bins, noise: FloatArray, min_frequency: float) -> _Excess:
    frequency = spectrum.frequency
    rings = np.flatnonzero(frequency >= min_frequency)
    used = spectrum.count[rings] > 0
    count, excess = np.zeros(used.shape), np.zeros(used.shape)
    count[used] = bins.count
    excess[used] = bins.count * (bins.power * np.exp(-bins.noise_basis @ noise) - 1)
    merged = spectrum.power.shape[1] // SECTORS
    return _Excess(
        excess.reshape(len(rings), SECTORS, merged).sum(2),
        count.sum(1),
        frequency[rings] ** 2,
        spectrum.angle.reshape(SECTORS, merged).mean(1),
    )


def search(
    spectrum: PolarSpectrum, bins: Bins, noise: FloatArray, microscope: Microscope, where: SearchRange
) -> list[Candidate]:
    """The best places, best first, at most `MAX_CANDIDATES`, apart from each other in defocus.

    ``bins``: those of ``spectrum`` from ``where.min_frequency`` on; ``noise``: coefficients of ln N fitted to them.
    """
    excess = _excess(spectrum, bins, noise, where.min_frequency)
    candidates = [one for bfactor in BFACTORS for one in _matched(excess, microscope, where, bfactor)]
    candidates.sort(key=lambda one: -one.rank)
    separation = MIN_SEPARATION / (2 * float(microscope.defocus_slope(excess.squared_frequency[-1:])[0]))
    chosen: list[Candidate] = []
    for one in candidates:
        if all(abs(one.shape.defocus - other.shape.defocus) > separation for other in chosen):
            chosen.append(one)
        if len(chosen) == MAX_CANDIDATES:
            break
    return chosen


def _matched(excess: _Excess, microscope: Microscope, where: SearchRange, bfactor: float) -> Iterator[Candidate]:
    """The highest peaks of the matched filter with S ~ exp(-bfactor k²/2)."""
    squared = excess.squared_frequency
    double_slope = 2 * microscope.defocus_slope(squared)
    weight = np.exp(-bfactor * squared / 2)
    information = np.cumsum(excess.count * weight**2)
    significant = int(np.searchsorted(information, SIGNIFICANT_FRACTION * information[-1]))
    highest = float(double_slope[min(significant, len(double_slope) - 1)])
    step = PHASE_STEP / highest
    reach = int(np.ceil(where.max_astigmatism / 2 / step)) + 1  # grid points on either side for the astigmatism
    inner_count = int((where.max_defocus - where.min_defocus) / step) + 2
    grid = where.min_defocus + step * np.arange(-reach, inner_count + reach)
    double_phase = double_slope[:, None] * grid + 2 * microscope.constant_phase(squared)[:, None]
    wave = np.exp(-1j * double_phase.astype(np.float32))
    response = (excess.value * weight[:, None]).T.astype(np.complex64) @ wave  # (SECTORS, grid)
    if where.phase_shift is None:
        response = np.ascontiguousarray(response.real)  # all that `_best_phase` looks at
    deviation = float(np.sqrt(information[-1] / 2))
    for magnitude, double_angle in astigmatism_grid(where.max_astigmatism, ASTIGMATISM_STEP / highest):
        shift = np.rint(0.5 * magnitude * np.cos(2 * excess.angle - double_angle) / step).astype(int) + reach
        total = np.zeros(inner_count, response.dtype)
        for sector in range(SECTORS):
            total += response[sector, shift[sector] : shift[sector] + inner_count]
        height, phase_shift = _best_phase(total / deviation, where.phase_shift)
        for index in _peaks(height):
            shape = CtfShape(
                float(grid[index + reach]),
                float(magnitude * np.cos(double_angle)),
                float(magnitude * np.sin(double_angle)),
                float(phase_shift[index]),
            )
            amplitude = float(height[index]) * deviation * 4 / float(information[-1])
            yield Candidate(shape, SignalStrength(float(np.log(max(amplitude, 1e-3))), bfactor), float(height[index]))


def _peaks(height: FloatArray) -> IntArray:
    """Indices of the few highest local maxima."""
    inner = np.flatnonzero((height[1:-1] >= height[:-2]) & (height[1:-1] >= height[2:])) + 1
    if not len(inner):
        return np.array([int(height.argmax())])
    return np.asarray(inner[np.argsort(-height[inner])[:MAX_CANDIDATES]])


def _best_phase(total: AnyArray, allowed: tuple[float, float] | None) -> tuple[FloatArray, FloatArray]:
    """The highest -Re(total exp(-2 i phase)) that ``allowed`` phase shifts give, and that phase shift in rad."""
    if allowed is None:
        return -total.real, np.zeros(len(total))
    best = within((np.angle(total) - np.pi) / 2, allowed)  # -total exp(-2 i phase) is real and positive there
    best = np.clip(best, *allowed)
    return -(total * np.exp(-2j * best)).real, best


def within(phase_shift: FloatArray, allowed: tuple[float, float]) -> FloatArray:
    """``phase_shift`` plus the multiple of pi that brings it nearest to the middle of ``allowed``; M stays the same."""
    middle = 0.5 * (allowed[0] + allowed[1])
    return np.asarray(phase_shift + np.pi * np.rint((middle - phase_shift) / np.pi))


def astigmatism_grid(most: float, step: float) -> list[tuple[float, float]]:
    """Magnitudes D1 - D2 in A and double angles 2 a0 in rad, about ``step`` A apart."""
    grid = [(0.0, 0.0)]
    for ring in range(1, int(np.ceil(most / step)) + 1):
        magnitude = min(ring * step, most)
        directions = max(6, int(np.ceil(2 * np.pi * magnitude / step)))
        grid += [(magnitude, 2 * np.pi * direction / directions) for direction in range(directions)]
    return grid
