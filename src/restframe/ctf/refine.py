"""Refinement of the model by Fisher scoring, and the information that a spectrum holds (Cramer-Rao bound)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from restframe.arrays import FloatArray, IntArray
from restframe.ctf.bins import Bins, fit_noise, log_likelihood
from restframe.ctf.model import CtfShape, Microscope, SignalStrength

SHAPE_NAMES = (
    "defocus",
    "astigmatism_x",
    "astigmatism_y",
    "phase_shift",
    "squared_thickness",
    "slope_x",
    "slope_y",
)
SHAPE_COUNT = len(SHAPE_NAMES)
LOG_STRENGTH, BFACTOR = SHAPE_COUNT, SHAPE_COUNT + 1  # places among all parameters; ln N follows
NOISE_START = SHAPE_COUNT + 2
THICKNESS = SHAPE_NAMES.index("squared_thickness")

MAX_STEPS = 40
GAIN_TO_STOP = 1e-3  # of the log posterior in one step
MAX_DAMPING = 1e6

THICKNESS_PRIOR = 500.0  # A, the mean of an exponential distribution
THICKNESS_SOFTNESS = (
    100.0  # A: below it this distribution is flat, so that it has a derivative by the squared thickness
)
ASTIGMATISM_PRIOR = 700.0  # A, standard deviation of a component
SLOPE_PRIOR = 1.0  # standard deviation of a component
BFACTOR_PRIOR = 110.0  # A², the median of a log-normal distribution
LOG_BFACTOR_PRIOR = 0.5  # standard deviation of its logarithm
MIN_BFACTOR = 1.0  # A²
LOG_STRENGTH_RANGE = (-8.0, 3.0)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model and how likely it is."""

    shape: CtfShape
    signal: SignalStrength
    noise: FloatArray  # coefficients of ln N
    gain: float  # log posterior over that of noise alone
    covariance: FloatArray  # (SHAPE_COUNT, SHAPE_COUNT) in the order of SHAPE_NAMES; 0 where a parameter is held
    log_volume: float = 0.0  # half the logarithm of the determinant of the covariance of what was fitted
    second_gain: float = 0.0  # gain of the best fit at another defocus

    def error(self, name: str) -> float:
        """Standard deviation of the parameter ``name`` of the shape."""
        index = SHAPE_NAMES.index(name)
        return float(np.sqrt(max(self.covariance[index, index], 0.0)))


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The log posterior at some parameters, its gradient and the expected information."""

    value: float
    gradient: FloatArray
    information: FloatArray


class Posterior:
    """The log posterior of the model as a function of all parameters: the shape's, c, B, and those of ln N."""

    def __init__(self, bins: Bins, microscope: Microscope) -> None:
        self.bins = bins
        self.basis = bins.noise_basis
        self.slope = microscope.defocus_slope(bins.squared_frequency)
        self.constant = microscope.constant_phase(bins.squared_frequency) + bins.phase_offset
        self.cosine, self.sine = np.cos(2 * bins.angle), np.sin(2 * bins.angle)
        self.prior_precision = np.zeros(NOISE_START + self.basis.shape[1])  # of normal distributions about zero
        self.prior_precision[1:3] = 1 / ASTIGMATISM_PRIOR**2
        self.prior_precision[SHAPE_NAMES.index("slope_x") : SHAPE_COUNT] = 1 / SLOPE_PRIOR**2

    @cached_property
    def noise(self) -> FloatArray:
        """Coefficients of ln N for noise alone."""
        return fit_noise(self.bins, self.basis)

    @cached_property
    def value_of_noise(self) -> float:
        """The log likelihood of noise alone."""
        return log_likelihood(self.bins, self.basis @ self.noise)

    def value(self, parameters: FloatArray) -> float:
        """The log posterior, up to a constant."""
        contrast = 0.5 * (1 - self._envelope(parameters) * np.cos(self._double_phase(parameters)))
        return self._value(parameters, self._log_power(parameters, contrast, self._strength(parameters)))

    def evaluate(self, parameters: FloatArray, free: IntArray | None = None) -> Evaluation:
        """Value, gradient and Fisher's information, the prior's curvature included.

        ``free``: places of the parameters whose derivatives are needed; those of others are zero. None: all.
        """
        bins = self.bins
        everything = np.arange(len(parameters))
        wanted = everything if free is None else free
        double_phase, envelope = self._double_phase(parameters), self._envelope(parameters)
        wave = np.cos(double_phase)
        contrast = 0.5 * (1 - envelope * wave)
        strength = self._strength(parameters)
        log_power = self._log_power(parameters, contrast, strength)
        ratio = strength / (1 + strength * contrast)  # d ln P / d M
        by_phase = ratio * envelope * np.sin(double_phase)  # d ln P / d chi
        by_defocus = by_phase * self.slope

        def by_squared_thickness() -> FloatArray:
            derivative = _sinc_of_square(self.slope**2 * parameters[THICKNESS])[1] * self.slope**2
            return np.asarray(-0.5 * ratio * wave * bins.visibility * derivative)

        columns: tuple[Callable[[], FloatArray], ...] = (
            lambda: by_defocus,
            lambda: 0.5 * by_defocus * self.cosine,
            lambda: 0.5 * by_defocus * self.sine,
            lambda: by_phase,
            by_squared_thickness,
            lambda: by_defocus * bins.x,
            lambda: by_defocus * bins.y,
            lambda: ratio * contrast,
            lambda: -0.5 * ratio * contrast * bins.squared_frequency,
        )
        outer = [index for index in wanted if index < NOISE_START]
        noise = wanted[wanted >= NOISE_START] - NOISE_START
        basis = self.basis if len(noise) == self.basis.shape[1] else self.basis[:, noise]
        design = np.concatenate([np.stack([columns[index]() for index in outer], axis=1), basis], axis=1)
        misfit = bins.count * (bins.power * np.exp(-log_power) - 1)
        gradient = np.zeros(len(parameters))
        information = np.zeros((len(parameters), len(parameters)))
        gradient[wanted] = design.T @ misfit
        information[np.ix_(wanted, wanted)] = (design * bins.count[:, None]).T @ design
        slope, curvature = _log_prior_derivatives(parameters)
        gradient += slope - self.prior_precision * parameters
        information += np.diag(self.prior_precision + curvature)
        return Evaluation(self._value(parameters, log_power), gradient, information)

    def _value(self, parameters: FloatArray, log_power: FloatArray) -> float:
        prior = log_prior(parameters) - 0.5 * float(np.sum(self.prior_precision * parameters**2))
        return log_likelihood(self.bins, log_power) + prior

    def _double_phase(self, parameters: FloatArray) -> FloatArray:
        """2 chi."""
        defocus = parameters[0] + 0.5 * (parameters[1] * self.cosine + parameters[2] * self.sine)
        if parameters[5] or parameters[6]:
            defocus = defocus + parameters[5] * self.bins.x + parameters[6] * self.bins.y
        return np.asarray(2 * (self.slope * defocus + self.constant + parameters[3]))

    def _envelope(self, parameters: FloatArray) -> FloatArray:
        """The factor of cos 2 chi in M."""
        squared_thickness = float(parameters[THICKNESS])
        if self._last_envelope is None or self._last_envelope[0] != squared_thickness:
            envelope = self.bins.visibility * _sinc_of_square(self.slope**2 * squared_thickness)[0]
            self._last_envelope = squared_thickness, envelope
        return self._last_envelope[1]

    _last_envelope: tuple[float, FloatArray] | None = None  # a squared thickness, which is held in most fits

    def _strength(self, parameters: FloatArray) -> FloatArray:
        return SignalStrength(parameters[LOG_STRENGTH], parameters[BFACTOR])(self.bins.squared_frequency)

    def _log_power(self, parameters: FloatArray, contrast: FloatArray, strength: FloatArray) -> FloatArray:
        return np.asarray(self.basis @ parameters[NOISE_START:] + np.log1p(strength * contrast))


