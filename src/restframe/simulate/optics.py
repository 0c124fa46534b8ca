"""What the microscope and the camera make of the specimen's potential, as functions of spatial frequency (1/A)."""

from __future__ import annotations

import numpy as np

# CODATA 2018, SI
_H, _M, _E, _C = 6.62607015e-34, 9.1093837015e-31, 1.602176634e-19, 2.99792458e8


def wavelength(voltage: float) -> float:
    """Electron wavelength in A at ``voltage`` kV: h / sqrt(2 m e U (1 + e U / 2 m c²))."""
    energy = _E * voltage * 1e3
    return 1e10 * _H / np.sqrt(2 * _M * energy * (1 + energy / (2 * _M * _C**2)))


def interaction(voltage: float) -> float:
    """Interaction constant, rad / (V A): 2 π m e λ / h², m relativistic (Kirkland, Advanced Computing in Electron
    Microscopy, eq. 5.6)."""
    mass = _M * (1 + _E * voltage * 1e3 / (_M * _C**2))
    return 2 * np.pi * mass * _E * wavelength(voltage) * 1e-10 / _H**2 * 1e-10


def ctf(kx, ky, voltage: float, defocus: float, astigmatism: float, angle: float, cs: float, amplitude: float):
    """Contrast transfer -sin(χ + asin(amplitude)), χ = π λ Δf k² - π/2 Cs λ³ k⁴; below 0 at the origin: matter is dark.

    Δf = defocus + astigmatism/2 cos 2(θ - angle), A, underfocus positive; angle in degrees; cs in mm
    (Rohou and Grigorieff 2015).
    """
    lam = wavelength(voltage)
    k2 = kx**2 + ky**2
    turn = np.deg2rad(2 * angle)
    # k² cos 2(θ - angle) without a division by k²
    astigmatic = (kx**2 - ky**2) * np.cos(turn) + 2 * kx * ky * np.sin(turn)
    chi = np.pi * lam * (defocus * k2 + astigmatism / 2 * astigmatic) - np.pi / 2 * cs * 1e7 * lam**3 * k2**2
    return -np.sin(chi + np.arcsin(amplitude))


def critical_dose(k, voltage: float):
    """N_e(k) in e/A²: the dose at which the signal's amplitude has fallen to exp(-1/2) (Grant and Grigorieff 2015),
    at 300 kV 0.24499 k^-1.6649 + 2.8141; 0.8 of that at 200 kV, linear between and on."""
    with np.errstate(divide="ignore"):
        return (0.24499 * np.asarray(k) ** -1.6649 + 2.8141) * (0.8 + 0.002 * (voltage - 200))


def damage(k, start: float, end: float, voltage: float):
    """Signal left, exp(-D / 2 N_e(k)), mean over an exposure from ``start`` to ``end`` e/A²."""
    rate = 0.5 / critical_dose(k, voltage)
    # expm1(z)/z is 1 at the origin, where nothing is lost
    z = -rate * (end - start)
    mean = np.where(z == 0, 1.0, np.expm1(z) / np.where(z == 0, 1.0, z))
    return np.exp(-rate * start) * mean


def detector_amplitude(k, pixel_size: float):
    """sqrt(0.92 - 0.45 k / k_Nyquist): root of a counting camera's DQE, put on the signal; noise stays white."""
    return np.sqrt(np.clip(0.92 - 0.45 * 2 * pixel_size * k, 0, None))
