"""Frames that are blurred by motion during their exposure: their remaining signal, and the error of their positions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import FloatArray
from restframe.kernels.interface import Kernels
from restframe.track.fit import Fit
from restframe.track.problem import TileData
from restframe.trajectory import intraframe_motion


def attenuate_blurred_frames_in_place(kernels: Kernels, data: TileData, motion: FloatArray) -> TileData:
    """Multiply the spectra of frames by what blur by ``motion`` (t, 2), in binned pixels, leaves of the signal.

    That is sin(k·v/2) / (k·v/2) for steady motion by v, the signal's amplitude in the frame: the likelihood sums a Y
    with amplitudes a. The tiles are scaled in place; the returned data hold the same tiles, with the amplitude lowered
    by the root mean square of the factor in each ring.
    """
    tiles, rings, band = data.tiles, data.rings, data.tiles.band
    cycles = kernels.to_device((motion / tiles.size).astype(np.float32)[..., None, None])
    xp = array_namespace(cycles)
    ky, kx = (xp.arange(first, band + 1, dtype=xp.float32) for first in (-band, 0))
    remaining = xp.sinc(kx * cycles[:, 0] + ky[:, None] * cycles[:, 1])  # (t, 2m+1, m+1)
    kernels.scale_spectra(tiles.real, tiles.imaginary, remaining)
    power = kernels.ring_sums(remaining**2, rings.index, rings.weight)
    mean_power = np.divide(power, rings.count, where=rings.count > 0, out=np.ones_like(power))
    return replace(data, signal=replace(data.signal, amplitude=data.signal.amplitude * np.sqrt(mean_power)))


def uncertain_ways(fit: Fit, unblurred_amplitude: FloatArray, exposures: FloatArray) -> FloatArray:
    """Mean over tiles of the squared way during each frame, times the share of the power that was lost, (t,), in binned
    pixels²; the way is that beside the global motion, from which the blur was computed.

    ``unblurred_amplitude``: the signal's amplitudes without blur, (t, rings); ``exposures``: (t,) durations of the
    frames, in any unit.
    """
    data, model = fit.problem.data, fit.problem.model
    displacement = np.moveaxis(model.displacement(fit.coefficients), 0, 1)  # (t, p, 2)
    by_frame = displacement.reshape(len(displacement), -1)
    motion = intraframe_motion(by_frame, exposures.tolist()).reshape(displacement.shape)
    motion -= motion.mean(1, keepdims=True)
    ring_count = data.rings.count
    information = ring_count * np.arange(len(ring_count)) ** 2 * fit.likelihood.weights.mean(0) ** 2  # by ring
    power_ratio = (data.signal.amplitude / unblurred_amplitude) ** 2
    lost_power = 1 - power_ratio @ information / max(information.sum(), 1e-30)
    return np.asarray(lost_power * (motion**2).sum(2).mean(1))


def blur_position_error(squared_ways: FloatArray) -> float:
    """Standard deviation of the position of tiles in blurred frames, both axes together, root mean square over tiles
    and frames, in binned pixels.

    At which time of its exposure a blurred frame shows the specimen depends on the direction of the waves. For the
    share of the power that was lost, it is anywhere on the tile's way during the frame, uniformly (variance way² / 12).
    ``squared_ways``: from `uncertain_ways`.
    """
    return float(np.sqrt(max(squared_ways.mean(), 0.0) / 12))


def blur_position_variance(squared_ways: FloatArray) -> FloatArray:
    """The same for each frame: the variance along an axis, (t,), binned pixels²."""
    return np.asarray(np.maximum(squared_ways, 0) / 24)
