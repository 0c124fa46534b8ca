"""The expected power spectrum of an image of vitreous ice.

P(k, a) = N(k) [1 + S(k) M(k, a)]: N is the noise, S the signal over the noise, M the squared contrast transfer function.

    phase   chi = pi lambda k² (D(a) - lambda² k² Cs / 2) + asin(A) + phase shift
    defocus D(a) = D + (e1 cos 2a + e2 sin 2a) / 2, with (e1, e2) = (D1 - D2) (cos 2 a0, sin 2 a0)
    thin    M = sin² chi = (1 - cos 2 chi) / 2                           (Rohou & Grigorieff 2015)
    thick   M = (1 - sinc(pi lambda k² t) cos 2 chi) / 2                 (McMullan et al. 2015; Tichelaar et al. 2020)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import FloatArray
from restframe.optics import wavelength


@dataclass(frozen=True)
class Microscope:
    """What is known of the microscope."""

    voltage: float  # kV
    spherical_aberration: float  # mm
    amplitude_contrast: float  # 0 to 1

    @property
    def wavelength(self) -> float:
        """A"""
        return wavelength(self.voltage)

    def defocus_slope(self, squared_frequency: FloatArray) -> FloatArray:
        """d chi / d defocus in rad/A: pi lambda k²."""
        return np.pi * self.wavelength * squared_frequency

    def constant_phase(self, squared_frequency: FloatArray) -> FloatArray:
        """The part of chi in rad that depends neither on the defocus nor on a phase plate."""
        aberration = self.spherical_aberration * 1e7
        fourth = self.wavelength**3 * aberration / 2 * squared_frequency**2
        return np.arcsin(self.amplitude_contrast) - np.pi * fourth


@dataclass(frozen=True)
class CtfShape:
    """The parameters that are fitted to one image."""

    defocus: float  # A, mean of both principal values
    astigmatism_x: float = 0.0  # A, (D1 - D2) cos 2 a0
    astigmatism_y: float = 0.0  # A, (D1 - D2) sin 2 a0
    phase_shift: float = 0.0  # rad
    thickness: float = 0.0  # A

    def along(self, angle: FloatArray) -> FloatArray:
        """The defocus in A along directions ``angle`` in rad."""
        return self.defocus + 0.5 * (self.astigmatism_x * np.cos(2 * angle) + self.astigmatism_y * np.sin(2 * angle))


def phase(microscope: Microscope, shape: CtfShape, squared_frequency: FloatArray, angle: FloatArray) -> FloatArray:
    """chi in rad at ``squared_frequency`` (r, s) and ``angle`` (s,)."""
    by_defocus = microscope.defocus_slope(squared_frequency) * shape.along(angle)
    return by_defocus + microscope.constant_phase(squared_frequency) + shape.phase_shift
