"""How likely a motion field is, given the tiles: the marginal likelihood with the unknown image integrated out.

Frame t of a tile is Y_t(k) = a_t(k) X(k) exp(-i k u_t) + noise of power N(k), X has power S(k); a_t is the signal's
amplitude after damage. Integrating X out of the Gaussian model leaves, up to terms without u,

    L(u) = sum_k W(k) |R(k)|²,   R = sum_t a_t Y_t exp(i k u_t),   W = S / (N (N + S sum_t a_t²)),

over one half plane. Where the displacement of frame t is known to a variance v_t along an axis only, what lines up of
it is g_t a_t, g_t = exp(-v_t |k|²/2): it enters R with that weight. The gradient needs, for every frame, the sum of the
*other* frames only (the own term has no imaginary part). The expected curvature (Fisher information) of the
displacements of frames t, s along one axis is

    J_ts = sum_k W S |k|² b_t (delta_ts sum_r b_r - b_s),   b = g a².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from restframe.track.pattern import PatternBias
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


def estimate_spectrum(at: Aligned, count: np.ndarray, excess: np.ndarray | float = 1.0) -> Spectrum:
    """Signal and noise from the ring sums of |R|² and of sum_t |g_t a_t Y_t|² over the ``count`` (p, rings) independent
    coefficients of each tile.

    ``excess``: (rings,) by how much the fit itself has made the signal look larger.

    E |R|² - auto = S ((sum b)² - sum b²), the cross terms of all pairs of frames, b = g a²;
    E auto = S sum b² + N sum g² a².
    """
    all_b, own, own_noise = at.sums
    n = np.maximum(count, 1e-9)
    cross = (at.power - at.auto) / n
    pairs = np.maximum(all_b**2 - own, 1e-30)
    signal = cross.sum(0) / pairs.sum(0) / excess
    noise = np.maximum(((at.auto / n).sum(0) - (np.maximum(signal, 0) * own).sum(0)) / own_noise.sum(0), 1e-6)
    # error of the pooled signal: without any, |R|² - auto of a coefficient has the variance (N sum g² a²)²
    sd = noise * np.sqrt((own_noise**2 / n).sum(0)) / pairs.sum(0)
    signal = smooth_positive(signal, sd)
    # strength of each tile: weighted least squares of its cross terms on the pooled signal
    variance = (noise * own_noise + signal * all_b**2) ** 2 / n
    g = np.where(count > 0, signal * pairs / variance, 0)
    total = (g * signal * pairs).sum(1)
    if total.sum() > 0:
        strength = (cross * g).sum(1) / np.maximum(total, 1e-30)
        sd_strength = np.sqrt((g**2 * variance).sum(1)) / np.maximum(total, 1e-30)
        doubt = float((sd_strength**2).mean())
        spread = max(strength.var() - doubt, 0.0)
        strength = 1 + (strength - 1) * spread / (spread + doubt)
        strength = np.maximum(strength, 0.02)
        strength /= strength.mean()
    else:
        strength = np.ones(len(cross))
    return Spectrum(noise, signal, strength)


def smooth_positive(signal: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Running mean over rings, wide where the signal is below its own error; zero where it can't be told from zero."""
    n, known = len(signal), np.isfinite(sd)
    w = np.where(known, 1 / np.maximum(sd, 1e-30) ** 2, 0)
    weighted, out = np.where(known, w * signal, 0), np.zeros(n)
    for width in (0, 1, 2, 4, 8):
        near = np.ones(2 * width + 1)
        weight, total = (np.convolve(v, near)[width : width + n] for v in (w, weighted))
        mean = np.divide(total, weight, out=np.zeros(n), where=known & (weight > 0))
        out = np.where((out == 0) & (mean * np.sqrt(weight) > 3), mean, out)
    return out


@dataclass(frozen=True)
class Likelihood:
    """L and its derivatives for one spectrum. Displacements are in small pixels, (p, t, 2)."""

    tiles: Tiles
    w: np.ndarray  # (p, rings): W
    ring: np.ndarray  # of each coefficient
    weight: np.ndarray  # of each coefficient
    information: Any  # (p, t, t): J, per axis, where the kernels left it
    lost: PatternBias | None  # what went with a pattern fixed on the detector


