"""The fixed pattern of the detector in spectra of tiles: subtracted, and the bias of that."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.kernels.cpu.scalars import Real
from restframe.kernels.cpu.storage import storage_step, store
from restframe.kernels.cpu.threads import divide
from restframe.loops import compiled_loop, inner_loop


@compiled_loop("(int64, int64, int16[:,:,:,::1], int16[:,:,:,::1], complex64[:,:,::1], float32)")
def _subtract_fixed_pattern(
    first: int, end: int, real: Array, imaginary: Array, phase_factors: Array, fraction: Real
) -> None:
    _, frame_count, row_count, column_count = real.shape
    step = storage_step(real)
    new_real, new_imaginary = np.empty(column_count, np.float32), np.empty(column_count, np.float32)
    shared = np.empty(column_count, np.complex64)
    for tile in range(first, end):
        for y in range(row_count):
            for x in range(column_count):
                shared[x] = 0
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
    divide(_subtract_fixed_pattern, len(real), real, imaginary, phase_factors, np.float32(fraction))


@inner_loop(fastmath=True)
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
    for direction in range(len(sum_real)):
        sum_real[direction] = sum_imaginary[direction] = 0
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


@inner_loop(fastmath=True)
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


@compiled_loop(
    "(int64, int64, float32[:,:,::1], float32[:,:,::1], float32[:,:,::1], float32[:,:,::1], float32[:,::1], "
    "float64[:,::1], float32, boolean, float64[::1], float32[:,:,::1])"
)
def _pattern_bias(
    first: int,
    end: int,
    turn_real: Array,
    turn_imaginary: Array,
    wave_real: Array,
    wave_imaginary: Array,
    strength: Array,
    power: Array,
    fraction: Real,
    with_gradient: bool,
    values: Array,
    derivatives: Array,
) -> None:
    """``turn_real``, ``turn_imaginary`` (p, t, directions): from the wave of one ring to that of the next, a factor.

    ``wave_real``, ``wave_imaginary``: room of the same shape.
    """
    _, frame_count, direction_count = turn_real.shape
    sum_real = np.empty(direction_count, np.float32)
    sum_imaginary = np.empty(direction_count, np.float32)
    for tile in range(first, end):
        for frame in range(frame_count):
            for direction in range(direction_count):  # of ring -1
                wave_real[tile, frame, direction] = turn_real[tile, frame, direction]
                wave_imaginary[tile, frame, direction] = -turn_imaginary[tile, frame, direction]
        for ring in range(power.shape[1]):
            _next_ring(
                wave_real[tile], wave_imaginary[tile], turn_real[tile], turn_imaginary[tile],
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
                    wave_real[tile], wave_imaginary[tile], sum_real, sum_imaginary, strength[ring], derivatives[tile]
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
    waves = np.empty_like(turn_parts[0]), np.empty_like(turn_parts[1])
    summing = by_ring, np.ascontiguousarray(power, np.float64), np.float32(fraction), with_gradient
    divide(_pattern_bias, len(turn), *turn_parts, *waves, *summing, values, derivatives)
    return float(values.sum()), 2 * np.pi / tile_size * derivatives @ directions.T
