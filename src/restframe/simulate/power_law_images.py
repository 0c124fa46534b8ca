"""Images that hold nothing but amorphous ice and noise, with a known contrast transfer function: for tests of CTF fits.

The expected power of an image is P(k) = N(k) [1 + S(k) M(k)], S = strength exp(-B k²/2). M = sin² of the phase shift for
thin ice in one plane. Ice of a thickness is a sum over slabs; a tilted layer is a sum over strips, each at its own
defocus.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft

from restframe.arrays import FloatArray
from restframe.optics import CtfParameters, ctf, wavelength

SLABS = 24  # of a thick layer
STRIPS_PER_OSCILLATION = 8.0


@dataclass(frozen=True)
class IceImage:
    """How an image of ice is made."""

    side: int  # pixels
    pixel_size: float  # A
    optics: CtfParameters
    strength: float  # S at zero frequency
    bfactor: float  # A², B
    phase_shift: float = 0.0  # rad
    thickness: float = 0.0  # A
    tilt: float = 0.0  # degrees
    tilt_axis: float = 0.0  # degrees from x
    noise_slope: float = 0.3  # the noise falls by this share up to the Nyquist frequency
    seed: int = 1


def simulate_ice(recipe: IceImage) -> FloatArray:
    """An image (side, side) float32 of zero mean."""
    rng = np.random.default_rng(recipe.seed)
    side = recipe.side
    frequency_y = np.fft.fftfreq(side, recipe.pixel_size)[:, None]
    frequency_x = np.fft.rfftfreq(side, recipe.pixel_size)[None, :]
    squared = frequency_x**2 + frequency_y**2
    envelope = np.sqrt(recipe.strength) * np.exp(-recipe.bfactor * squared / 4)
    noise = scipy.fft.rfft2(rng.standard_normal((side, side), np.float32))
    if recipe.tilt:
        signal = scipy.fft.rfft2(_tilted_layer(recipe, envelope, rng))
    else:
        signal = np.zeros_like(noise)
        slabs = SLABS if recipe.thickness else 1
        for slab in range(slabs):
            height = ((slab + 0.5) / slabs - 0.5) * recipe.thickness
            white = scipy.fft.rfft2(rng.standard_normal((side, side), np.float32))
            optics = replace(recipe.optics, defocus=recipe.optics.defocus + height)
            signal += white * (envelope * transfer(frequency_x, frequency_y, optics, recipe.phase_shift)) / np.sqrt(slabs)
    nyquist = 0.5 / recipe.pixel_size
    shape = np.sqrt(1 - recipe.noise_slope * np.minimum(np.sqrt(squared) / nyquist, 1))
    return scipy.fft.irfft2((noise + signal) * shape, (side, side)).astype(np.float32)


def transfer(frequency_x: FloatArray, frequency_y: FloatArray, optics: CtfParameters, phase_shift: float) -> FloatArray:
    """`restframe.optics.ctf` with an additional phase shift in rad."""
    shifted = np.sin(np.arcsin(optics.amplitude_contrast) + phase_shift)
    if np.arcsin(optics.amplitude_contrast) + phase_shift <= np.pi / 2:
        return ctf(frequency_x, frequency_y, replace(optics, amplitude_contrast=float(shifted)))
    # beyond a quarter turn: sin(χ + φ) = sin(χ) cos φ + cos(χ) sin φ from two calls
    sine = ctf(frequency_x, frequency_y, replace(optics, amplitude_contrast=0.0))
    cosine = ctf(frequency_x, frequency_y, replace(optics, amplitude_contrast=1.0))
    angle = np.arcsin(optics.amplitude_contrast) + phase_shift
    return sine * np.cos(angle) + cosine * np.sin(angle)


def _tilted_layer(recipe: IceImage, envelope: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The signal of a layer whose defocus changes linearly across the tilt axis."""
    side = recipe.side
    position = (np.arange(side) - side / 2 + 0.5) * recipe.pixel_size
    axis = np.deg2rad(recipe.tilt_axis)
    across = position[:, None] * np.cos(axis) - position[None, :] * np.sin(axis)
    defocus = recipe.optics.defocus + np.tan(np.deg2rad(recipe.tilt)) * across
    step = 1 / (wavelength(recipe.optics.voltage) * (1 / 3.5) ** 2 * STRIPS_PER_OSCILLATION)
    low, high = defocus.min(), defocus.max()
    nodes = np.linspace(low, high, max(2, int(np.ceil((high - low) / step)) + 1))
    white = scipy.fft.rfft2(rng.standard_normal((side, side), np.float32))
    frequency_y = np.fft.fftfreq(side, recipe.pixel_size)[:, None]
    frequency_x = np.fft.rfftfreq(side, recipe.pixel_size)[None, :]
    total = np.zeros((side, side), np.float32)
    spacing = nodes[1] - nodes[0]
    for node in nodes:
        weight = np.maximum(1 - np.abs(defocus - node) / spacing, 0)
        optics = replace(recipe.optics, defocus=float(node))
        filtered = white * (envelope * transfer(frequency_x, frequency_y, optics, recipe.phase_shift))
        total += (weight * scipy.fft.irfft2(filtered, (side, side))).astype(np.float32)
    return total
