"""The expected power spectrum of an image of vitreous ice.

P(k, a) = N(k) [1 + S(k) M(k, a)]: N is the power of the noise, S the signal relative to it, M the squared contrast
transfer function. k is the spatial frequency in 1/A, a its direction in rad from x towards y.

    phase   chi = pi lambda k² (D(a) - lambda² k² Cs / 2) + asin(A) + phase shift
    defocus D(a) = D + (e1 cos 2a + e2 sin 2a) / 2, with (e1, e2) = (D1 - D2) (cos 2 a0, sin 2 a0)
    tilt    D(a) at (x, y) is higher by slope_x x + slope_y y
    thin    M = sin² chi = (1 - cos 2 chi) / 2                           (Rohou & Grigorieff 2015)
    thick   M = (1 - sinc(pi lambda k² t) cos 2 chi) / 2                 (McMullan et al. 2015; Tichelaar et al. 2020)
    signal  S = exp(c - B k²/2)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from restframe.arrays import FloatArray
from restframe.optics import wavelength

ANGSTROM_PER_MM = 1e7


@dataclass(frozen=True)
class Microscope:
    """What is known of the microscope."""

    voltage: float = 300.0  # kV
    spherical_aberration: float = 2.7  # mm
    amplitude_contrast: float = 0.07  # 0 to 1

    @property
    def wavelength(self) -> float:
        """Electron wavelength in A."""
        return wavelength(self.voltage)

    def defocus_slope(self, squared_frequency: FloatArray) -> FloatArray:
        """d chi / d defocus in rad/A: pi lambda k²."""
        return np.asarray(np.pi * self.wavelength * squared_frequency)

    def constant_phase(self, squared_frequency: FloatArray) -> FloatArray:
        """The part of chi in rad that depends neither on the defocus nor on a phase plate."""
        aberration = self.spherical_aberration * ANGSTROM_PER_MM
        aberration_phase = np.pi * self.wavelength**3 * aberration / 2 * squared_frequency**2
        return np.asarray(np.arcsin(self.amplitude_contrast) - aberration_phase)


@dataclass(frozen=True)
class CtfShape:
    """The parameters that are fitted to one image."""

    defocus: float  # A, mean of both principal values, in the middle of the image
    astigmatism_x: float = 0.0  # A, e1 = (D1 - D2) cos 2 a0
    astigmatism_y: float = 0.0  # A, e2 = (D1 - D2) sin 2 a0
    phase_shift: float = 0.0  # rad
    squared_thickness: float = 0.0  # A²
    slope_x: float = 0.0  # A of defocus per A along x
    slope_y: float = 0.0  # A of defocus per A along y

    def along(self, angle: FloatArray) -> FloatArray:
        """The defocus in A along directions ``angle`` in rad, in the middle of the image."""
        return self.defocus + 0.5 * (self.astigmatism_x * np.cos(2 * angle) + self.astigmatism_y * np.sin(2 * angle))

    @property
    def astigmatism(self) -> float:
        """D1 - D2 in A."""
        return float(np.hypot(self.astigmatism_x, self.astigmatism_y))

    def shifted(self, defocus: float) -> CtfShape:
        """The same with a defocus higher by ``defocus`` A."""
        return replace(self, defocus=self.defocus + defocus)


@dataclass(frozen=True)
class SignalStrength:
    """S = exp(log_strength - bfactor k²/2), the signal's power relative to the noise."""

    log_strength: float
    bfactor: float  # A²

    def __call__(self, squared_frequency: FloatArray) -> FloatArray:
        return np.asarray(np.exp(np.minimum(self.log_strength - self.bfactor * squared_frequency / 2, 5.0)))


def phase(
    microscope: Microscope, shape: CtfShape, squared_frequency: FloatArray, angle: FloatArray | float
) -> FloatArray:
    """chi in rad at squared frequencies (1/A²) and directions ``angle`` (rad) that can be broadcast."""
    by_defocus = microscope.defocus_slope(squared_frequency) * shape.along(np.asarray(angle))
    return by_defocus + microscope.constant_phase(squared_frequency) + shape.phase_shift


def thickness_envelope(microscope: Microscope, squared_thickness: float, squared_frequency: FloatArray) -> FloatArray:
    """sinc(pi lambda k² t), sinc x = sin x / x: how much of the oscillation of M ice of thickness t leaves."""
    argument = microscope.defocus_slope(squared_frequency) * np.sqrt(max(squared_thickness, 0.0))
    return np.asarray(np.sinc(argument / np.pi))


def transfer(
    microscope: Microscope, shape: CtfShape, squared_frequency: FloatArray, angle: FloatArray | float
) -> FloatArray:
    """M(k, a) in the middle of the image."""
    envelope = thickness_envelope(microscope, shape.squared_thickness, squared_frequency)
    return 0.5 * (1 - envelope * np.cos(2 * phase(microscope, shape, squared_frequency, angle)))
