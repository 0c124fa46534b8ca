"""The fixed pattern: the residue of a gain that does not fit, at the same place on the detector in every frame.

It correlates at zero shift, so it would hold the measured track there. Model: frame t = specimen + h_t F + noise of
power N, where F is the same in every frame and has power P. The noise of every binned frame is one, so h grows with the
root of the exposure. Without specimen, the covariance of the frames is N I + P h h'. Multiplied with the inverse root
of that matrix, which means less a fraction of their sum, the frames are no longer correlated.

The power P is measured at the highest frequency, where most specimens have no signal. An image with detail up to there
correlates, too, but the less the further it has moved between two frames; a fixed pattern correlates equally in all
pairs of frames. `fixed_and_moving_power` separates the two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import FloatArray
from restframe.detector.binned import BinnedFrames
from restframe.kernels.interface import Kernels
from restframe.track.low_band import LowBand
from restframe.track.tiles import Tiles

NOTABLE_POWER = 0.05  # of the pattern in the sum of frames, relative to the noise; a weaker one is not subtracted
LEAKAGE_LIMIT = 1 / 8  # of a frame's side: kx ky in cycles across, up to which edges that differ leak
NOTABLE_MOTION = 0.3  # binned pixels along an axis, from which on specimen and pattern can be separated
COVARIANCE_SAMPLES = 200_000  # of the highest frequency, of each frame
MIN_FIXED_TO_MOVING = 0.25  # of the power of moving specimen; a weaker pattern cannot be told from it
MIN_CORRELATION_SPREAD = 0.02  # standard deviation over pairs of frames; below, nothing separates the two
WAVE_DIRECTIONS = 8  # of each ring, over half a turn, at which the bias is evaluated


@dataclass(frozen=True, eq=False)
class FixedPattern:
    """Power and strength of the fixed pattern; the pattern itself is not needed."""

    power: float  # t P / N: in the sum of the frames, relative to the noise
    strength: FloatArray  # (t,) h, rms one

    @property
    def fraction(self) -> float:
        """The fraction of the frames' sum to subtract from each frame, (1 - 1 / sqrt(1 + t P / N)) / t.

        Zero where the pattern is too weak to matter.
        """
        if self.power <= NOTABLE_POWER:
            return 0.0
        return float(1 - 1 / np.sqrt(1 + self.power)) / len(self.strength)


def estimate_fixed_pattern(kernels: Kernels, binned: BinnedFrames, exposure: FloatArray) -> FixedPattern:
    """The fixed pattern in frames of ``exposure`` (t,), in any unit.

    Its power is the correlation of the frames at zero shift, at the highest frequency along both axes at once, where no
    specimen has signal. Specimens that do have some are `without_moving_specimen`'s task.
    """
    strength = np.sqrt(exposure / exposure.mean())
    sum_power, frame_power = kernels.nyquist_power(binned.stack)  # of 8-bit values: only the ratio counts
    if frame_power == 0:  # no counts, or all the same
        return FixedPattern(0.0, strength)
    frame_count = binned.n_frames
    correlation = sum_power / frame_power - 1  # expected: pairs P / (N + P)
    pairs = strength.sum() ** 2 / frame_count - 1
    return FixedPattern(max(frame_count * correlation / max(pairs - correlation, 1e-6), 0.0), strength)


def without_moving_specimen(
    kernels: Kernels, binned: BinnedFrames, pattern: FixedPattern, track: FloatArray
) -> FixedPattern:
    """The pattern without the part of its power that moves along ``track`` (t, 2), in binned pixels.

    Where nothing moves notably, the pattern is returned as it is.
    """
    if not pattern.fraction or np.ptp(track, axis=0).max() < NOTABLE_MOTION:
        return pattern
    covariance = highest_frequency_covariance(kernels, binned)
    fixed, moving = fixed_and_moving_power(covariance, pattern.strength, track)
    if fixed < MIN_FIXED_TO_MOVING * moving:  # within the error of the specimen's model
        return FixedPattern(0.0, pattern.strength)
    power = binned.n_frames * fixed / max(1 - fixed - moving, 1e-3)
    return FixedPattern(min(max(power, 0.0), pattern.power), pattern.strength)


def highest_frequency_covariance(kernels: Kernels, binned: BinnedFrames) -> FloatArray:
    """(t, t) covariance of the frames at their highest frequency along both axes, from a part of the rows.

    The mean power of a frame is one.
    """
    frame_count, (height, width) = binned.n_frames, binned.shape
    row_step = max(1, (height // 2) * (width // 2) // COVARIANCE_SAMPLES)
    upper_rows = 2 * np.arange(0, height // 2, row_step)
    upper, lower = (
        kernels.to_host(binned.stack[:, kernels.to_device(upper_rows + row), : width // 2 * 2]).astype(np.float32)
        for row in (0, 1)
    )
    component = upper[..., 0::2] - upper[..., 1::2] - lower[..., 0::2] + lower[..., 1::2]
    component = component.reshape(frame_count, -1)
    covariance = component @ component.T
    return np.asarray(covariance / max(float(np.trace(covariance)) / frame_count, 1e-30))


def fixed_and_moving_power(covariance: FloatArray, strength: FloatArray, track: FloatArray) -> tuple[float, float]:
    """Power of the fixed pattern and of the specimen relative to that of a frame, from the covariance (t, t) of frames
    displaced by ``track`` (t, 2).

    Least squares on all pairs of frames of P + S c(d), S >= 0. d is the displacement between two frames, and c the
    correlation of white specimen after it, as differences of neighbouring pixels along both axes see it.
    """
    first, second = np.triu_indices(len(covariance), 1)
    pairs = covariance[first, second] / (strength[first] * strength[second])
    displacement = track[first] - track[second]
    correlation = (np.sinc(displacement) - 0.5 * (np.sinc(displacement - 1) + np.sinc(displacement + 1))).prod(1)
    if correlation.std() < MIN_CORRELATION_SPREAD:
        return float(pairs.mean()), 0.0
    design = np.stack([np.ones_like(correlation), correlation], 1)
    (fixed, moving), *_ = np.linalg.lstsq(design, pairs, rcond=None)
    return (float(fixed), float(moving)) if moving > 0 else (float(pairs.mean()), 0.0)


def subtract_pattern_from_band(band: LowBand, pattern: FixedPattern) -> LowBand:
    """Spectra of whole frames without the pattern.

    Coefficients near the axes become zero: a smooth pattern that is not periodic leaks into them.
    """
    if not pattern.fraction:
        return band
    spectra = band.spectra
    xp, (rows, columns) = array_namespace(spectra), spectra.shape[1:]
    strength = xp.asarray(pattern.strength.astype(np.float32))[:, None, None]
    distance = np.abs(np.fft.fftfreq(rows)[:, None] * rows * np.arange(columns))
    off_axes = distance > LEAKAGE_LIMIT * np.sqrt(band.frame_shape[0] * band.frame_shape[1])
    pattern_sum = (strength * spectra).sum(0)
    subtracted = (spectra - np.float32(pattern.fraction) * strength * pattern_sum) * xp.asarray(off_axes)
    return replace(band, spectra=subtracted)


def subtract_pattern_from_tiles_in_place(kernels: Kernels, tiles: Tiles, pattern: FixedPattern) -> None:
    """The same for tiles. In a tile of frame t, the pattern is displaced by minus the tile's offset."""
    if not pattern.fraction:
        return
    rows, columns = tiles.real.shape[2:]
    ky, kx = np.arange(rows) - rows // 2, np.arange(columns)
    phases = -2 * np.pi / tiles.size * tiles.offsets  # these shift the pattern of each frame to the same place
    row_factors = pattern.strength[:, None] * np.exp(1j * phases[:, 1, None] * ky)
    column_factors = np.exp(1j * phases[:, 0, None] * kx)
    row_factors, column_factors = (
        kernels.to_device(factors.astype(np.complex64)) for factors in (row_factors, column_factors)
    )
    factors = row_factors[:, :, None] * column_factors[:, None, :]
    kernels.subtract_fixed_pattern(tiles.real, tiles.imaginary, factors, pattern.fraction)


