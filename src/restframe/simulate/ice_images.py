"""Images of amorphous ice and noise with a known contrast transfer function: for tests of its estimation.

The expected power of an image is P(k) = N(k) [1 + S(k) M(k)], S = strength exp(-B k²/2). M = sin² chi for thin ice in
one plane; ice of a thickness t oscillates less by sinc(pi lambda k² t), which is the mean of sin² chi over its depth.
In a tilted layer each place has its own defocus. The image is cut out of a larger one, so that its edges do not fit
together, as in a real micrograph.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft

from restframe.arrays import ComplexArray, FloatArray
from restframe.optics import CtfParameters, ctf, wavelength

ICE_RING_FREQUENCY = 1 / 3.66  # 1/A, crystalline ice
ICE_RING_WIDTH = 0.003  # 1/A, standard deviation
HIGHEST_TILTED = 1 / 3.2  # 1/A: a tilted layer has no signal beyond
TILT_ACCURACY = 0.01  # of the oscillation's amplitude, where a tilted layer is composed of few images


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
    noise_slope: float = 0.3  # the power of the noise is lower by this fraction at the Nyquist frequency
    ice_ring: float = 0.0  # power of a ring of crystalline ice relative to the noise
    margin: int = 64  # pixels that are cut off at each edge; 0: opposite edges fit together
    seed: int = 1


def simulate_ice(recipe: IceImage) -> FloatArray:
    """An image (side, side) float32 of zero mean.

    The defocus of a tilted layer is higher by tan(tilt) (y cos axis - x sin axis), x and y from the image's centre.
    """
    generator = np.random.default_rng(recipe.seed)
    side = scipy.fft.next_fast_len(recipe.side + 2 * recipe.margin, real=True)
    frequency_x, frequency_y = frequencies(side, recipe.pixel_size)
    squared = frequency_x**2 + frequency_y**2
    signal = np.float32(recipe.strength) * np.exp(-0.5 * recipe.bfactor * squared)
    relative = np.ones_like(squared)
    if not recipe.tilt:
        relative += signal * contrast(recipe, frequency_x, frequency_y)
    if recipe.ice_ring:
        distance = (np.sqrt(squared) - ICE_RING_FREQUENCY) / ICE_RING_WIDTH
        relative += recipe.ice_ring * np.exp(-0.5 * distance**2)
    spectrum = white_noise(generator, side) * np.sqrt(relative)
    if recipe.tilt:
        spectrum += _tilted_layer(recipe, side, generator)
    nyquist = 0.5 / recipe.pixel_size
    spectrum *= np.sqrt(1 - recipe.noise_slope * np.minimum(np.sqrt(squared) / nyquist, 1)).astype(np.float32)
    image = scipy.fft.irfft2(spectrum, (side, side), overwrite_x=True)
    start = (side - recipe.side) // 2
    return np.ascontiguousarray(image[start : start + recipe.side, start : start + recipe.side], np.float32)


def frequencies(side: int, pixel_size: float) -> tuple[FloatArray, FloatArray]:
    """x (1, side // 2 + 1) and y (side, 1) components of the frequency in 1/A, float32."""
    frequency_y = np.fft.fftfreq(side, pixel_size).astype(np.float32)[:, None]
    frequency_x = np.fft.rfftfreq(side, pixel_size).astype(np.float32)[None, :]
    return frequency_x, frequency_y


def white_noise(generator: np.random.Generator, side: int) -> ComplexArray:
    """The transform of white noise of variance one: (side, side // 2 + 1) complex64."""
    return np.asarray(scipy.fft.rfft2(generator.standard_normal((side, side), np.float32), overwrite_x=True))


def contrast(recipe: IceImage, frequency_x: FloatArray, frequency_y: FloatArray) -> FloatArray:
    """M without tilt."""
    squared_transfer = transfer(frequency_x, frequency_y, recipe.optics, recipe.phase_shift) ** 2
    if not recipe.thickness:
        return squared_transfer
    squared = frequency_x**2 + frequency_y**2
    # np.sinc(x) is sin(pi x) / (pi x)
    envelope = np.sinc(np.float32(wavelength(recipe.optics.voltage) * recipe.thickness) * squared)
    return 0.5 * (1 - envelope * (1 - 2 * squared_transfer))


def transfer(frequency_x: FloatArray, frequency_y: FloatArray, optics: CtfParameters, phase_shift: float) -> FloatArray:
    """`restframe.optics.ctf` with an additional phase shift in rad."""
    total_shift = float(np.arcsin(optics.amplitude_contrast) + phase_shift)
    if -np.pi / 2 <= total_shift <= np.pi / 2:
        shifted = replace(optics, amplitude_contrast=float(np.sin(total_shift)))
        return np.asarray(ctf(frequency_x, frequency_y, shifted))
    # sin(χ + φ) = sin χ cos φ + cos χ sin φ
    sine = ctf(frequency_x, frequency_y, replace(optics, amplitude_contrast=0.0))
    cosine = ctf(frequency_x, frequency_y, replace(optics, amplitude_contrast=1.0))
    return np.asarray(sine * np.cos(total_shift) + cosine * np.sin(total_shift))


def _tilted_layer(recipe: IceImage, side: int, generator: np.random.Generator) -> ComplexArray:
    """Transform (side, side // 2 + 1) of the signal of a layer whose defocus changes linearly across the tilt axis.

    With d the defocus above the mean, sin(chi + s d) = sin chi cos(s d) + cos chi sin(s d), s = pi lambda k². Both
    functions of (s, d) are sums of few products f(s) g(d) (singular value decomposition): each is one image. They are
    made on a coarser grid, which holds all frequencies up to `HIGHEST_TILTED`.
    """
    coarse = min(side, 2 * int(np.ceil(HIGHEST_TILTED * side * recipe.pixel_size)))
    coarse = min(side, scipy.fft.next_fast_len(coarse + coarse % 2, real=True))
    coarse -= coarse % 2
    pixel_size = recipe.pixel_size * side / coarse
    frequency_x, frequency_y = frequencies(coarse, pixel_size)
    squared = frequency_x**2 + frequency_y**2
    strength = np.sqrt(recipe.strength) * np.exp(-0.25 * recipe.bfactor * squared)
    strength[np.sqrt(squared) > HIGHEST_TILTED] = 0
    white = white_noise(generator, coarse)
    sine = white * (strength * transfer(frequency_x, frequency_y, recipe.optics, recipe.phase_shift))
    quarter = recipe.phase_shift + np.pi / 2
    cosine = white * (strength * transfer(frequency_x, frequency_y, recipe.optics, quarter))

    position = (np.arange(coarse, dtype=np.float32) - (coarse - 1) / 2) * np.float32(pixel_size)
    axis = np.deg2rad(recipe.tilt_axis)
    across = position[:, None] * np.float32(np.cos(axis)) - position[None, :] * np.float32(np.sin(axis))
    relative = np.float32(np.tan(np.deg2rad(recipe.tilt))) * across
    slope = np.float32(np.pi * wavelength(recipe.optics.voltage)) * squared
    slopes = np.linspace(0, np.pi * wavelength(recipe.optics.voltage) * HIGHEST_TILTED**2, 600)
    defocus = np.linspace(float(relative.min()), float(relative.max()), 600)
    total = np.zeros((coarse, coarse), np.float32)
    for function, spectrum in ((np.cos, sine), (np.sin, cosine)):
        left, values, right = np.linalg.svd(function(np.outer(slopes, defocus)), full_matrices=False)
        for term in range(int((values > TILT_ACCURACY * values[0]).sum())):
            along_slope = np.interp(slope.ravel(), slopes, values[term] * left[:, term]).reshape(slope.shape)
            part = scipy.fft.irfft2(spectrum * along_slope.astype(np.float32), (coarse, coarse))
            total += part * np.interp(relative.ravel(), defocus, right[term]).reshape(relative.shape).astype(np.float32)
    result = np.zeros((side, side // 2 + 1), np.complex64)
    half = coarse // 2
    fine = scipy.fft.rfft2(total) * np.float32(side / coarse)
    result[:half, :half] = fine[:half, :half]
    result[-half:, :half] = fine[-half:, :half]
    return result
