"""The fixed pattern of the detector in spectra of tiles: subtracted, and the bias of that."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray


def subtract_fixed_pattern(real: Array, imaginary: Array, phase_factors: Array, fraction: float) -> None:
    for tile_real, tile_imaginary in zip(real, imaginary, strict=True):
        shared = fraction * ((tile_real + 1j * tile_imaginary) * phase_factors).sum(0)
        pattern = phase_factors.conj() * shared
        tile_real -= pattern.real.astype(tile_real.dtype)
        tile_imaginary -= pattern.imag.astype(tile_imaginary.dtype)


def pattern_bias(
    displacement: FloatArray,
    directions: FloatArray,
    strength: FloatArray,
    power: FloatArray,
    fraction: float,
    tile_size: int,
    with_gradient: bool = True,
) -> tuple[float, FloatArray]:
    frequency = 2 * np.pi * np.arange(power.shape[1]) / tile_size
    along_direction = (displacement @ directions)[..., None]
    waves = strength[:, None] * np.exp(-1j * along_direction * frequency)  # (p, t, directions, rings)
    summed = waves.sum(1, keepdims=True)
    remaining = 1 - fraction * np.abs(summed) ** 2
    value = -(power[:, None, None] * np.log(remaining)).sum()
    derivative = 2 * fraction * frequency * power[:, None, None] / remaining * summed.conj()
    by_direction = (waves * derivative).imag.sum(-1)
    return float(value), by_direction @ directions.T if with_gradient else np.zeros(displacement.shape)
