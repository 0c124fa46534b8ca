"""Where the specimen is: how much each place of the frame says about motion.

Particles are dense, the ice between them is not. Let an image have power s(x) S(k), with s one on average, in noise of
power N. The log likelihood of the motion (`likelihood.py`) counts the square of the filtered sum of the frames at a
place with the weight s / (1 + s r), r = S A² / N, A² = sum_t a_t²: proportional to s where the signal is weak, the same
everywhere where it is strong. s is estimated from the low frequencies: the squares of the frames' sum, filtered so that
signal is told from noise best, are averaged over half a particle. What noise alone contributes is subtracted, and the
result is shrunk to its mean by the share of its variance that is chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, FloatArray, IntArray
from restframe.kernels.interface import Kernels
from restframe.track.low_band import LowBand, shift_factors
from restframe.track.spectrum import smooth_positive
from restframe.track.tiles import frame_blocks

AVERAGING_RADIUS = 50.0  # A, standard deviation of the Gaussian over which power is averaged
LONGEST_WAVE = 200.0  # A; longer waves are ice and illumination
LOWEST_POWER = 0.1  # of the mean power, where less is found
HIGH_FREQUENCY_SIGNAL = 0.25  # r of all frequencies relative to that of the low ones, where the signal is stronger


@dataclass(frozen=True, eq=False)
class RingPowers:
    """Noise and signal by ring of the low frequencies of all frames; the last ring holds what is not used."""

    count: FloatArray  # (rings,) coefficients
    noise: FloatArray  # (rings,) summed over the coefficients and frames
    signal_to_noise: FloatArray  # (rings,) r = S A² / N


@dataclass(frozen=True, eq=False)
class AlignedSum:
    """The sum of all frames shifted back by a track, and the sum of their powers; (2m, m'+1) each, on the device."""

    spectrum: Array
    frame_power: Array


def specimen_weight_map(kernels: Kernels, band: LowBand, aligned: AlignedSum, pixel_size: float) -> FloatArray:
    """How much each place counts: an image of the whole aligned frame of any size, positive.

    ``aligned``: of ``band``, along the track of the frames; ``pixel_size``: A of a binned pixel.
    """
    uniform = np.ones((2, 2))
    rows, columns = band.image_shape
    ky, kx = band.frequencies()
    aligned_sum, frame_power = aligned.spectrum, aligned.frame_power
    ring = np.round(np.hypot(ky, kx) * min(band.frame_shape)).astype(int)
    ring[ring > rows // 2] = rows // 2 + 1  # corners of the band are not used
    sum_power = kernels.to_host(abs(aligned_sum) ** 2)
    powers = _ring_powers(ring, sum_power, kernels.to_host(frame_power), len(band.spectra))
    frequency = np.arange(len(powers.count)) / min(band.frame_shape) / pixel_size
    high_pass = -np.expm1(-0.5 * (frequency * LONGEST_WAVE) ** 4)
    high_pass[-1] = 0
    information = powers.count * (high_pass * frequency * powers.signal_to_noise) ** 2  # about motion, by ring
    if not information.any():
        return uniform

    # S^½ / (N + S A²)
    noise = np.where(powers.noise > 0, powers.noise, np.inf)
    filter_values = high_pass * np.sqrt(powers.signal_to_noise * powers.count / noise) / (1 + powers.signal_to_noise)
    filtered = aligned_sum * kernels.to_device(filter_values[ring].astype(np.float32))
    averaging_samples = AVERAGING_RADIUS / pixel_size * rows / band.frame_shape[0]
    power, chance_variance = local_power(kernels, filtered, (rows, columns), averaging_samples)
    power -= (filter_values**2 * powers.noise).sum() / (rows * columns) ** 2
    mean, variance = power.mean(), power.var()
    if mean <= 0 or variance <= chance_variance:
        return uniform
    specimen_power = np.maximum(1 + (1 - chance_variance / variance) * (power / mean - 1), LOWEST_POWER)  # s
    signal_to_noise_sum = (information * powers.signal_to_noise).sum()
    saturation = specimen_power * HIGH_FREQUENCY_SIGNAL * signal_to_noise_sum / information.sum()  # s r
    return np.asarray(specimen_power / (1 + saturation))


def _ring_powers(ring: IntArray, sum_power: FloatArray, frame_power: FloatArray, frame_count: int) -> RingPowers:
    """From the power of the frames' sum and the sum of their powers, (2m, m'+1), and the ``ring`` of each coefficient.

    E sum_power / frame_power - 1 = (t - 1) S / (N + S).
    """
    columns = ring.shape[1]
    multiplicity = np.where(np.arange(columns) % (columns - 1) > 0, 2.0, 1.0)  # a coefficient and its conjugate
    count, noise, power = (
        np.bincount(ring.ravel(), (values * multiplicity).ravel())
        for values in (np.ones((len(ring), 1)), frame_power, sum_power)
    )
    known = noise > 0  # subtracting a fixed pattern may have removed all of a ring
    excess = np.divide(power, noise, where=known, out=np.ones_like(noise)) - 1
    excess = smooth_positive(excess, np.where(known, np.sqrt(2 / count), np.inf))
    signal_share = np.minimum(excess / (frame_count - 1), 0.99)  # of a frame's power
    signal_to_noise = frame_count * signal_share / (1 - signal_share)
    return RingPowers(np.asarray(count, float), noise * (1 - signal_share), signal_to_noise)


def sum_aligned(kernels: Kernels, band: LowBand, track: FloatArray) -> AlignedSum:
    """The frames of ``band``, shifted back by ``track`` (t, 2) in binned pixels, and summed."""
    spectra = band.spectra
    xp = array_namespace(spectra)
    row_factors, column_factors = shift_factors(*map(kernels.to_device, (track, *band.frequencies())))
    aligned_sum, frame_power = 0, 0
    for block in frame_blocks(len(spectra), kernels.frames_per_block):
        aligned_sum = aligned_sum + (spectra[block] * row_factors[block] * column_factors[block]).sum(0)
        frame_power = frame_power + (xp.abs(spectra[block]) ** 2).sum(0)
    return AlignedSum(aligned_sum, frame_power)


def local_power(
    kernels: Kernels, spectrum: Array, image_shape: tuple[int, int], averaging_samples: float
) -> tuple[FloatArray, float]:
    """Local mean squares of an image (h, w) with this half spectrum, weighted by a Gaussian with a standard deviation
    of ``averaging_samples``; and the variance that chance gives them in an image that is equally strong everywhere.
    """
    xp = array_namespace(spectrum)
    ky, kx = np.fft.fftfreq(image_shape[0])[:, None], np.fft.rfftfreq(image_shape[1])
    gaussian = np.exp(-2 * (np.pi * averaging_samples) ** 2 * (ky**2 + kx**2))
    weights = kernels.to_device(gaussian.astype(np.float32))
    serial = kernels.single_threaded()
    image, correlation = serial.irfft2(xp.stack([spectrum, abs(spectrum) ** 2]), image_shape)
    squares = serial.rfft2(xp.stack([image**2, (correlation / image.size) ** 2]))
    power, chance = serial.irfft2(squares * xp.stack([weights, weights**2]), image_shape)
    return kernels.to_host(power), 2 * float(chance[0, 0])
