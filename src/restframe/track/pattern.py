"""What stands still on the detector while the specimen moves: the residue of a gain that does not fit.

It correlates at zero shift, so it would hold the track there. Model: frame t = specimen + F + noise of power N, with F
the same in every frame and of power P. The frames' covariance without specimen is N I + P 11', and frames times its
inverse root, that is frames less a fraction of their sum, correlate no more.
"""

from __future__ import annotations

import numpy as np

from restframe.detector.small import SmallFrames
from restframe.track.tiles import Tiles

NOTABLE = 0.05  # power of the pattern in the sum, of the noise's, above which it is taken out


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


def take_off_tiles(kernels, tiles: Tiles, power: float) -> None:
    """The same for tiles, in place; a tile of frame t sees the pattern displaced by minus its offset."""
    if power <= NOTABLE:
        return
    _, t, rows, columns = tiles.re.shape
    part = np.float32(fraction(power, t))
    ky, kx = np.arange(rows) - rows // 2, np.arange(columns)
    steps = -2 * np.pi / tiles.size * tiles.offsets  # what brings the pattern of each frame to the same place
    down = kernels.to_device(np.exp(1j * steps[:, 1, None] * ky).astype(np.complex64))
    across = kernels.to_device(np.exp(1j * steps[:, 0, None] * kx).astype(np.complex64))
    kernels.take_off(tiles.re, tiles.im, down[:, :, None] * across[:, None, :], part)
