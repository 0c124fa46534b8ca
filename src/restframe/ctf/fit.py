"""Maximum likelihood fit of the model to the polar spectrum of an image.

The coefficients of a spectrum are independent and exponentially distributed about the expected power (Whittle 1953), so
that the log likelihood is -sum_b n_b [ln P_b + p_b / P_b] for bins of n_b coefficients with mean power p_b.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import binary_dilation, median_filter

from restframe.arrays import BoolArray, FloatArray, IntArray
from restframe.ctf.bins import Bins, expected_power, fit_noise, folded, make_bins
from restframe.ctf.model import CtfShape, Microscope
from restframe.ctf.refine import SHAPE_COUNT, SHAPE_NAMES, Fit, Freedom, refine
from restframe.ctf.search import SearchRange, search
from restframe.ctf.spectrum import PolarSpectrum
from restframe.ctf.thickness import MAX_GAIN_LOST, ROUGH_FOLDING, WeightedFit, fits_by_thickness

MAX_RANK_LOST = 30.0  # log likelihood of the matched filter: candidates with less are not refined
THIN_START = 300.0  # A, the thickness of the ice while candidates are compared
MIN_GAIN = 12.0  # log posterior over that of noise alone: below it there is no fit
MIN_GAIN_OF_PHASE = 3.0  # more where a phase shift is fitted, too
MIN_GAIN_OF_PLANE = 2.0  # more for a plane of defocus
FREE_GAIN = 4.0  # log posterior that the fitted shape and signal gain by chance
MAX_CHANCE = 0.75  # of the gain that is put down to chance
SAME_FIT = 500.0  # A: modes nearer than this are averaged

OUTLIER_DEVIATIONS = 5.0  # of a group of bins from the model: it is left out
OUTLIER_RINGS = 8  # rings of a group
OUTLIER_SECTORS = 4  # sectors of a group
SUSPICIOUS_RATIO = 5.0  # of a ring's deviation from smooth noise to the median of the rings around
SUSPICIOUS_WINDOW = 6  # all rings over those of that median
MAX_ROUNDS = 3  # of leaving out


@dataclass(frozen=True, eq=False)
class SpectrumFit:
    """The most likely model of one spectrum, and the bins that it was fitted to."""

    fit: Fit
    spectrum: PolarSpectrum  # without the bins that deviate from any model: ice rings, lattices
    found: bool  # whether there is enough evidence for a signal at all


def fit_spectrum(spectrum: PolarSpectrum, microscope: Microscope, where: SearchRange) -> SpectrumFit:
    """Search, refine, leave out what does not fit the model, and again until the same bins are left out."""
    freedom = Freedom(phase_shift=where.phase_shift is not None)
    everything = make_bins(spectrum, where.min_frequency)
    dropped = suspicious_rings(spectrum, everything, where.min_frequency)
    for _ in range(MAX_ROUNDS):
        clean = spectrum.without(dropped) if dropped.any() else spectrum
        best = _fit_bins(clean, make_bins(clean, where.min_frequency), microscope, where, freedom)
        deviant = outliers(spectrum, everything, microscope, best, where.min_frequency)
        if np.array_equal(deviant, dropped):
            break
        dropped = deviant
    return SpectrumFit(best, clean, best.gain >= least_gain(freedom))


def least_gain(freedom: Freedom) -> float:
    """The log posterior over that of noise alone that a fit needs. Noise gains more if more is fitted to it."""
    return MIN_GAIN + MIN_GAIN_OF_PHASE * freedom.phase_shift + MIN_GAIN_OF_PLANE * freedom.slope


def _fit_bins(spectrum: PolarSpectrum, bins: Bins, microscope: Microscope, where: SearchRange, freedom: Freedom) -> Fit:
    noise = fit_noise(bins, bins.noise_basis)
    candidates = search(spectrum, bins, noise, microscope, where)
    held = replace(freedom, thickness=False)
    fits = []
    for one in candidates:
        if candidates[0].rank - one.rank < MAX_RANK_LOST:
            shape = replace(one.shape, squared_thickness=THIN_START**2)
            rough = folded(bins, microscope, shape, ROUGH_FOLDING)
            fits.append(refine(rough, microscope, shape, one.signal, held))
    weighted: list[WeightedFit] = []
    for mode in distinct(fits):
        weighted += fits_by_thickness(bins, microscope, mode, freedom)
    return averaged(weighted, where)


def distinct(fits: Sequence[Fit]) -> list[Fit]:
    """The best fits that are not the same maximum of the posterior, best first."""
    ordered = sorted(fits, key=lambda one: -one.gain)
    modes: list[Fit] = []
    for one in ordered:
        if one.gain > ordered[0].gain - MAX_GAIN_LOST and all(_distance(one, other) > 1.0 for other in modes):
            modes.append(one)
    return modes


def averaged(weighted: Sequence[WeightedFit], where: SearchRange) -> Fit:
    """The best fit, its shape and covariance averaged over the fits near it.

    Fits at another defocus (`SAME_FIT`) are not averaged: the gain of the best of them is the ``second_gain``.
    """
    best = max((one.fit for one in weighted), key=lambda one: one.gain)
    near = [one for one in weighted if abs(one.fit.shape.defocus - best.shape.defocus) < SAME_FIT]
    far = [one.fit.gain for one in weighted if abs(one.fit.shape.defocus - best.shape.defocus) >= SAME_FIT]
    evidence = np.array([one.log_probability for one in near])
    probability = np.exp(evidence - evidence.max())
    probability /= probability.sum()
    vectors = np.array([shape_vector(_turned(one.fit.shape, best.shape.phase_shift)) for one in near])
    mean = probability @ vectors
    covariance = np.zeros((SHAPE_COUNT, SHAPE_COUNT))
    # the fit makes the signal look stronger than it is: by chance alone it gains FREE_GAIN
    optimism = 1 / (1 - min(FREE_GAIN / max(best.gain, FREE_GAIN), MAX_CHANCE))
    for part, one, vector in zip(probability, near, vectors, strict=True):
        covariance += part * (optimism * one.fit.covariance + np.outer(vector - mean, vector - mean))
    shape = CtfShape(*mean.tolist())
    if where.phase_shift is not None:
        shape = _turned(shape, 0.5 * (where.phase_shift[0] + where.phase_shift[1]))
    return replace(best, shape=shape, covariance=covariance, second_gain=max(far, default=0.0))


def _turned(shape: CtfShape, phase_shift: float) -> CtfShape:
    """The same with the phase shift, which is known up to a multiple of pi, nearest to ``phase_shift``."""
    turns = np.rint((phase_shift - shape.phase_shift) / np.pi)
    return replace(shape, phase_shift=float(shape.phase_shift + np.pi * turns))


def shape_vector(shape: CtfShape) -> FloatArray:
    """(SHAPE_COUNT,) the parameters in the order of `SHAPE_NAMES`."""
    return np.array([getattr(shape, name) for name in SHAPE_NAMES])


def _distance(fit: Fit, other: Fit) -> float:
    """Standard deviations of ``other`` between the defoci and astigmatisms of both."""
    difference = (shape_vector(fit.shape) - shape_vector(other.shape))[:3]
    return float(np.sqrt(difference @ np.linalg.solve(other.covariance[:3, :3], difference)))


def suspicious_rings(spectrum: PolarSpectrum, bins: Bins, min_frequency: float) -> BoolArray:
    """(r, s): rings whose power deviates from smooth noise much more than those around, before there is a model."""
    rings = np.flatnonzero(spectrum.frequency >= min_frequency)
    used = spectrum.count[rings] > 0
    ring_of_bin = np.nonzero(used)[0]
    basis = bins.noise_basis
    count = np.maximum(spectrum.count[rings].sum(1), 1.0)
    suspicious = np.zeros(len(rings), bool)
    for _ in range(MAX_ROUNDS):
        usual_bins = ~suspicious[ring_of_bin]
        noise = fit_noise(bins.chosen(usual_bins), basis[usual_bins])
        excess = bins.count * (bins.power * np.exp(-basis @ noise) - 1)
        relative = np.abs(np.bincount(ring_of_bin, excess, len(rings))) / count
        usual = median_filter(relative, 2 * (len(rings) // SUSPICIOUS_WINDOW // 2) + 1, mode="nearest")
        suspicious = relative > SUSPICIOUS_RATIO * np.maximum(usual, 1 / np.sqrt(count))
        if not suspicious.any():
            break
    dropped = np.zeros(spectrum.count.shape, bool)
    suspicious = binary_dilation(suspicious, iterations=OUTLIER_RINGS)
    dropped[rings] = suspicious[:, None] & used
    return dropped


def outliers(spectrum: PolarSpectrum, bins: Bins, microscope: Microscope, fit: Fit, min_frequency: float) -> BoolArray:
    """(r, s): which bins belong to a group of rings, or of rings and sectors, that deviates from the model: rings of
    crystalline ice, lattices, lines of the detector.

    The limit of a ring is `OUTLIER_DEVIATIONS` times the robust standard deviation of all rings where that is more than
    chance, so that a model that is a little wrong everywhere loses no rings.
    """
    rings = np.flatnonzero(spectrum.frequency >= min_frequency)
    used = spectrum.count[rings] > 0
    excess = np.zeros(used.shape)
    expected = expected_power(bins, microscope, fit.shape, fit.signal, fit.noise)
    excess[used] = bins.count * (bins.power / expected - 1)
    ring_group = np.arange(len(rings)) // OUTLIER_RINGS
    sector_group = np.arange(used.shape[1]) // OUTLIER_SECTORS
    cell = ring_group[:, None] * (sector_group[-1] + 1) + sector_group
    by_ring = _deviant(excess.sum(1), spectrum.count[rings].sum(1), ring_group)
    by_cell = _deviant(excess.ravel(), spectrum.count[rings].ravel(), cell.ravel()).reshape(used.shape)
    dropped = np.zeros(spectrum.count.shape, bool)
    dropped[rings] = (by_ring[:, None] | by_cell) & used
    return dropped


def _deviant(excess: FloatArray, count: FloatArray, group: IntArray) -> BoolArray:
    """For every element whether its group deviates."""
    group_count = np.bincount(group, count)
    deviation = np.bincount(group, excess) / np.sqrt(np.maximum(group_count, 1e-9))
    filled = group_count > 0
    spread = 1.4826 * float(np.median(np.abs(deviation[filled]))) if filled.any() else 1.0
    limit = OUTLIER_DEVIATIONS * max(1.0, spread)
    # few coefficients: their mean power is skewed, and exceeds the limit more often
    limit_of_group = limit * (1 + 2 / np.sqrt(np.maximum(group_count, 1.0)))
    return np.asarray((np.abs(deviation) > limit_of_group)[group])
