"""The likelihood of a motion field, given the tiles: the unknown image is integrated out.

Frame t of a tile is Y_t(k) = a_t(k) X(k) exp(-i k·u_t) + noise of power N(k); the image X has power S(k), a_t is the
signal's amplitude after radiation damage. Integrating X out of this Gaussian model gives, up to terms without u,

    L(u) = sum_k W(k) |R(k)|²,   R = sum_t a_t Y_t exp(i k·u_t),   W = S / (N (N + S sum_t a_t²)),

over one half plane of frequencies. Where the displacement of frame t is known only to a variance v_t along an axis, the
frame enters R with the factor g_t = exp(-v_t |k|²/2). The gradient by the displacement of a frame needs the sum of the
*other* frames only, because the frame's own term has no imaginary part. The expected curvature (Fisher information) for
the displacements of frames t and s along one axis is

    J_ts = sum_k W S |k|² b_t (delta_ts sum_r b_r - b_s),   b = g a².
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, FloatArray
from restframe.kernels.interface import Kernels
from restframe.track.alignment import AlignedTiles, shift_phases
from restframe.track.pattern import FixedPattern, PatternBias
from restframe.track.rings import RingGeometry, independent_counts, squared_wave_numbers
from restframe.track.spectrum import Spectrum
from restframe.track.tiles import Tiles


@dataclass(frozen=True, eq=False)
class SignalModel:
    """What the likelihood assumes of the frames, besides their displacements and spectrum."""

    amplitude: FloatArray  # (t, rings) of the signal in each frame: a
    damping: FloatArray | None = None  # (rings,) MotionCor's filter in place of the shape of W
    pattern: FixedPattern | None = None  # the fixed pattern that was subtracted from the tiles


@dataclass(frozen=True, eq=False)
class Likelihood:
    """L and its derivatives for one spectrum. Displacements are in binned pixels, (p, t, 2)."""

    tiles: Tiles
    rings: RingGeometry
    weights: FloatArray  # (p, rings): W
    information: Array  # (p, t, t): J, for each axis, on the device
    pattern_bias: PatternBias | None  # what subtracting a fixed pattern did to the likelihood


def make_likelihood(
    aligned: AlignedTiles, tiles: Tiles, rings: RingGeometry, spectrum: Spectrum, model: SignalModel
) -> Likelihood:
    """The likelihood of ``tiles`` for a ``spectrum``, with the information at the displacements of ``aligned``.

    A filter (``model.damping``) in place of the shape of W is scaled to the same information.
    """
    count, amplitude = independent_counts(tiles, rings), model.amplitude
    summed_power = (amplitude**2).sum(0)  # A = sum a²
    signal, k2 = spectrum.tile_signal(), squared_wave_numbers(tiles)
    weights = np.where(count > 0, signal / (spectrum.noise * (spectrum.noise + signal * summed_power)), 0)
    if model.damping is not None:
        ring_information = count * signal * k2 * summed_power**2
        damped = model.damping * ring_information
        weights = model.damping * (weights * ring_information).sum(1, keepdims=True)
        weights = weights / np.maximum(damped.sum(1, keepdims=True), 1e-30)
    curvature = count * weights * signal * k2  # (p, rings)
    b = aligned.coherent_power
    xp = array_namespace(b)
    information = -(b * xp.asarray(curvature[:, None])) @ b.swapaxes(1, 2)
    diagonal = information.reshape(len(curvature), -1)[:, :: len(amplitude) + 1]
    diagonal += (b @ xp.asarray((curvature * aligned.frame_sums[0])[..., None]))[..., 0]
    bias = None
    if model.pattern and model.pattern.fraction:
        bias = PatternBias(model.pattern, amplitude, count * weights * signal, tiles.size)
    return Likelihood(tiles, rings, weights, information, bias)


def log_likelihood(kernels: Kernels, likelihood: Likelihood, aligned: AlignedTiles) -> float:
    """L at the displacements of ``aligned``."""
    bias = 0.0
    if likelihood.pattern_bias:
        bias = likelihood.pattern_bias.evaluate(kernels, aligned.displacement, with_slopes=False)[0]
    return float(np.sum(likelihood.weights * aligned.sum_power)) + bias


def likelihood_gradient(kernels: Kernels, likelihood: Likelihood, aligned: AlignedTiles) -> FloatArray:
    """dL/du at the displacements of ``aligned``, (p, t, 2), per binned pixel."""
    tiles, rings = likelihood.tiles, likelihood.rings
    weighted = kernels.filter_spectra(aligned.real, aligned.imaginary, likelihood.weights, rings.index, rings.weight)
    phases = shift_phases(tiles, aligned.displacement, aligned.position_variance)
    slopes = kernels.shift_gradient(tiles.real, tiles.imaginary, *phases, *weighted)
    slopes *= 4 * np.pi / tiles.size * tiles.windows.independent_share[:, None, None]
    if likelihood.pattern_bias:
        return slopes + likelihood.pattern_bias.evaluate(kernels, aligned.displacement)[1]
    return slopes