@dataclass(frozen=True, eq=False)
class PatternBias:
    """Correction of the likelihood for specimen that was subtracted with the pattern, because it moves so little.

    Uncorrected, the likelihood would drive the frames apart. With the fraction f subtracted, frame t holds
    X (a_t e_t - f h_t V), e_t = exp(-i k·u_t), V = sum_t h_t a_t e_t, of an image X of power S. At the true field, the
    expected slope of W |R|² is then that of W S' A² log(1 - f |V|² / A), A = sum_t a_t², where
    S' = S (1 - f |V|² / A)² is the remaining signal.
    """

    pattern: FixedPattern
    amplitude: FloatArray  # (t, rings): a
    weight: FloatArray  # (p, rings): W S' of each ring, times the number of its coefficients
    size: int  # binned pixels along a side of a tile

    def evaluate(
        self, kernels: Kernels, displacement: FloatArray, with_slopes: bool = True
    ) -> tuple[float, FloatArray]:
        """What to add to the log likelihood at displacements (p, t, 2) in binned pixels, and its slopes (p, t, 2).

        Without ``with_slopes``, slopes are zeros.
        """
        angles = np.pi * np.arange(WAVE_DIRECTIONS) / WAVE_DIRECTIONS
        directions = np.stack([np.cos(angles), np.sin(angles)])
        summed_power = (self.amplitude**2).sum(0)  # A
        strength = self.pattern.strength[:, None] * self.amplitude / np.sqrt(summed_power)
        power = self.weight * summed_power**2 / WAVE_DIRECTIONS
        return kernels.pattern_bias(
            displacement, directions, strength, power, self.pattern.fraction, self.size, with_slopes
        )
