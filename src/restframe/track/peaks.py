"""Peaks of cross-correlation surfaces, and whether they are significant."""

from __future__ import annotations

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.kernels.interface import Kernels

SIGNIFICANT_HEIGHT = 6.0  # standard deviations; chance does not reach it among 2e5 samples


def significant_peaks(kernels: Kernels, surfaces: Array) -> tuple[FloatArray, FloatArray]:
    """Positions of the peaks of ``surfaces`` (t, h, w), (t, 2) x, y in samples; and the height of each surface's own
    peak in its standard deviation, (t,).

    Surfaces whose peak is not significant are averaged with as many neighbours in time as it takes.
    """
    frame_count = len(surfaces)
    positions, heights = find_peaks(kernels, surfaces)
    for frame in np.flatnonzero(heights <= SIGNIFICANT_HEIGHT):
        for reach in (1, 2, 4, 8, frame_count):
            mean_surface = surfaces[max(frame - reach, 0) : frame + reach + 1].mean(0)
            position, height = find_peaks(kernels, mean_surface[None])
            if height[0] > SIGNIFICANT_HEIGHT or 2 * reach + 1 >= frame_count:
                break
        positions[frame] = position[0]
    return positions, heights


def find_peaks(kernels: Kernels, surfaces: Array) -> tuple[FloatArray, FloatArray]:
    """Position of the maximum of each periodic surface (t, h, w), (t, 2) x, y in samples; and its height in the
    surface's standard deviation, (t,).
    """
    frame_count, height, width = surfaces.shape
    maximum, peak_heights = kernels.correlation_peaks(surfaces)
    row, column = np.divmod(maximum, width)
    near_rows, near_columns = (row[:, None] + (-1, 0, 1)) % height, (column[:, None] + (-1, 0, 1)) % width
    index = np.arange(frame_count)[:, None, None], near_rows[:, :, None], near_columns[:, None, :]
    neighbourhoods = kernels.to_host(surfaces[tuple(map(kernels.to_device, index))])
    offset = np.array([subsample_offset(neighbourhood)[::-1] for neighbourhood in neighbourhoods])
    signed_column = (column + width // 2) % width - width // 2
    signed_row = (row + height // 2) % height - height // 2
    return np.stack([signed_column, signed_row], -1) + offset, peak_heights


def subsample_offset(neighbourhood: FloatArray) -> tuple[float, float]:
    """Offset (dy, dx) of the maximum of parabolas through the middle of 3 x 3 samples, each at most half a sample."""
    return _parabola_maximum(*neighbourhood[:, 1]), _parabola_maximum(*neighbourhood[1, :])


def _parabola_maximum(before: float, middle: float, after: float) -> float:
    curvature = before - 2 * middle + after
    return float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0
