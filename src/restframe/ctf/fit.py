"""Maximum likelihood fit of the model to a polar spectrum.

The coefficients of a spectrum are independent and exponentially distributed about the expected power (Whittle 1953), so
that the log likelihood is -sum_b n_b [ln P_b + p_b / P_b] for bins of n_b coefficients with mean power p_b.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from restframe.arrays import FloatArray
from restframe.ctf.model import CtfShape, Microscope, phase
from restframe.ctf.spectrum import PolarSpectrum

NOISE_KNOTS = 9
MAX_STEPS = 40
CANDIDATES = 6


@dataclass(frozen=True)
class SearchRange:
    """Where the fit looks."""

    min_defocus: float = 2000.0  # A
    max_defocus: float = 50000.0  # A
    max_astigmatism: float = 2000.0  # A, D1 - D2
    phase_shift: tuple[float, float] | None = None  # rad, least and most; None: there is no phase plate
    min_frequency: float = 1 / 30.0  # 1/A
    thickness: bool = False  # whether the thickness of the ice is fitted too


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model and how likely it is."""

    shape: CtfShape
    log_signal: FloatArray  # (2,) c and B of S = exp(c - B k²/2)
    noise: FloatArray  # (NOISE_KNOTS,) coefficients of ln N
    gain: float  # log likelihood over that of noise alone
    covariance: FloatArray  # (5, 5) of defocus, astigmatism_x, astigmatism_y, phase shift, thickness; 0 where held
    second_gain: float = 0.0  # the same of the next best defocus


@dataclass(frozen=True, eq=False)
class _Bins:
    """The bins of a spectrum that are used, flattened."""

    power: FloatArray  # (n,)
    count: FloatArray
    squared_frequency: FloatArray
    angle: FloatArray
    basis: FloatArray  # (n, NOISE_KNOTS) of ln N
    position: FloatArray  # of the ring, from 0 to 1
    phase_offset: FloatArray  # rad, added to the phase


def spline_basis(position: FloatArray, knots: int) -> FloatArray:
    """Cubic B-splines on [0, 1]: (n, knots)."""
    from scipy.interpolate import BSpline

    inner = np.linspace(0, 1, knots - 2)
    ends = np.concatenate([np.zeros(3), inner, np.ones(3)])
    return np.asarray(BSpline.design_matrix(np.clip(position, 0, 1), ends, 3).toarray())


def make_bins(spectrum: PolarSpectrum, min_frequency: float) -> _Bins:
    frequency = spectrum.frequency
    rings = np.flatnonzero(frequency >= min_frequency)
    power, count = spectrum.power[rings], spectrum.count[rings]
    used = count > 0
    ring, sector = np.nonzero(used)
    position = (frequency[rings] - min_frequency) / (frequency[-1] - min_frequency)
    basis = spline_basis(position, NOISE_KNOTS)
    return _Bins(
        power[used],
        count[used],
        spectrum.squared_frequency[rings][used],
        spectrum.angle[sector],
        basis[ring],
        position[ring],
        np.zeros(1),
    )


FOLD_RADIAL, FOLD_PHASE = 48, 12
FOLD_SECTORS = 36


def folded(bins: _Bins, microscope: Microscope, shape: CtfShape) -> _Bins:
    """The same in fewer bins: by frequency, direction and the phase of the oscillation at ``shape``, modulo pi."""
    chi = phase_at(bins, microscope, shape)
    by_phase = np.floor((chi / np.pi) % 1 * FOLD_PHASE).astype(np.int64) % FOLD_PHASE
    radial = np.floor(bins.position * (FOLD_RADIAL - 1e-9)).astype(np.int64)
    sector = np.floor(bins.angle * (FOLD_SECTORS / np.pi)).astype(np.int64)
    index = (radial * FOLD_SECTORS + sector) * FOLD_PHASE + by_phase
    size = FOLD_RADIAL * FOLD_SECTORS * FOLD_PHASE
    count = np.bincount(index, bins.count, size)
    used = count > 0

    def mean(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(index, bins.count * values, size)[used] / count[used])

    position = mean(bins.position)
    squared = mean(bins.squared_frequency)
    # the phase at ``shape`` is kept: a constant makes up for what the mean frequency changes
    angle = mean(bins.angle)
    turn = mean(np.exp(2j * chi).real) + 1j * mean(np.exp(2j * chi).imag)
    new = _Bins(mean(bins.power), count[used], squared, angle, spline_basis(position, NOISE_KNOTS), position, np.zeros(1))
    return replace(new, phase_offset=0.5 * np.angle(turn * np.exp(-2j * phase_at(new, microscope, shape))))


