"""How likely a motion field is, given the tiles: the marginal likelihood with the unknown image integrated out.

Frame t of a tile is Y_t(k) = a_t(k) X(k) exp(-i k u_t) + noise of power N(k), X has power S(k); a_t is the signal's
amplitude after damage. Integrating X out of the Gaussian model leaves, up to terms without u,

    L(u) = sum_k W(k) |R(k)|²,   R = sum_t a_t Y_t exp(i k u_t),   W = S / (N (N + S sum_t a_t²)),

over one half plane. Its gradient needs, for every frame, the sum of the *other* frames only (the own term has no
imaginary part). The expected curvature (Fisher information) of the displacements of frames t, s along one axis is

    J_ts = sum_k W S |k|² a_t² (delta_ts sum_r a_r² - a_s²).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.track.tiles import Tiles


@dataclass(frozen=True)
class Spectrum:
    """Power by ring of the tiles: noise, signal, and how strong each tile's signal is."""

    noise: np.ndarray  # (rings,)
    signal: np.ndarray  # (rings,), of a frame without damage
    strength: np.ndarray  # (p,), 1 on average

    def of_tiles(self) -> np.ndarray:
        """(p, rings)"""
        return self.strength[:, None] * self.signal[None, :]


def ring_index(tiles: Tiles) -> np.ndarray:
    """Ring of each coefficient, (2m+1, m+1); -1 outside the band and at the lowest frequencies, which hold the
    taper's leakage.
    """
    r = tiles.radius()
    ring = np.round(r).astype(int)
    ring[(ring > tiles.band) | (ring < 3)] = -1
    return ring


def half_plane(tiles: Tiles) -> np.ndarray:
    """1 for each independent coefficient, 1/2 for those that are there twice (kx = 0)."""
    weight = np.ones(tiles.radius().shape)
    weight[:, 0] = 0.5
    return weight


def estimate_spectrum(
    power: np.ndarray, auto: np.ndarray, amplitude: np.ndarray, count: np.ndarray, excess: np.ndarray | float = 1.0
) -> Spectrum:
    """Signal and noise from the ring sums of |R|² and of sum_t |a_t Y_t|², both (p, rings).

    ``excess``: (rings,) by how much the fit itself has made the signal look larger.

    E |R|² - auto = S ((sum a²)² - sum a⁴), the cross terms of all pairs of frames; E auto = S sum a⁴ + N sum a².
    """
    a2, a4 = (amplitude**2).sum(0), (amplitude**4).sum(0)
    n = np.maximum(count, 1e-9)
    cross = (power - auto) / n  # (p, rings)
    pairs = np.maximum(a2**2 - a4, 1e-30)
    signal = cross.mean(0) / pairs / excess
    noise = np.maximum((auto.mean(0) / n - np.maximum(signal, 0) * a4) / np.maximum(a2, 1e-30), 1e-6)
    # error of the pooled signal: |R|² - auto has variance (N sum a²)² a coefficient when there is no signal
    sd = noise * a2 / pairs / np.sqrt(n * len(cross))
    signal = smooth_positive(signal, sd)
    # strength of each tile: weighted least squares of its cross terms on the pooled signal
    g = n * signal * pairs / (noise * a2 + signal * a2**2) ** 2
    g[count == 0] = 0
    total = (g * signal * pairs).sum()
    if total > 0:
        strength = (cross * g).sum(1) / total
        sd_strength = np.sqrt((g**2 * (noise * a2 + signal * a2**2) ** 2 / n).sum()) / total
        spread = max(strength.var() - sd_strength**2, 0.0)
        strength = 1 + (strength - 1) * spread / (spread + sd_strength**2)
        strength = np.maximum(strength, 0.02)
        strength /= strength.mean()
    else:
        strength = np.ones(len(cross))
    return Spectrum(noise, signal, strength)


def smooth_positive(signal: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Running mean over rings, wide where the signal is below its own error; zero where it can't be told from zero."""
    out = np.zeros_like(signal)
    for width in (0, 1, 2, 4, 8):
        for r in range(len(signal)):
            if out[r] > 0 or not np.isfinite(sd[r]):
                continue
            lo, hi = max(r - width, 0), min(r + width + 1, len(signal))
            w = 1 / np.maximum(sd[lo:hi], 1e-30) ** 2
            mean, error = (w * signal[lo:hi]).sum() / w.sum(), 1 / np.sqrt(w.sum())
            if mean > 3 * error:
                out[r] = mean
    return out


@dataclass(frozen=True)
class Likelihood:
    """L and its derivatives for one spectrum. Displacements are in small pixels, (p, t, 2)."""

    tiles: Tiles
    w: np.ndarray  # (p, rings): W
    ring: np.ndarray  # of each coefficient
    weight: np.ndarray  # of each coefficient, as independent observations
    information: np.ndarray  # (p, t, t): J, per axis


@dataclass(frozen=True)
class Aligned:
    """The tiles at rest: R of each, where the kernels left it, and the ring sums of its power on the host."""

    re: np.ndarray  # (p, 2m+1, m+1)
    im: np.ndarray
    power: np.ndarray  # (p, rings) sums of |R|²
    auto: np.ndarray  # (p, rings) sums of sum_t |a_t Y_t|²


def make_likelihood(tiles: Tiles, spectrum: Spectrum, amplitude, ring, weight, count, damping=None) -> Likelihood:
    """``damping``: (rings,) a filter to use in place of W's shape, scaled to the same information; None: W."""
    sq = amplitude**2
    a2 = sq.sum(0)
    signal = spectrum.of_tiles()
    k2 = (2 * np.pi * np.arange(len(count)) / tiles.size) ** 2
    w = signal / (spectrum.noise * (spectrum.noise + signal * a2))
    w[:, count == 0] = 0
    if damping is not None:
        gain = count * signal * k2 * a2**2
        w = damping * (w * gain).sum(1, keepdims=True) / np.maximum((damping * gain).sum(1, keepdims=True), 1e-30)
    c = count * w * signal * k2  # (p, rings)
    information = -np.einsum("pr,tr,sr->pts", c, sq, sq, optimize=True)
    t = np.arange(len(sq))
    information[:, t, t] += (c * a2) @ sq.T
    return Likelihood(tiles, w, ring, weight, information)


def aligned(kernels, tiles: Tiles, displacement: np.ndarray, ring: np.ndarray, weight: np.ndarray) -> Aligned:
    """``displacement``: (p, t, 2) small pixels; ``ring`` and ``weight`` of each coefficient."""
    re, im, auto = kernels.align(tiles.re, tiles.im, phase_steps(tiles, displacement))
    return Aligned(re, im, kernels.ring_power(re, im, ring, weight), kernels.by_ring(auto, ring, weight))


def phase_steps(tiles: Tiles, displacement: np.ndarray) -> np.ndarray:
    """Phase in radians for one cycle a tile, of what is left after the tile's own offset."""
    return (2 * np.pi / tiles.size * (displacement - tiles.offsets[None])).astype(np.float32)


def value(like: Likelihood, at: Aligned) -> float:
    return float(np.sum(like.w * at.power))


def gradient(kernels, like: Likelihood, displacement, at: Aligned) -> np.ndarray:
    """dL/du, (p, t, 2), per small pixel; ``at``: the tiles brought to rest by ``displacement``."""
    steps = phase_steps(like.tiles, displacement)
    weighted = kernels.filtered(at.re, at.im, like.w, like.ring, like.weight)
    return kernels.gradient(like.tiles.re, like.tiles.im, steps, *weighted) * (4 * np.pi / like.tiles.size)