@dataclass(frozen=True)
class Aligned:
    """The tiles at rest: R of each, where the kernels left it, and the ring sums of its power on the host."""

    displacement: np.ndarray  # (p, t, 2) small pixels
    re: Any  # (p, 2m+1, m+1)
    im: Any
    power: np.ndarray  # (p, rings) sums of |R|² over independent coefficients
    auto: np.ndarray  # (p, rings) the same of sum_t |g_t a_t Y_t|²
    spread: np.ndarray  # (p, t) small pixels²: variance of the displacement along an axis
    b: Any  # (p, t, rings): g a², where the kernels left it
    sums: np.ndarray  # (3, p, rings): of b, b² and g b over the frames, on the host


def make_likelihood(
    at: Aligned, tiles: Tiles, spectrum: Spectrum, amplitude, ring, weight, count, damping=None, pattern=None
) -> Likelihood:
    """``count``: (p, rings) independent coefficients.
    ``damping``: (rings,) a filter to use in place of W's shape, scaled to the same information; None: W.
    ``pattern``: what was taken off the tiles, if anything.
    """
    a2 = (amplitude**2).sum(0)
    signal = spectrum.of_tiles()
    k2 = (2 * np.pi * np.arange(len(a2)) / tiles.size) ** 2
    w = np.where(count > 0, signal / (spectrum.noise * (spectrum.noise + signal * a2)), 0)
    if damping is not None:
        gain = count * signal * k2 * a2**2
        w = damping * (w * gain).sum(1, keepdims=True) / np.maximum((damping * gain).sum(1, keepdims=True), 1e-30)
    c = count * w * signal * k2  # (p, rings)
    xp = array_namespace(at.b)
    information = -(at.b * xp.asarray(c[:, None])) @ at.b.swapaxes(1, 2)
    of_frame = information.reshape(len(c), -1)[:, :: len(amplitude) + 1]  # each one's own
    of_frame += (at.b @ xp.asarray((c * at.sums[0])[..., None]))[..., 0]
    lost = PatternBias(pattern, amplitude, count * w * signal, tiles.size) if pattern and pattern.part else None
    return Likelihood(tiles, w, ring, weight, information, lost)


def aligned(
    kernels, tiles: Tiles, displacement: np.ndarray, spread: np.ndarray, amplitude: np.ndarray, ring, weight
) -> Aligned:
    """``displacement``: (p, t, 2) small pixels; ``spread``: (p, t) its variance along an axis; ``amplitude``: a_t,
    (t, rings); ``ring`` and ``weight`` of each coefficient.
    """
    re, im, auto = kernels.align_spectra(tiles.re, tiles.im, *phases(tiles, displacement, spread))
    share = tiles.windows.share[:, None]
    powers = share * kernels.ring_power_sums(re, im, ring, weight), share * kernels.ring_sums(auto, ring, weight)
    k2 = (2 * np.pi * np.arange(tiles.band + 1) / tiles.size) ** 2
    variance, k2, a2 = (kernels.to_device(v) for v in (spread[..., None], k2, amplitude**2))
    xp = array_namespace(variance)
    g = xp.exp(-0.5 * variance * k2)
    b = g * a2
    sums = kernels.to_host(xp.stack([b.sum(1), (b * b).sum(1), (g * b).sum(1)]))
    return Aligned(displacement, re, im, *powers, spread, b, sums)


def phases(tiles: Tiles, displacement: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Phase in radians for one cycle a tile, of what is left after the tile's own offset, and its variance."""
    turn = 2 * np.pi / tiles.size
    return (turn * (displacement - tiles.offsets[None])).astype(np.float32), (turn**2 * spread).astype(np.float32)


def value(kernels, like: Likelihood, at: Aligned) -> float:
    fair = like.lost.pattern_bias(kernels, at.displacement, slopes=False)[0] if like.lost else 0.0
    return float(np.sum(like.w * at.power)) + fair


def gradient(kernels, like: Likelihood, at: Aligned) -> np.ndarray:
    """dL/du, (p, t, 2), per small pixel, where the tiles were brought to rest."""
    weighted = kernels.filter_spectra(at.re, at.im, like.w, like.ring, like.weight)
    steps = phases(like.tiles, at.displacement, at.spread)
    slopes = kernels.shift_gradient(like.tiles.re, like.tiles.im, *steps, *weighted)
    slopes *= 4 * np.pi / like.tiles.size * like.tiles.windows.share[:, None, None]
    return slopes + like.lost.pattern_bias(kernels, at.displacement)[1] if like.lost else slopes
