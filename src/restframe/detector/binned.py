"""Binned frames, on which motion is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from restframe.arrays import Array, FloatArray

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels

LEVELS_PER_DEVIATION = 12
"""Levels of a binned frame's 8 bits per standard deviation. Rounding adds 6e-4 to the power of the noise."""

BINNED_SHORT_SIDE_PX = 2048  # about this many binned pixels along the short side
TAPS_PER_BINNED_PIXEL = 6  # length of the low-pass filter
PASSED_NYQUIST_FRACTION = 0.95  # cut-off of the low-pass filter

Coordinate = TypeVar("Coordinate", float, FloatArray)


@dataclass(frozen=True, eq=False)
class BinnedFrames:
    """Binned frames in 8 bits per pixel: `LEVELS_PER_DEVIATION` per standard deviation, cut at ten deviations."""

    stack: Array  # (t, h // factor, w // factor) int8, where the kernels work
    factor: int  # unbinned pixels per binned pixel

    @property
    def n_frames(self) -> int:
        return len(self.stack)

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) in binned pixels."""
        height, width = self.stack.shape[1:]
        return height, width

    def frame(self, index: int) -> Array:
        """Frame ``index``, (h, w) float32, with mean zero and noise of variance one."""
        return self.stack[index] * np.float32(self.scale)

    @property
    def scale(self) -> float:
        """Factor from the numbers of the stack to standard deviations."""
        return 1 / LEVELS_PER_DEVIATION

    def unbinned(self, coordinate: Coordinate) -> Coordinate:
        """Unbinned coordinate of the centre of the binned pixel at ``coordinate``."""
        return self.factor * coordinate + (self.factor - 1) / 2


def empty_binned_frames(kernels: Kernels, shape: tuple[int, int, int], factor: int) -> BinnedFrames:
    """Zeros for the binned frames of frames of ``shape`` (t, h, w), where the kernels work."""
    frame_count, height, width = shape
    return BinnedFrames(kernels.zeros((frame_count, height // factor, width // factor), np.int8), factor)


def binning_factor(shape: tuple[int, int]) -> int:
    """Unbinned pixels per binned pixel for frames of ``shape`` (h, w)."""
    return max(1, round(min(shape) / BINNED_SHORT_SIDE_PX))


def decimation_taps(factor: int) -> FloatArray:
    """Taps (n,) float32 of the low-pass filter before every ``factor``-th pixel is taken.

    A sinc with its cut-off at 0.95 of the binned Nyquist frequency, times a Hamming window, symmetric about the middle
    of the ``factor`` pixels that one binned pixel covers.
    """
    if factor == 1:
        return np.ones(1, np.float32)
    tap_count = TAPS_PER_BINNED_PIXEL * factor + factor % 2
    position = np.arange(tap_count) - (tap_count - 1) / 2
    taps: FloatArray = np.sinc(position * PASSED_NYQUIST_FRACTION / factor) * np.hamming(tap_count)
    normalized: FloatArray = (taps / taps.sum()).astype(np.float32)
    return normalized
