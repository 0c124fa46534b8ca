"""How far and how well the fitted model describes a spectrum, by the measures that other programs report.

- The resolution of the fit by CTFFIND's rule (Rohou & Grigorieff 2015; cisTEM): the average along lines of equal phase,
  ranked between the zeros of the fit, is correlated with the fit in a sliding window.
- The resolution up to which this image's oscillation is significant (ours).
- The score: the correlation of the amplitude above the background with the modulus of the CTF.
- The density of the ice ring by RELION's rule: the sum of the moduli of the rotational average from 0.25 to 0.28 1/A.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from restframe.arrays import FloatArray
from restframe.ctf.bins import Bins, fit_noise, make_bins, spline_basis
from restframe.ctf.model import Microscope, phase, thickness_envelope, transfer
from restframe.ctf.refine import Fit
from restframe.ctf.spectrum import PolarSpectrum

MIN_FREQUENCY = 1 / 30.0  # 1/A
SCORE_BAND = (1 / 30.0, 1 / 5.0)  # 1/A
ICE_RING_BAND = (0.25, 0.28)  # 1/A
BINS_PER_OSCILLATION = 6.0  # of the profile at its highest frequency
MAX_PROFILE_BINS = 4096
WINDOW_FRACTION = 1 / 40  # of the profile: half width of the sliding window, at least

# CTFFIND's rule
FIRST_END = 0.1  # of the range: the fit does not end before
LOW_CORRELATION, MIDDLE_CORRELATION, HIGH_CORRELATION = 0.1, 0.5, 0.66
MIN_BINS_ABOVE = 3


@dataclass(frozen=True, eq=False)
class Profile:
    """One-dimensional averages of the amplitude above the background, all (n,)."""

    frequency: FloatArray  # 1/A
    rotational: FloatArray  # average over circles
    equal_phase: FloatArray  # average along lines of equal phase
    fit: FloatArray  # |CTF|
    correlation: FloatArray  # of the two before, in a sliding window
    noise_correlation: FloatArray  # two standard deviations of it for noise


@dataclass(frozen=True, eq=False)
class Quality:
    """How well the model describes the image."""

    score: float  # correlation, as CTFFIND reports it
    fit_resolution: float  # A, by CTFFIND's rule; infinite: nowhere
    signal_resolution: float  # A, up to which the oscillation exceeds its noise over one oscillation
    ice_ring_density: float  # by RELION's rule
    profile: Profile


def quality_of(spectrum: PolarSpectrum, microscope: Microscope, fit: Fit) -> Quality:
    """The quality of ``fit`` to ``spectrum``, which holds everything, rings of ice too."""
    bins = make_bins(spectrum, MIN_FREQUENCY)
    amplitude = amplitude_above_background(bins, fit)
    profile = profile_of(bins, amplitude, microscope, fit)
    return Quality(
        score=score_of(bins, amplitude, microscope, fit),
        fit_resolution=ctffind_resolution(profile),
        signal_resolution=signal_resolution(bins, microscope, fit),
        ice_ring_density=ice_ring_density(profile),
        profile=profile,
    )


def no_quality(spectrum: PolarSpectrum) -> Quality:
    """That of an image without a fit: the score is zero, no resolution is reached."""
    bins = make_bins(spectrum, MIN_FREQUENCY)
    noise = fit_noise(bins, bins.noise_basis)
    amplitude = np.sqrt(bins.power * np.exp(-bins.noise_basis @ noise)) - 1
    frequency = np.linspace(MIN_FREQUENCY, float(np.sqrt(bins.squared_frequency.max())), 256)
    rotational = _averaged(np.sqrt(bins.squared_frequency), amplitude, bins.count, frequency)
    zero = np.zeros(len(frequency))
    profile = Profile(frequency, rotational, rotational, zero, zero, zero)
    return Quality(0.0, float("inf"), float("inf"), ice_ring_density(profile), profile)


def amplitude_above_background(bins: Bins, fit: Fit) -> FloatArray:
    """sqrt(p / N) - 1 of each bin."""
    basis = spline_basis(bins.position, len(fit.noise))
    return np.asarray(np.sqrt(bins.power * np.exp(-basis @ fit.noise)) - 1)


def score_of(bins: Bins, amplitude: FloatArray, microscope: Microscope, fit: Fit) -> float:
    """Correlation coefficient of the amplitude with the modulus of the CTF in `SCORE_BAND`."""
    frequency = np.sqrt(bins.squared_frequency)
    used = (frequency >= SCORE_BAND[0]) & (frequency <= SCORE_BAND[1])
    modulus = np.sqrt(transfer(microscope, fit.shape, bins.squared_frequency[used], bins.angle[used]))
    weight = bins.count[used] / bins.count[used].sum()
    measured = amplitude[used] - np.sum(weight * amplitude[used])
    modulus = modulus - np.sum(weight * modulus)
    norm = np.sqrt(np.sum(weight * measured**2) * np.sum(weight * modulus**2))
    return float(np.sum(weight * measured * modulus) / max(norm, 1e-30))


def equivalent_frequency(bins: Bins, microscope: Microscope, fit: Fit) -> FloatArray:
    """The frequency at which the CTF without astigmatism has the phase of each bin, where chi grows with the frequency;
    elsewhere the frequency itself.
    """
    middle = replace(fit.shape, astigmatism_x=0.0, astigmatism_y=0.0)
    table = np.linspace(0, 1.3 * float(np.sqrt(bins.squared_frequency.max())), 8192)
    chi = phase(microscope, middle, table**2, 0.0)
    growing = int(np.argmax(np.diff(chi) < 0)) if (np.diff(chi) < 0).any() else len(chi)
    if growing < 16:
        return np.sqrt(bins.squared_frequency)
    along = phase(microscope, fit.shape, bins.squared_frequency, bins.angle)
    frequency = np.sqrt(bins.squared_frequency)
    inside = along < chi[:growing][-1]
    return np.where(inside, np.interp(along, chi[:growing], table[:growing]), frequency)


def profile_of(bins: Bins, amplitude: FloatArray, microscope: Microscope, fit: Fit) -> Profile:
    """The averages, and how they agree with the fit."""
    highest = float(np.sqrt(bins.squared_frequency.max()))
    oscillations = 2 * microscope.wavelength * abs(fit.shape.defocus) * highest**2
    count = int(np.clip(BINS_PER_OSCILLATION * oscillations, 256, MAX_PROFILE_BINS))
    frequency = np.linspace(MIN_FREQUENCY, highest, count)
    own = np.sqrt(bins.squared_frequency)
    rotational = _averaged(own, amplitude, bins.count, frequency)
    equal_phase = _averaged(equivalent_frequency(bins, microscope, fit), amplitude, bins.count, frequency)
    middle = replace(fit.shape, astigmatism_x=0.0, astigmatism_y=0.0)
    chi = phase(microscope, middle, frequency**2, 0.0)
    modulus = np.abs(np.sin(chi))
    ranked = ranked_between_zeros(equal_phase, chi)
    half_width = _half_widths(chi)
    correlation = sliding_correlation(ranked, modulus, half_width)
    return Profile(frequency, rotational, equal_phase, modulus, correlation, 2 / np.sqrt(2 * half_width + 1))


def _averaged(position: FloatArray, values: FloatArray, count: FloatArray, grid: FloatArray) -> FloatArray:
    """Weighted mean of ``values`` in the classes around the points of ``grid``, interpolated where there are none."""
    index = np.rint((position - grid[0]) / (grid[1] - grid[0])).astype(np.int64)
    inside = (index >= 0) & (index < len(grid))
    total = np.bincount(index[inside], (count * values)[inside], len(grid))
    weight = np.bincount(index[inside], count[inside], len(grid))
    filled = np.flatnonzero(weight > 0)
    return np.interp(np.arange(len(grid)), filled, total[filled] / weight[filled])


def ranked_between_zeros(values: FloatArray, chi: FloatArray) -> FloatArray:
    """``values`` replaced by their rank, 0 to 1, among those between two zeros of sin chi."""
    ranked = np.full(len(values), 0.5)
    lobe = np.floor(chi / np.pi).astype(np.int64)
    for number in np.unique(lobe):
        members = np.flatnonzero(lobe == number)
        if len(members) > 1:
            ranked[members[np.argsort(values[members], kind="stable")]] = np.linspace(0, 1, len(members))
    return ranked


def _half_widths(chi: FloatArray) -> FloatArray:
    """Half width of the sliding window around each bin: a part of the profile, at least one oscillation of |sin|."""
    rate = np.maximum(np.abs(np.gradient(chi)), 1e-3)
    least = max(1, int(len(chi) * WINDOW_FRACTION))
    return np.clip(np.ceil(0.5 * np.pi / rate), least, len(chi) // 2).astype(np.int64)


def sliding_correlation(values: FloatArray, model: FloatArray, half_width: FloatArray) -> FloatArray:
    """Correlation coefficient of ``values`` and ``model`` within ``half_width`` bins of each bin."""
    index = np.arange(len(values))
    start = np.maximum(index - half_width, 0)
    end = np.minimum(index + half_width + 1, len(values))
    size = end - start

    def mean(array: FloatArray) -> FloatArray:
        total = np.concatenate([[0.0], np.cumsum(array)])
        return np.asarray((total[end] - total[start]) / size)

    covariance = mean(values * model) - mean(values) * mean(model)
    variance = (mean(values**2) - mean(values) ** 2) * (mean(model**2) - mean(model) ** 2)
    return np.where(variance > 1e-12, covariance / np.sqrt(np.maximum(variance, 1e-12)), 0.0)


def ctffind_resolution(profile: Profile) -> float:
    """The resolution in A where the fit ends by CTFFIND's rule; infinite where it never begins.

    It ends at the first bin, not before a tenth of the range, where the correlation is below 0.1 after more than 3 bins
    above 0.1, or below 0.5 after more than 3 bins above 0.66.
    """
    low_count = high_count = 0
    count = len(profile.frequency)
    end = count - 1
    for index, value in enumerate(profile.correlation):
        ends = (low_count > MIN_BINS_ABOVE and value < LOW_CORRELATION) or (
            high_count > MIN_BINS_ABOVE and value < MIDDLE_CORRELATION
        )
        if index >= FIRST_END * count and ends:
            end = index
            break
        low_count += value > LOW_CORRELATION
        high_count += value > HIGH_CORRELATION
    if low_count <= MIN_BINS_ABOVE:
        return float("inf")
    return float(1 / profile.frequency[end])


def signal_resolution(bins: Bins, microscope: Microscope, fit: Fit) -> float:
    """The resolution in A up to which the standard deviation of S M, relative to N (1 + S / 2), exceeds 1 / sqrt(n), n
    the number of coefficients in one oscillation of the ring; infinite where it never does.
    """
    frequency = np.linspace(MIN_FREQUENCY, float(np.sqrt(bins.squared_frequency.max())), 1024)
    strength = fit.signal(frequency**2)
    envelope = np.abs(thickness_envelope(microscope, fit.shape.squared_thickness, frequency**2))
    oscillation = strength * envelope / np.sqrt(8) / (1 + strength / 2)
    density = bins.count.sum() / (bins.squared_frequency.max() - MIN_FREQUENCY**2)  # coefficients per k²
    per_oscillation = density / (microscope.wavelength * max(abs(fit.shape.defocus), 1.0))
    significant = np.flatnonzero(oscillation > 1 / np.sqrt(per_oscillation))
    return float(1 / frequency[significant[-1]]) if len(significant) else float("inf")


def ice_ring_density(profile: Profile) -> float:
    """Sum of the moduli of the rotational average from 0.25 to 0.28 1/A."""
    inside = (profile.frequency >= ICE_RING_BAND[0]) & (profile.frequency <= ICE_RING_BAND[1])
    return float(np.abs(profile.rotational[inside]).sum())
