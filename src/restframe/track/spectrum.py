"""Power of signal and noise, ring by ring, from how well aligned frames agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import FloatArray
from restframe.track.alignment import AlignedTiles

SMOOTHING_HALF_WIDTHS = (0, 1, 2, 4, 8)  # rings on either side that are averaged, until the signal is significant
SIGNIFICANT_SIGNAL = 3  # standard deviations
LOWEST_STRENGTH = 0.02  # of a tile's signal, of the mean


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power by ring of noise and signal, and how strong the signal of each tile is."""

    noise: FloatArray  # (rings,)
    signal: FloatArray  # (rings,), of a frame without damage
    strength: FloatArray  # (p,), 1 on average

    def tile_signal(self) -> FloatArray:
        """The signal's power in each tile, (p, rings)."""
        return np.asarray(self.strength[:, None] * self.signal[None, :])


def estimate_spectrum(aligned: AlignedTiles, count: FloatArray, excess: FloatArray | float = 1.0) -> Spectrum:
    """Signal S and noise N from the ring sums of |R|² and of sum_t |g_t a_t Y_t|² (`alignment.py`).

    ``count``: (p, rings) independent coefficients of each tile. ``excess``: (rings,) the factor by which the fit has
    made the signal appear larger than it is.

    With b = g a², the expectations for one coefficient are

        E |R|² - E sum_t |g_t a_t Y_t|² = S ((sum b)² - sum b²), the cross terms of all pairs of frames;
        E sum_t |g_t a_t Y_t|² = S sum b² + N sum g² a².

    A tile's strength is the weighted least-squares fit of its cross terms to the pooled signal, shrunk to the mean by
    the ratio of the true variance to the observed one.
    """
    sum_b, sum_b2, noise_weight = aligned.frame_sums
    coefficients = np.maximum(count, 1e-9)
    cross_power = (aligned.sum_power - aligned.frame_power) / coefficients
    pair_weight = np.maximum(sum_b**2 - sum_b2, 1e-30)
    signal = cross_power.sum(0) / pair_weight.sum(0) / excess
    frame_power = (aligned.frame_power / coefficients).sum(0)
    noise = np.maximum((frame_power - (np.maximum(signal, 0) * sum_b2).sum(0)) / noise_weight.sum(0), 1e-6)
    # error of the pooled signal: without any signal, the cross terms of a coefficient have variance (N sum g² a²)²
    signal_error = noise * np.sqrt((noise_weight**2 / coefficients).sum(0)) / pair_weight.sum(0)
    signal = smooth_positive(signal, signal_error)
    variance = (noise * noise_weight + signal * sum_b**2) ** 2 / coefficients
    leverage = np.where(count > 0, signal * pair_weight / variance, 0)
    information = (leverage * signal * pair_weight).sum(1)
    if not information.sum() > 0:
        return Spectrum(noise, signal, np.ones(len(cross_power)))
    strength = (cross_power * leverage).sum(1) / np.maximum(information, 1e-30)
    strength_error = np.sqrt((leverage**2 * variance).sum(1)) / np.maximum(information, 1e-30)
    error_variance = float((strength_error**2).mean())
    true_variance = max(strength.var() - error_variance, 0.0)
    strength = 1 + (strength - 1) * true_variance / (true_variance + error_variance)
    strength = np.maximum(strength, LOWEST_STRENGTH)
    strength /= strength.mean()
    return Spectrum(noise, signal, strength)


def smooth_positive(signal: FloatArray, standard_error: FloatArray) -> FloatArray:
    """Running mean over rings (rings,), over as few rings as make it significant; zero where no width does.

    Rings without a finite ``standard_error`` are not used.
    """
    ring_count, known = len(signal), np.isfinite(standard_error)
    ring_weight = np.where(known, 1 / np.maximum(standard_error, 1e-30) ** 2, 0)
    weighted_signal = np.where(known, ring_weight * signal, 0)
    smoothed = np.zeros(ring_count)
    for half_width in SMOOTHING_HALF_WIDTHS:
        box = np.ones(2 * half_width + 1)
        weight, total = (
            np.convolve(values, box)[half_width : half_width + ring_count] for values in (ring_weight, weighted_signal)
        )
        mean = np.divide(total, weight, out=np.zeros(ring_count), where=known & (weight > 0))
        significant = mean * np.sqrt(weight) > SIGNIFICANT_SIGNAL
        smoothed = np.where((smoothed == 0) & significant, mean, smoothed)
    return smoothed
