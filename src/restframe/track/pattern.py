"""What stands still on the detector while the specimen moves: the residue of a gain that does not fit.

It correlates at zero shift, so it would hold the track there. Model: frame t = specimen + h_t F + noise of power N,
with F the same in every frame and of power P; noise is one in every small frame, so h grows with the root of exposure.
The frames' covariance without specimen is N I + P h h', and frames times its inverse root, that is frames less a
fraction of their sum, correlate no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from restframe.detector.binned import BinnedFrames
from restframe.track.tiles import Tiles

NOTABLE = 0.05  # power of the pattern in the sum, of the noise's, above which it is taken out
LEAKY = 1 / 8  # of a frame's side: kx ky in cycles across, up to which leaks what does not end as it began
DIRECTIONS = 8  # of the waves of one ring that are looked at, over half a turn


@dataclass(frozen=True, eq=False)
class FixedPattern:
    """What is fixed on the detector, the same in every frame but for its strength."""

    power: float  # t P / N: in the sum of the frames, of the noise's
    strength: np.ndarray  # (t,) h, rms one

    @property
    def part(self) -> float:
        """How much of the frames' sum is to be taken off each, (1 - 1 / sqrt(1 + t P / N)) / t; 0: it can stay."""
        return float(1 - 1 / np.sqrt(1 + self.power)) / len(self.strength) if self.power > NOTABLE else 0.0


def estimate_fixed_pattern(kernels, small: BinnedFrames, exposure: np.ndarray) -> FixedPattern:
    """The pattern in frames of ``exposure`` (t,), in any unit.

    From their highest frequency along both axes at once: no specimen reaches there.
    """
    strength = np.sqrt(exposure / exposure.mean())
    together, noise = kernels.nyquist_power(small.stack)  # in steps: only the ratio counts
    if noise == 0:  # no counts, or the same everywhere
        return FixedPattern(0.0, strength)
    n = small.n_frames
    found, pairs = together / noise - 1, strength.sum() ** 2 / n - 1  # found: pairs * P / (N + P)
    return FixedPattern(max(n * found / max(pairs - found, 1e-6), 0.0), strength)


def subtract_pattern_from_band(band, pattern: FixedPattern, small: tuple[int, int]):
    """Spectra of whole frames ``small`` (h, w), (t, 2m, m'+1) in FFT order, without the pattern, and without those
    coefficients to which what is smooth and not periodic leaks.
    """
    if not pattern.part:
        return band
    xp, (rows, columns) = array_namespace(band), band.shape[1:]
    h = xp.asarray(pattern.strength.astype(np.float32))[:, None, None]
    far = np.abs(np.fft.fftfreq(rows)[:, None] * rows * np.arange(columns)) > LEAKY * np.sqrt(small[0] * small[1])
    return (band - np.float32(pattern.part) * h * (h * band).sum(0)) * xp.asarray(far)


def subtract_pattern_from_tiles(kernels, tiles: Tiles, pattern: FixedPattern) -> None:
    """The same for tiles, in place; a tile of frame t sees the pattern displaced by minus its offset."""
    if not pattern.part:
        return
    rows, columns = tiles.re.shape[2:]
    ky, kx = np.arange(rows) - rows // 2, np.arange(columns)
    steps = -2 * np.pi / tiles.size * tiles.offsets  # what brings the pattern of each frame to the same place
    down = pattern.strength[:, None] * np.exp(1j * steps[:, 1, None] * ky)
    down, across = (kernels.to_device(v.astype(np.complex64)) for v in (down, np.exp(1j * steps[:, 0, None] * kx)))
    kernels.subtract_fixed_pattern(tiles.re, tiles.im, down[:, :, None] * across[:, None, :], np.float32(pattern.part))


@dataclass(frozen=True)
class PatternBias:
    """Specimen that went with the pattern, because it moves so little: the likelihood alone would drive frames apart.

    With part f taken off, frame t holds X (a_t e_t - f h_t V), e_t = exp(-i k u_t), V = sum_t h_t a_t e_t, of an image
    X of power S. At the true field the expected slope of W |R|² is then that of W S' A² log(1 - f |V|² / A),
    A = sum_t a_t², S' = S (1 - f |V|² / A)², the signal that is left.
    """

    pattern: FixedPattern
    amplitude: np.ndarray  # (t, rings): a
    weight: np.ndarray  # (p, rings): W S' of each ring, times the number of its coefficients
    size: int  # small pixels a side of a tile

    def pattern_bias(self, kernels, displacement: np.ndarray, slopes: bool = True) -> tuple[float, np.ndarray]:
        """What makes the likelihood fair again at displacements (p, t, 2), and its slopes, (p, t, 2), small pixels;
        zeros where no ``slopes`` are asked for.
        """
        angle = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
        across = np.stack([np.cos(angle), np.sin(angle)])
        every = (self.amplitude**2).sum(0)  # A
        strength = self.pattern.strength[:, None] * self.amplitude / np.sqrt(every)
        power = self.weight * every**2 / DIRECTIONS
        return kernels.pattern_bias(displacement, across, strength, power, self.pattern.part, self.size, slopes)