def phase_at(bins: _Bins, microscope: Microscope, shape: CtfShape) -> FloatArray:
    return phase(microscope, shape, bins.squared_frequency, bins.angle) + bins.phase_offset


def fit_noise(bins: _Bins) -> FloatArray:
    """Coefficients of ln N for noise alone, by Fisher scoring."""
    coefficients = np.linalg.lstsq(
        bins.basis * np.sqrt(bins.count)[:, None],
        np.log(np.maximum(bins.power, 1e-30)) * np.sqrt(bins.count),
        rcond=None,
    )[0]
    information = (bins.basis * bins.count[:, None]).T @ bins.basis
    for _ in range(8):
        ratio = bins.power * np.exp(-bins.basis @ coefficients)
        step = np.linalg.solve(information, bins.basis.T @ (bins.count * (ratio - 1)))
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-5:
            break
    return coefficients


def log_likelihood(bins: _Bins, log_power: FloatArray) -> float:
    return -float(np.sum(bins.count * (log_power + bins.power * np.exp(-log_power))))


SEARCH_SECTORS = 18  # of half a turn; spectra are averaged over them for the search
SEARCH_BFACTORS = (40.0, 120.0, 240.0)  # A²
SEARCH_PHASE_STEP = 0.5  # rad of 2 chi at the highest frequency between defocus values
SEARCH_ASTIGMATISM_STEP = 1.0  # rad of 2 chi at the highest frequency
MIN_SEPARATION = 6.0  # rad of 2 chi at the highest frequency between candidates


@dataclass(frozen=True)
class Candidate:
    """A place where the fit begins."""

    shape: CtfShape
    bfactor: float  # A²
    log_strength: float
    height: float  # matched filter, standard deviations


def search(spectrum: PolarSpectrum, bins: _Bins, noise: FloatArray, microscope: Microscope, where: SearchRange):
    """The best places by a matched filter for cos 2 chi on a grid of defocus and astigmatism, best first."""
    frequency = spectrum.frequency
    rings = np.flatnonzero(frequency >= where.min_frequency)
    counts = np.zeros((len(rings), spectrum.power.shape[1]))
    excess = np.zeros_like(counts)
    used = spectrum.count[rings] > 0
    counts[used] = bins.count
    excess[used] = bins.count * (bins.power * np.exp(-bins.basis @ noise) - 1)
    merged = spectrum.power.shape[1] // SEARCH_SECTORS
    excess = excess.reshape(len(rings), SEARCH_SECTORS, merged).sum(2)
    ring_count = counts.sum(1)
    angle = spectrum.angle.reshape(SEARCH_SECTORS, merged).mean(1)
    squared = frequency[rings] ** 2
    slope = 2 * microscope.defocus_slope(squared)
    best: list[Candidate] = []
    for bfactor in SEARCH_BFACTORS:
        weight = np.exp(-bfactor * squared / 2)
        # the highest frequency that matters to this weight
        share = np.cumsum(ring_count * weight**2)
        top = slope[np.searchsorted(share, 0.98 * share[-1])]
        step = SEARCH_PHASE_STEP / top
        reach = int(np.ceil(where.max_astigmatism / 2 / step)) + 1
        grid = where.min_defocus + step * np.arange(
            -reach, int((where.max_defocus - where.min_defocus) / step) + reach + 2
        )
        wave = np.exp(-1j * (slope[:, None] * grid + 2 * microscope.constant_phase(squared)[:, None])).astype(np.complex64)
        response = (excess * weight[:, None]).T.astype(np.complex64) @ wave  # (sectors, grid)
        scale = np.sqrt(np.sum(ring_count * weight**2) / 2)
        inner = len(grid) - 2 * reach
        for magnitude, double_angle in astigmatism_grid(where.max_astigmatism, 2 * SEARCH_ASTIGMATISM_STEP / top):
            shift = np.rint(0.5 * magnitude * np.cos(2 * angle - double_angle) / step).astype(int) + reach
            total = sum(response[s, shift[s] : shift[s] + inner] for s in range(SEARCH_SECTORS))
            height, phase_shift = _best_phase(total / scale, where.phase_shift)
            for index in _peaks(height):
                shape = CtfShape(
                    float(grid[index + reach]),
                    float(magnitude * np.cos(double_angle)),
                    float(magnitude * np.sin(double_angle)),
                    float(phase_shift[index]),
                )
                amplitude = height[index] * scale / np.sum(ring_count * weight**2 / 4)
                best.append(Candidate(shape, bfactor, float(np.log(max(amplitude, 1e-6))), float(height[index])))
    best.sort(key=lambda one: -search_rank(one))
    apart = MIN_SEPARATION / slope[-1]
    chosen: list[Candidate] = []
    for one in best:
        if all(abs(one.shape.defocus - other.shape.defocus) > apart for other in chosen):
            chosen.append(one)
        if len(chosen) == CANDIDATES:
            break
    return chosen


