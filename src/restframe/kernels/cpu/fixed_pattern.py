"""The fixed pattern of the detector in spectra of tiles: subtracted, and the bias of that."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.kernels.cpu.scalars import Real
from restframe.kernels.cpu.storage import storage_step, store
from restframe.loops import nb, njit


@njit(cache=True, parallel=True, nogil=True)
def _subtract_fixed_pattern(real: Array, imaginary: Array, phase_factors: Array, fraction: Real) -> None:
    tile_count, frame_count, row_count, column_count = real.shape
    step = storage_step(real)
    for tile in nb.prange(tile_count):
        new_real, new_imaginary = np.empty(column_count, np.float32), np.empty(column_count, np.float32)
        for y in range(row_count):
            shared = np.zeros(column_count, np.complex64)
            for frame in range(frame_count):
                for x in range(column_count):
                    value = np.complex64(
                        complex(
                            step * np.float32(real[tile, frame, y, x]), step * np.float32(imaginary[tile, frame, y, x])
                        )
                    )
                    shared[x] += value * phase_factors[frame, y, x]
            for frame in range(frame_count):
                for x in range(column_count):
                    pattern = fraction * np.conj(phase_factors[frame, y, x]) * shared[x]
                    new_real[x] = step * np.float32(real[tile, frame, y, x]) - pattern.real
                    new_imaginary[x] = step * np.float32(imaginary[tile, frame, y, x]) - pattern.imag
                store(new_real, real[tile, frame, y])
                store(new_imaginary, imaginary[tile, frame, y])


def subtract_fixed_pattern(real: Array, imaginary: Array, phase_factors: Array, fraction: float) -> None:
    _subtract_fixed_pattern(real, imaginary, phase_factors, np.float32(fraction))


@njit(cache=True, nogil=True, fastmath=True)
def _next_ring(
    wave_real: Array,
    wave_imaginary: Array,
    turn_real: Array,
    turn_imaginary: Array,
    strength: Array,
    sum_real: Array,
    sum_imaginary: Array,
) -> None:
    """Waves (t, directions) of the next ring, in place, and their sums over frames, weighted by ``strength`` (t,)."""
    sum_real[:] = 0
    sum_imaginary[:] = 0
    for frame in range(len(wave_real)):
        for direction in range(wave_real.shape[1]):
            turned_real = (
                wave_real[frame, direction] * turn_real[frame, direction]
                - wave_imaginary[frame, direction] * turn_imaginary[frame, direction]
            )
            turned_imaginary = (
                wave_real[frame, direction] * turn_imaginary[frame, direction]
                + wave_imaginary[frame, direction] * turn_real[frame, direction]
            )
            wave_real[frame, direction] = turned_real
            wave_imaginary[frame, direction] = turned_imaginary
            sum_real[direction] += strength[frame] * turned_real
            sum_imaginary[direction] += strength[frame] * turned_imaginary


@njit(cache=True, nogil=True, fastmath=True)
def _add_derivatives(
    wave_real: Array,
    wave_imaginary: Array,
    factor_real: Array,
    factor_imaginary: Array,
    strength: Array,
    derivatives: Array,
) -> None:
    for frame in range(len(wave_real)):
        for direction in range(wave_real.shape[1]):
            derivatives[frame, direction] += strength[frame] * (
                wave_real[frame, direction] * factor_imaginary[direction]
                + wave_imaginary[frame, direction] * factor_real[direction]
            )


@njit(cache=True, parallel=True, nogil=True)
def _pattern_bias(
    turn_real: Array,
    turn_imaginary: Array,
    strength: Array,
    power: Array,
    fraction: Real,
    with_gradient: bool,
    values: Array,
    derivatives: Array,
) -> None:
    """``turn_real``, ``turn_imaginary`` (p, t, directions): from the wave of one ring to that of the next, a factor."""
    tile_count, ring_count = power.shape
    direction_count = turn_real.shape[2]
    for tile in nb.prange(tile_count):
        wave_real, wave_imaginary = turn_real[tile].copy(), -turn_imaginary[tile]  # of ring -1
        sum_real = np.empty(direction_count, np.float32)
        sum_imaginary = np.empty(direction_count, np.float32)
        for ring in range(ring_count):
            _next_ring(
                wave_real, wave_imaginary, turn_real[tile], turn_imaginary[tile],
                strength[ring], sum_real, sum_imaginary,
            )  # fmt: skip
            for direction in range(direction_count):
                remaining = 1 - fraction * (sum_real[direction] ** 2 + sum_imaginary[direction] ** 2)
                values[tile] -= power[tile, ring] * np.log(remaining)
                factor = 2 * fraction * ring * power[tile, ring] / remaining
                sum_real[direction] *= factor
                sum_imaginary[direction] *= -factor
            if with_gradient:
                _add_derivatives(
                    wave_real, wave_imaginary, sum_real, sum_imaginary, strength[ring], derivatives[tile]
                )  # fmt: skip


def pattern_bias(
    displacement: FloatArray,
    directions: FloatArray,
    strength: FloatArray,
    power: FloatArray,
    fraction: float,
    tile_size: int,
    with_gradient: bool = True,
) -> tuple[float, FloatArray]:
    turn = np.exp(-2j * np.pi / tile_size * displacement @ directions).astype(np.complex64)
    values, derivatives = np.zeros(len(turn)), np.zeros(turn.shape, np.float32)
    by_ring = np.ascontiguousarray(strength.T, np.float32)
    turn_parts = turn.real.copy(), turn.imag.copy()
    _pattern_bias(*turn_parts, by_ring, power, np.float32(fraction), with_gradient, values, derivatives)
    return float(values.sum()), 2 * np.pi / tile_size * derivatives @ directions.T
