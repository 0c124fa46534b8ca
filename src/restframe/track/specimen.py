"""Where the specimen is: how much each place of the frame tells of motion.

Particles are dense, the ice between them is not. For an image of power s(x) S(k), s one on average, in noise of power
N, the log likelihood of the motion (`likelihood.py`) counts the square of the filtered sum of the frames as much as
s / (1 + s r) there, r = S A² / N, A² = sum_t a_t²: where the signal is weak, as much as there is; where it is strong,
the same everywhere. s comes from the low frequencies: the squares of the frames' sum, filtered as signal is best told
from noise, are averaged over half a particle; less what noise alone makes of them, and drawn to their mean by as much
as chance alone spreads them.
"""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from restframe.track.likelihood import smooth_positive
from restframe.track.whole_frame import frequencies, phase

NEAR = 50.0  # A, sd of the average's weights
SLOWEST = 200.0  # A: longer waves are ice and illumination
LEAST = 0.1  # of the mean power, however little there seems to be
BEYOND = 0.25  # of r here is that of all frequencies: beyond the low ones the signal is weaker


def specimen_weight_map(kernels, band, small: tuple[int, int], track: np.ndarray, pixel: float) -> np.ndarray:
    """How much each place counts, an image of the whole frame at rest of any size, positive.

    ``band``: `low_frequency_band`'s spectra of frames (h, w) = ``small``; ``track``: their displacements, (t, 2)
    small pixels of ``pixel`` A.
    """
    ny, nx = band.shape[1:]
    shape = ny, 2 * (nx - 1)
    ky, kx = frequencies((ny, nx), small)
    together, alone = summed(kernels, band, track, ky, kx)
    power, noise = kernels.to_host(abs(together) ** 2), kernels.to_host(alone)

    ring = np.round(np.hypot(ky, kx) * min(small)).astype(int)
    ring[ring > ny // 2] = ny // 2 + 1  # the corners of the band are left out
    twice = np.where(np.arange(nx) % (nx - 1) > 0, 2.0, 1.0)  # a wave and its opposite
    count, noise, power = (np.bincount(ring.ravel(), (v * twice).ravel()) for v in (np.ones((ny, 1)), noise, power))
    t, there = len(band), noise > 0  # what is fixed on the detector may have been all that a ring held
    excess = np.divide(power, noise, where=there, out=np.ones_like(noise)) - 1  # (t - 1) S / (N + S)
    excess = smooth_positive(excess, np.where(there, np.sqrt(2 / count), np.inf))
    own = np.minimum(excess / (t - 1), 0.99)  # of a frame's power, the signal's
    r, noise = t * own / (1 - own), noise * (1 - own)
    f = np.arange(len(r)) / min(small) / pixel
    seen = -np.expm1(-0.5 * (f * SLOWEST) ** 4)
    seen[-1] = 0
    told = count * (seen * f * r) ** 2  # of motion by each ring
    if not told.any():
        return np.ones((2, 2))
    table = seen * np.sqrt(r * count / np.where(there, noise, np.inf)) / (1 + r)  # S^½ / (N + S A²)
    filtered = together * kernels.to_device(table[ring].astype(np.float32))
    found, chance = local_power(kernels, filtered, shape, NEAR / pixel * ny / small[0])

    found -= (table**2 * noise).sum() / (shape[0] * shape[1]) ** 2
    mean, spread = found.mean(), found.var()
    if mean <= 0 or spread <= chance:
        return np.ones((2, 2))
    s = np.maximum(1 + (1 - chance / spread) * (found / mean - 1), LEAST)
    return s / (1 + s * BEYOND * (told * r).sum() / told.sum())


def summed(kernels, band, track: np.ndarray, ky: np.ndarray, kx: np.ndarray):
    """Of all frames, brought to rest: their sum, and the sum of their powers; (2m, m'+1) where the band is."""
    xp = array_namespace(band)
    y, x = phase(*map(kernels.to_device, (track, ky, kx)))
    together, alone = 0, 0
    for i in range(0, len(band), kernels.frames_per_block):
        part = slice(i, i + kernels.frames_per_block)
        together = together + (band[part] * y[part] * x[part]).sum(0)
        alone = alone + (xp.abs(band[part]) ** 2).sum(0)
    return together, alone


def local_power(kernels, spectrum, shape: tuple[int, int], near: float) -> tuple[np.ndarray, float]:
    """Mean squares about each place of an image (h, w) = ``shape`` with this half spectrum, weighted by a Gaussian of
    sd ``near`` samples; and their variance by chance, were the image equally strong everywhere.
    """
    xp = array_namespace(spectrum)
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    weights = kernels.to_device(np.exp(-2 * (np.pi * near) ** 2 * (ky**2 + kx**2)).astype(np.float32))
    serial = kernels.single_threaded()
    image, correlation = serial.irfft2(xp.stack([spectrum, abs(spectrum) ** 2]), shape)
    squares = serial.rfft2(xp.stack([image**2, (correlation / image.size) ** 2]))
    power, chance = serial.irfft2(squares * xp.stack([weights, weights**2]), shape)
    return kernels.to_host(power), 2 * float(chance[0, 0])
