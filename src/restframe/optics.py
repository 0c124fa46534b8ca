"""Laws of electron optics and of radiation damage, each written once, for simulation, measurement and restoration.

Spatial frequencies are in 1/A, voltages in kV, doses (electrons per area of the specimen) in e/A².
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from restframe.arrays import Array, FloatArray

# CODATA 2018, SI units
PLANCK_CONSTANT = 6.62607015e-34
ELECTRON_MASS = 9.1093837015e-31
ELEMENTARY_CHARGE = 1.602176634e-19
SPEED_OF_LIGHT = 2.99792458e8

VOLTAGE_RANGE_KV = (80.0, 300.0)
"""Voltages for which `critical_dose` is defined."""


def wavelength(voltage: float) -> float:
    """Electron wavelength in A at ``voltage`` kV: h / sqrt(2 m e U (1 + e U / 2 m c²)).

    Example: ``wavelength(300)`` is 0.01969.
    """
    energy = ELEMENTARY_CHARGE * voltage * 1e3
    relativistic_factor = 1 + energy / (2 * ELECTRON_MASS * SPEED_OF_LIGHT**2)
    return float(1e10 * PLANCK_CONSTANT / np.sqrt(2 * ELECTRON_MASS * energy * relativistic_factor))


def interaction_parameter(voltage: float) -> float:
    """Phase shift of the electron wave for each V A of projected potential, rad / (V A): 2 π m e λ / h².

    m is the relativistic mass (Kirkland, Advanced Computing in Electron Microscopy, eq. 5.6).
    """
    mass = ELECTRON_MASS * (1 + ELEMENTARY_CHARGE * voltage * 1e3 / (ELECTRON_MASS * SPEED_OF_LIGHT**2))
    return 2 * np.pi * mass * ELEMENTARY_CHARGE * wavelength(voltage) * 1e-10 / PLANCK_CONSTANT**2 * 1e-10


@dataclass(frozen=True)
class CtfParameters:
    """What determines the contrast transfer function of a microscope."""

    voltage: float  # kV
    defocus: float  # A, underfocus positive, mean of the two principal values
    astigmatism: float = 0.0  # A, difference of the two principal values
    astigmatism_angle: float = 0.0  # degrees from the x axis towards the y axis
    spherical_aberration: float = 2.7  # mm
    amplitude_contrast: float = 0.07  # from 0 to 1


def ctf(frequency_x: Array, frequency_y: Array, parameters: CtfParameters) -> Array:
    """Contrast transfer function -sin(χ + asin(amplitude contrast)), χ = π λ Δf k² - π/2 Cs λ³ k⁴.

    Δf = defocus + astigmatism/2 cos 2(θ - angle), where θ is the direction of k (Rohou and Grigorieff 2015). At the
    origin the function is negative: matter is dark. The frequencies (1/A) are numbers or NumPy or CuPy arrays that can
    be broadcast; the result has their common shape.
    """
    electron_wavelength = wavelength(parameters.voltage)
    squared_frequency = frequency_x**2 + frequency_y**2
    double_angle = np.deg2rad(2 * parameters.astigmatism_angle)
    # k² cos 2(θ - angle) without a division by k²
    astigmatic = (frequency_x**2 - frequency_y**2) * np.cos(double_angle)
    astigmatic = astigmatic + 2 * frequency_x * frequency_y * np.sin(double_angle)
    defocus_phase = (
        np.pi * electron_wavelength * (parameters.defocus * squared_frequency + parameters.astigmatism / 2 * astigmatic)
    )
    aberration = parameters.spherical_aberration * 1e7  # A
    aberration_phase = np.pi / 2 * aberration * electron_wavelength**3 * squared_frequency**2
    return -np.sin(defocus_phase - aberration_phase + np.arcsin(parameters.amplitude_contrast))


def dose_tolerance(voltage: float) -> float:
    """The critical dose at ``voltage`` kV as a fraction of that at 300 kV.

    Linear between three voltages: 1 at 300 kV and 0.8 at 200 kV (Grant and Grigorieff 2015), 1/1.57 = 0.637 at 100 kV
    (Peet, Henderson and Russo 2019: reflections of bacteriorhodopsin and paraffin fade 1.57 times as fast at 100 keV
    as at 300 keV). The line from 200 to 100 kV is continued to 80 kV.

    MotionCor2 1.6.1 has the same values from 200 to 300 kV, but 0.45 at 120 kV and below. That is less than was
    measured at 100 kV. It is also less than follows from the cross-section for inelastic scattering, which is
    proportional to 1/β²: 0.57 at 120 kV, 0.50 at 100 kV. Hence the measured value is used.

    Raises ValueError outside `VOLTAGE_RANGE_KV`.
    """
    lowest, highest = VOLTAGE_RANGE_KV
    if not lowest <= voltage <= highest:
        raise ValueError(f"the critical dose is known from {lowest:g} to {highest:g} kV, not at {voltage:g} kV")
    at_100 = 1 / 1.57
    slope = (0.8 - at_100) / 100
    return float(np.interp(voltage, [lowest, 100, 200, highest], [at_100 - slope * (100 - lowest), at_100, 0.8, 1.0]))


def critical_dose(frequency: ArrayLike, voltage: float) -> FloatArray:
    """The dose N_e(k), in e/A², after which the amplitude of the signal has fallen to exp(-1/2).

    At 300 kV 0.24499 k^-1.6649 + 2.8141 (Grant and Grigorieff, eLife 2015, 4:e06980), at other voltages less by
    `dose_tolerance`. Infinite at k = 0. Raises ValueError outside `VOLTAGE_RANGE_KV`.

    Example: ``critical_dose(0.2, 300)`` is 6.39 (a resolution of 5 A).
    """
    with np.errstate(divide="ignore"):
        at_300 = 0.24499 * np.asarray(frequency, float) ** -1.6649 + 2.8141
    return np.asarray(dose_tolerance(voltage) * at_300)


def remaining_amplitude(frequency: ArrayLike, dose: ArrayLike, voltage: float) -> FloatArray:
    """The fraction exp(-D / 2 N_e(k)) of the signal's amplitude that remains after ``dose`` D.

    ``frequency``: (k,) 1/A; ``dose``: (t,) e/A²; the result is (k, t). Raises ValueError outside `VOLTAGE_RANGE_KV`.
    """
    return np.asarray(np.exp(-0.5 * np.asarray(dose)[None, :] / critical_dose(frequency, voltage)[:, None]))


def mean_remaining_amplitude(frequency: ArrayLike, start: float, end: float, voltage: float) -> FloatArray:
    """The mean of exp(-D / 2 N_e(k)) over an exposure from dose ``start`` to dose ``end``, shaped like ``frequency``.

    Raises ValueError outside `VOLTAGE_RANGE_KV`.
    """
    rate = 0.5 / critical_dose(frequency, voltage)
    exponent = -rate * (end - start)
    # (exp(z) - 1) / z tends to 1 at the origin, where nothing is lost
    mean = np.where(exponent == 0, 1.0, np.expm1(exponent) / np.where(exponent == 0, 1.0, exponent))
    return np.asarray(np.exp(-rate * start) * mean)
