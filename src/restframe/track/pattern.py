"""What stands still on the detector while the specimen moves: the residue of a gain that does not fit.

It correlates at zero shift, so it would hold the track there. Model: frame t = specimen + F + noise of power N, with F
the same in every frame and of power P. The frames' covariance without specimen is N I + P 11', and frames times its
inverse root, that is frames less a fraction of their sum, correlate no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from restframe.detector.small import SmallFrames
from restframe.track.tiles import Tiles

NOTABLE = 0.05  # power of the pattern in the sum, of the noise's, above which it is taken out
DIRECTIONS = 16  # of the waves of one ring that are looked at, over half a turn


def pattern_power(kernels, small: SmallFrames) -> float:
    """t P / N, the power of the fixed pattern over that of noise in the sum of the small frames.

    From their highest frequency along both axes at once: no specimen reaches there.
    """
    together, noise = kernels.corners(small.stack)  # in steps: only the ratio counts
    if noise == 0:  # no counts, or the same everywhere
        return 0.0
    n = small.n_frames
    found = together / noise - 1  # (t - 1) P / (N + P)
    return max(n * found / max(n - 1 - found, 1e-6), 0.0)


def fraction(power: float, n_frames: int) -> float:
    """How much of the frames' sum is to be taken off each: (1 - 1 / sqrt(1 + t P / N)) / t."""
    return (1 - 1 / np.sqrt(1 + power)) / n_frames


def take_off_band(band, power: float):
    """Spectra of whole frames (t, h, w) without the pattern."""
    return band - np.float32(fraction(power, len(band))) * band.sum(0) if power > NOTABLE else band


def take_off_tiles(kernels, tiles: Tiles, power: float) -> float:
    """The same for tiles, in place; a tile of frame t sees the pattern displaced by minus its offset.

    Returns how much of the frames' sum was taken off each.
    """
    if power <= NOTABLE:
        return 0.0
    _, t, rows, columns = tiles.re.shape
    part = np.float32(fraction(power, t))
    ky, kx = np.arange(rows) - rows // 2, np.arange(columns)
    steps = -2 * np.pi / tiles.size * tiles.offsets  # what brings the pattern of each frame to the same place
    down = kernels.to_device(np.exp(1j * steps[:, 1, None] * ky).astype(np.complex64))
    across = kernels.to_device(np.exp(1j * steps[:, 0, None] * kx).astype(np.complex64))
    kernels.take_off(tiles.re, tiles.im, down[:, :, None] * across[:, None, :], part)
    return float(part)


@dataclass(frozen=True)
class Lost:
    """Specimen that went with the pattern, because it moves so little: the likelihood alone would drive frames apart.

    Frame t less ``part`` f of the frames' sum holds X (a_t e_t - f V), e_t = exp(-i k u_t), V = sum_t a_t e_t, of an
    image X of power S. At the true field the expected slope of W |R|² is then that of
    W S' A² log(1 - f |V|² / A), A = sum_t a_t², S' = S (1 - f |V|² / A)², the signal that is left.
    """

    part: float
    amplitude: np.ndarray  # (t, rings): a
    weight: np.ndarray  # (p, rings): W S' of each ring, times the number of its coefficients
    size: int  # small pixels a side of a tile

    def put_back(self, kernels, displacement: np.ndarray) -> tuple[float, np.ndarray]:
        """What makes the likelihood fair again at displacements (p, t, 2), and its slopes, (p, t, 2), small pixels."""
        angle = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
        across = np.stack([np.cos(angle), np.sin(angle)])
        turn = kernels.to_device(np.exp(-2j * np.pi / self.size * displacement @ across).astype(np.complex64))
        xp = array_namespace(turn)
        amplitude, weight = (kernels.to_device(v.astype(np.float32)) for v in (self.amplitude, self.weight))
        total, slopes = xp.zeros(weight.shape[0]), xp.zeros(turn.shape, dtype=np.float32)
        wave = xp.ones_like(turn)
        for r in range(1, weight.shape[1]):
            wave = wave * turn
            seen = wave * amplitude[None, :, r, None]  # (p, t, directions)
            shared = seen.sum(1)  # V
            every, w = float((self.amplitude[:, r] ** 2).sum()), weight[:, r, None] / DIRECTIONS
            left = 1 - self.part / every * xp.abs(shared) ** 2
            total -= (w * every**2 * xp.log(left)).sum(1)
            k = 2 * np.pi * r / self.size
            slopes += (seen * (2 * k * self.part * every * w / left * xp.conj(shared))[:, None]).imag
        return float(total.sum()), kernels.to_host(slopes) @ across.T
