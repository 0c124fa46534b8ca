"""Bins of one or more polar spectra as flat arrays, and fewer of them by folding the oscillation.

An image of 4096² has about 10^5 polar bins. For refinement they are merged by frequency, direction and the phase of the
oscillation at a shape that is nearly right: bins of equal phase have equal expected power, so little is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from restframe.arrays import BoolArray, FloatArray
from restframe.ctf.model import CtfShape, Microscope, SignalStrength, phase, thickness_envelope
from restframe.ctf.spectrum import PolarSpectrum

NOISE_KNOTS = 9  # coefficients of the cubic spline ln N(k)
NOISE_STEPS = 8  # at most, of Fisher scoring
SMALLEST_POWER = 1e-30


@dataclass(frozen=True, eq=False)
class Bins:
    """Bins of a spectrum, all arrays (n,) unless said otherwise."""

    power: FloatArray  # mean |F|²
    count: FloatArray  # independent coefficients
    squared_frequency: FloatArray  # 1/A²
    angle: FloatArray  # rad
    position: FloatArray  # of the ring, from 0 at the lowest frequency to 1 at the highest
    phase_offset: FloatArray  # rad, added to chi
    visibility: FloatArray  # factor of the oscillation of M, 0 to 1
    x: FloatArray  # A from the image's centre
    y: FloatArray

    @property
    def noise_basis(self) -> FloatArray:
        """(n, NOISE_KNOTS) of ln N."""
        return spline_basis(self.position, NOISE_KNOTS)

    def chosen(self, used: BoolArray) -> Bins:
        """The bins for which ``used`` is true."""
        return Bins(*(getattr(self, one.name)[used] for one in fields(self)))


@dataclass(frozen=True)
class Folding:
    """Into how many bins a spectrum is folded."""

    radial: int = 32
    sectors: int = 12
    phases: int = 24

    @property
    def size(self) -> int:
        return self.radial * self.sectors * self.phases


def spline_basis(position: FloatArray, knots: int) -> FloatArray:
    """Cubic B-splines on [0, 1]: (n, knots)."""
    from scipy.interpolate import BSpline  # its import takes as long as all others of the command

    inner = np.linspace(0, 1, knots - 2)
    ends = np.concatenate([np.zeros(3), inner, np.ones(3)])
    return np.asarray(BSpline.design_matrix(np.clip(position, 0, 1), ends, 3).toarray())


def make_bins(spectrum: PolarSpectrum, min_frequency: float) -> Bins:
    """The bins of ``spectrum`` that hold coefficients, from ``min_frequency`` (1/A) on."""
    frequency = spectrum.frequency
    rings = np.flatnonzero(frequency >= min_frequency)
    position = (frequency[rings] - min_frequency) / (frequency[-1] - min_frequency)
    used = spectrum.count[rings] > 0
    ring, sector = np.nonzero(used)
    zero = np.zeros(len(ring))
    return Bins(
        power=spectrum.power[rings][used],
        count=spectrum.count[rings][used],
        squared_frequency=spectrum.squared_frequency[rings][used],
        angle=spectrum.angle[sector],
        position=position[ring],
        phase_offset=zero,
        visibility=np.ones(len(ring)),
        x=zero,
        y=zero,
    )


def joined(parts: Sequence[Bins]) -> Bins:
    """All bins of ``parts``."""
    return Bins(*(np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Bins)))


def phase_at(bins: Bins, microscope: Microscope, shape: CtfShape) -> FloatArray:
    """chi in rad of each bin, at its own place in the image."""
    middle = phase(microscope, shape, bins.squared_frequency, bins.angle)
    slope = microscope.defocus_slope(bins.squared_frequency)
    return middle + slope * (shape.slope_x * bins.x + shape.slope_y * bins.y) + bins.phase_offset


def folded(bins: Bins, microscope: Microscope, shape: CtfShape, folding: Folding) -> Bins:
    """The same in fewer bins: by frequency, direction and the phase of the oscillation at ``shape``, modulo pi.

    The bins have to stand at one place of the image. At ``shape`` the mean wave of each bin is kept exactly, by
    ``phase_offset`` and ``visibility``.
    """
    chi = phase_at(bins, microscope, shape)
    by_phase = np.floor((chi / np.pi) % 1 * folding.phases).astype(np.int64) % folding.phases
    radial = np.floor(bins.position * (folding.radial - 1e-9)).astype(np.int64)
    sector = np.floor(bins.angle * (folding.sectors / np.pi)).astype(np.int64)
    index = (radial * folding.sectors + sector) * folding.phases + by_phase
    count: FloatArray = np.bincount(index, bins.count, folding.size).astype(float)
    used = count > 0

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(index, bins.count * values, folding.size)[used] / count[used])

    new = Bins(
        power=mean(bins.power),
        count=count[used],
        squared_frequency=mean(bins.squared_frequency),
        angle=mean(bins.angle),
        position=mean(bins.position),
        phase_offset=np.zeros(int(used.sum())),
        visibility=mean(bins.visibility),
        x=mean(bins.x),
        y=mean(bins.y),
    )
    turn = mean(np.cos(2 * chi)) + 1j * mean(np.sin(2 * chi))
    offset = 0.5 * np.angle(turn * np.exp(-2j * phase_at(new, microscope, shape)))
    return replace(new, phase_offset=offset, visibility=new.visibility * np.abs(turn))


def log_likelihood(bins: Bins, log_power: FloatArray) -> float:
    """-sum n (ln P + p / P) for bins of n coefficients with mean power p and expected power P (Whittle 1953)."""
    return -float(np.sum(bins.count * (log_power + bins.power * np.exp(-log_power))))


def fit_noise(bins: Bins, basis: FloatArray) -> FloatArray:
    """Coefficients of ln N for noise alone, by Fisher scoring. ``basis``: `Bins.noise_basis`."""
    root = np.sqrt(bins.count)
    logarithm = np.log(np.maximum(bins.power, SMALLEST_POWER))
    coefficients = np.linalg.lstsq(basis * root[:, None], logarithm * root, rcond=None)[0]
    information = (basis * bins.count[:, None]).T @ basis
    information += np.diag(1e-9 * np.diag(information).max() * np.ones(len(information)))
    for _ in range(NOISE_STEPS):
        ratio = bins.power * np.exp(-basis @ coefficients)
        step = np.linalg.solve(information, basis.T @ (bins.count * (ratio - 1)))
        coefficients = coefficients + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-5:
            break
    return np.asarray(coefficients)


def expected_power(
    bins: Bins, microscope: Microscope, shape: CtfShape, signal: SignalStrength, noise: FloatArray
) -> FloatArray:
    """P of each bin."""
    envelope = bins.visibility * thickness_envelope(microscope, shape.squared_thickness, bins.squared_frequency)
    contrast = 0.5 * (1 - envelope * np.cos(2 * phase_at(bins, microscope, shape)))
    return np.asarray(np.exp(bins.noise_basis @ noise) * (1 + signal(bins.squared_frequency) * contrast))