def search_rank(one: Candidate) -> float:
    """Log likelihood of the matched filter and the prior."""
    shape = one.shape
    return 0.5 * max(one.height, 0) ** 2 - 0.5 * (shape.astigmatism_x**2 + shape.astigmatism_y**2) / ASTIGMATISM_PRIOR**2


def _peaks(height: FloatArray) -> list[int]:
    """The few highest local maxima."""
    inner = np.flatnonzero((height[1:-1] >= height[:-2]) & (height[1:-1] >= height[2:])) + 1
    if not len(inner):
        return [int(height.argmax())]
    return [int(i) for i in inner[np.argsort(-height[inner])[:CANDIDATES]]]


def _best_phase(total, allowed):
    """-Re(total exp(-2 i phase)), the most that allowed phase shifts give, and that phase shift."""
    if allowed is None:
        return -total.real, np.zeros(len(total))
    best = (np.angle(total) - np.pi) / 2 % np.pi  # -total e^{-2 i phase} is real and positive
    low, high = allowed
    # the phase is known up to pi; the nearest allowed one
    middle = 0.5 * (low + high)
    best = best + np.pi * np.rint((middle - best) / np.pi)
    best = np.clip(best, low, high)
    return -(total * np.exp(-2j * best)).real, best


def astigmatism_grid(most: float, step: float) -> list[tuple[float, float]]:
    """Magnitudes D1 - D2 and double angles 2 a0, about ``step`` A apart."""
    out = [(0.0, 0.0)]
    for k in range(1, int(np.ceil(most / step)) + 1):
        magnitude = min(k * step, most)
        n = max(6, int(np.ceil(2 * np.pi * magnitude / step)))
        out += [(magnitude, 2 * np.pi * i / n) for i in range(n)]
    return out


MAX_GAIN_LOST = 30.0  # log likelihood of the matched filter: candidates with less are not refined
PARAMETERS = 5  # defocus, astigmatism_x, astigmatism_y, phase shift, thickness
ASTIGMATISM_PRIOR = 700.0  # A, standard deviation of a component
SIGNAL_PRIOR = (120.0, 50.0)  # A², of B: mean and standard deviation