def log_prior(parameters: FloatArray) -> float:
    """Logarithm of the prior of the thickness and of B, up to a constant."""
    thickness = float(np.hypot(np.sqrt(max(parameters[THICKNESS], 0.0)), THICKNESS_SOFTNESS)) - THICKNESS_SOFTNESS
    log_ratio = float(np.log(max(parameters[BFACTOR], MIN_BFACTOR) / BFACTOR_PRIOR))
    return -thickness / THICKNESS_PRIOR - 0.5 * (log_ratio / LOG_BFACTOR_PRIOR) ** 2


def _log_prior_derivatives(parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The gradient of `log_prior`, and a curvature that is never negative."""
    slope, curvature = np.zeros_like(parameters), np.zeros_like(parameters)
    softened = np.hypot(np.sqrt(max(parameters[THICKNESS], 0.0)), THICKNESS_SOFTNESS)
    slope[THICKNESS] = -0.5 / (THICKNESS_PRIOR * softened)
    curvature[THICKNESS] = slope[THICKNESS] ** 2  # of an exponential distribution, as if normal
    bfactor = max(parameters[BFACTOR], MIN_BFACTOR)
    slope[BFACTOR] = -np.log(bfactor / BFACTOR_PRIOR) / (LOG_BFACTOR_PRIOR**2 * bfactor)
    curvature[BFACTOR] = 1 / (LOG_BFACTOR_PRIOR * bfactor) ** 2
    return slope, curvature


def _sinc_of_square(square: FloatArray) -> tuple[FloatArray, FloatArray]:
    """sin z / z and its derivative by z² at z² = ``square``, both finite at zero."""
    if not square.any():
        return np.ones_like(square), np.full_like(square, -1 / 6)
    argument = np.sqrt(square)
    sinc = np.sinc(argument / np.pi)
    small = square < 1e-4
    safe = np.where(small, 1.0, square)
    derivative = np.where(small, -1 / 6 + square / 60, 0.5 * (np.cos(argument) - sinc) / safe)
    return sinc, derivative


@dataclass(frozen=True)
class Freedom:
    """Which parameters of the shape are fitted besides defocus and astigmatism."""

    phase_shift: bool = False
    thickness: bool = True
    slope: bool = False

    @property
    def indices(self) -> IntArray:
        """Places of everything that is fitted among all parameters, without those of ln N."""
        shape = [True, True, True, self.phase_shift, self.thickness, self.slope, self.slope]
        return np.flatnonzero([*shape, True, True])


def refine(bins: Bins, microscope: Microscope, shape: CtfShape, signal: SignalStrength, freedom: Freedom) -> Fit:
    """Fisher scoring from ``shape`` and ``signal`` until the steps no longer matter."""
    return maximum(Posterior(bins, microscope), shape, signal, freedom)


def maximum(posterior: Posterior, shape: CtfShape, signal: SignalStrength, freedom: Freedom) -> Fit:
    """The same for a posterior that is used more than once."""
    start = [getattr(shape, name) for name in SHAPE_NAMES]
    mean_signal = signal(posterior.bins.squared_frequency) * 0.5
    noise_below = posterior.noise - np.linalg.lstsq(posterior.basis, np.log1p(mean_signal), rcond=None)[0]
    parameters = np.concatenate([start, [signal.log_strength, signal.bfactor], noise_below])
    free = np.concatenate([freedom.indices, np.arange(NOISE_START, len(parameters))])
    current = posterior.evaluate(parameters, free)
    damping = 1e-3
    for _ in range(MAX_STEPS):
        trial_parameters = _bounded(parameters, _step(current, free, parameters, damping), free)
        trial = posterior.evaluate(trial_parameters, free)
        if trial.value >= current.value - 1e-9:
            gained = trial.value - current.value
            parameters, current = trial_parameters, trial
            damping = max(damping / 10, 1e-9)
            if gained < GAIN_TO_STOP:
                break
        else:
            damping *= 10
            if damping > MAX_DAMPING:
                break
    covariance, log_volume = shape_covariance(current.information, free)
    found = CtfShape(*(float(value) for value in parameters[:SHAPE_COUNT]))
    strength = SignalStrength(float(parameters[LOG_STRENGTH]), float(parameters[BFACTOR]))
    gain = current.value - posterior.value_of_noise
    return Fit(found, strength, parameters[NOISE_START:], gain, covariance, log_volume)


def _step(current: Evaluation, free: IntArray, parameters: FloatArray, damping: float) -> FloatArray:
    """The damped step of the ``free`` parameters; a thickness of zero that wants to shrink stays."""
    if parameters[THICKNESS] <= 0 and current.gradient[THICKNESS] < 0:
        free = free[free != THICKNESS]
    information = current.information[np.ix_(free, free)]
    scale = 1 / np.sqrt(np.maximum(np.diag(information), 1e-300))
    normalised = information * np.outer(scale, scale)
    normalised[np.diag_indices_from(normalised)] += damping
    step = np.zeros_like(parameters)
    step[free] = scale * np.linalg.solve(normalised, scale * current.gradient[free])
    return step


def _bounded(parameters: FloatArray, step: FloatArray, free: IntArray) -> FloatArray:
    trial = parameters + step
    trial[BFACTOR] = max(trial[BFACTOR], MIN_BFACTOR)
    trial[LOG_STRENGTH] = np.clip(trial[LOG_STRENGTH], *LOG_STRENGTH_RANGE)
    if THICKNESS in free:
        trial[THICKNESS] = max(trial[THICKNESS], 0.0)
    return trial


def shape_covariance(information: FloatArray, free: IntArray) -> tuple[FloatArray, float]:
    """Covariance of the shape's parameters, zero for what is not ``free``, and half the logarithm of the determinant
    of the covariance of everything that is free.
    """
    part = information[np.ix_(free, free)]
    scale = 1 / np.sqrt(np.maximum(np.diag(part), 1e-300))
    normalised = part * np.outer(scale, scale) + 1e-10 * np.eye(len(free))
    inverse = np.linalg.inv(normalised) * np.outer(scale, scale)
    log_volume = float(np.log(scale).sum() - 0.5 * np.linalg.slogdet(normalised)[1])
    covariance = np.zeros((SHAPE_COUNT, SHAPE_COUNT))
    inside = free < SHAPE_COUNT
    covariance[np.ix_(free[inside], free[inside])] = inverse[np.ix_(inside, inside)]
    return covariance, log_volume


def cramer_rao_covariance(
    bins: Bins, microscope: Microscope, shape: CtfShape, signal: SignalStrength, freedom: Freedom
) -> FloatArray:
    """(SHAPE_COUNT, SHAPE_COUNT): the least covariance that an unbiased estimate can have, without priors.

    c, B and ln N are unknown too. Only the counts and places of ``bins`` matter, not their power.
    """
    posterior = Posterior(bins, microscope)
    start = [getattr(shape, name) for name in SHAPE_NAMES]
    parameters = np.concatenate([start, [signal.log_strength, signal.bfactor], np.zeros(posterior.basis.shape[1])])
    posterior.prior_precision = np.zeros(len(parameters))
    information = posterior.evaluate(parameters).information - np.diag(_log_prior_derivatives(parameters)[1])
    free = np.concatenate([freedom.indices, np.arange(NOISE_START, len(parameters))])
    return shape_covariance(information, free)[0]