def refine(bins: _Bins, noise: FloatArray, microscope: Microscope, start: Candidate, where: SearchRange) -> Fit:
    """Fisher scoring from ``start`` until the steps no longer matter."""
    free = [True, True, True, where.phase_shift is not None, where.thickness]
    shape = np.array(
        [start.shape.defocus, start.shape.astigmatism_x, start.shape.astigmatism_y, start.shape.phase_shift, 300.0 * where.thickness]
    )
    parameters = np.concatenate([shape, [start.log_strength, start.bfactor], noise])
    bins = folded(bins, microscope, start.shape)
    held = np.concatenate([np.flatnonzero(~np.array(free)), []]).astype(int)
    slope = microscope.defocus_slope(bins.squared_frequency)
    constant = microscope.constant_phase(bins.squared_frequency) + bins.phase_offset
    cosine, sine = np.cos(2 * bins.angle), np.sin(2 * bins.angle)

    def evaluate(p, with_slopes):
        along = p[0] + 0.5 * (p[1] * cosine + p[2] * sine)
        double = 2 * (slope * along + constant + p[3])
        signal = np.exp(np.minimum(p[5] - p[6] * bins.squared_frequency / 2, 5))
        envelope = np.sinc(slope * p[4] / np.pi) if free[4] else 1.0
        wave = np.cos(double)
        transfer = 0.5 * (1 - envelope * wave)
        log_power = bins.basis @ p[7:] + np.log1p(signal * transfer)
        value = log_likelihood(bins, log_power) - 0.5 * ((p[6] - SIGNAL_PRIOR[0]) / SIGNAL_PRIOR[1]) ** 2
        value -= 0.5 * (p[1] ** 2 + p[2] ** 2) / ASTIGMATISM_PRIOR**2
        if not with_slopes:
            return value, None, None
        ratio = signal / (1 + signal * transfer)
        by_phase = ratio * envelope * np.sin(double)
        columns = [by_phase * slope, by_phase * slope * 0.5 * cosine, by_phase * slope * 0.5 * sine, by_phase]
        if free[4]:
            z = np.maximum(slope * p[4], 1e-6)
            by_thickness = -0.5 * wave * (np.cos(z) - np.sin(z) / z) / z * slope * ratio
        else:
            by_thickness = np.zeros_like(slope)
        columns += [by_thickness, ratio * transfer, -ratio * transfer * bins.squared_frequency / 2]
        design = np.concatenate([np.stack(columns, 1), bins.basis], axis=1)
        misfit = bins.count * (bins.power * np.exp(-log_power) - 1)
        gradient = design.T @ misfit
        information = (design * bins.count[:, None]).T @ design
        gradient[6] -= (p[6] - SIGNAL_PRIOR[0]) / SIGNAL_PRIOR[1] ** 2
        information[6, 6] += 1 / SIGNAL_PRIOR[1] ** 2
        gradient[1:3] -= p[1:3] / ASTIGMATISM_PRIOR**2
        information[[1, 2], [1, 2]] += 1 / ASTIGMATISM_PRIOR**2
        gradient[held] = 0
        information[held] = information[:, held] = 0
        information[held, held] = 1
        return value, gradient, information

    value, gradient, information = evaluate(parameters, True)
    damping = 1e-3
    for _ in range(MAX_STEPS):
        diagonal = np.diag(information)
        step = np.linalg.solve(information + np.diag(damping * diagonal + 1e-12), gradient)
        trial = parameters + step
        trial[6] = max(trial[6], 0.0)
        trial[5] = np.clip(trial[5], -8, 3)
        new = evaluate(trial, False)[0]
        if new >= value - 1e-9:
            gained = new - value
            parameters = trial
            value, gradient, information = evaluate(parameters, True)
            damping = max(damping / 10, 1e-9)
            if gained < 1e-3:
                break
        else:
            damping *= 10
            if damping > 1e6:
                break
    covariance = np.linalg.inv(information)[:PARAMETERS, :PARAMETERS]
    covariance[held] = covariance[:, held] = 0
    null = log_likelihood(bins, bins.basis @ fit_noise(bins))
    found = CtfShape(*map(float, parameters[:5]))
    return Fit(found, parameters[5:7], parameters[7:], value - null, covariance)


def fit_spectrum(spectrum: PolarSpectrum, microscope: Microscope, where: SearchRange) -> Fit:
    """The most likely model."""
    bins = make_bins(spectrum, where.min_frequency)
    noise = fit_noise(bins)
    candidates = search(spectrum, bins, noise, microscope, where)
    likely = [one for one in candidates if search_rank(candidates[0]) - search_rank(one) < MAX_GAIN_LOST]
    fits = [refine(bins, noise, microscope, one, where) for one in likely]
    best = max(fits, key=lambda one: one.gain)
    fits.append(refine(bins, noise, microscope, Candidate(best.shape, float(best.log_signal[1]), float(best.log_signal[0]), 0.0), where))
    fits.sort(key=lambda one: -one.gain)
    apart = 5 * np.sqrt(fits[0].covariance[0, 0])
    others = [one.gain for one in fits[1:] if abs(one.shape.defocus - fits[0].shape.defocus) > apart]
    return replace(fits[0], second_gain=max(others, default=0.0))
