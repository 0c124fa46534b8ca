"""Binned frames on which motion is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEPS = 12  # of a small frame's 8 bits in its standard deviation; rounding adds 6e-4 to the noise's power


@dataclass(frozen=True, eq=False)
class BinnedFrames:
    """Small frames, kept in 8 bits a pixel where the kernels work: `STEPS` a standard deviation, cut at ten."""

    stack: np.ndarray  # (t, h // factor, w // factor) int8
    factor: int  # unbinned pixels in a small one

    @property
    def n_frames(self) -> int:
        return len(self.stack)

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) in small pixels."""
        return self.stack.shape[1:]

    def frame(self, i: int) -> np.ndarray:
        """Frame i, (h, w) float32: mean zero, noise of variance one."""
        return self.stack[i] * np.float32(self.scale)

    @property
    def scale(self) -> float:
        """What the stack's numbers are to be multiplied with."""
        return 1 / STEPS

    def unbinned(self, x):
        """Unbinned coordinate of small pixel ``x``: its centre."""
        return self.factor * x + (self.factor - 1) / 2


def empty_binned_frames(kernels, shape: tuple[int, int, int], factor: int) -> BinnedFrames:
    """Room for those of frames ``shape`` (t, h, w), where the kernels work."""
    t, h, w = shape
    return BinnedFrames(kernels.zeros((t, h // factor, w // factor), np.int8), factor)


def binning_factor(shape: tuple[int, int]) -> int:
    """Unbinned pixels in a small one: short sides of about 2048 small pixels."""
    return max(1, round(min(shape) / 2048))


def decimation_taps(factor: int) -> np.ndarray:
    """Low-pass that keeps what the small pixels can hold: a sinc to 0.95 of their Nyquist frequency, Hamming's window.

    Symmetric about the middle of the ``factor`` pixels of each.
    """
    if factor == 1:
        return np.ones(1, np.float32)
    n = 6 * factor + factor % 2
    taps = np.sinc((np.arange(n) - (n - 1) / 2) * 0.95 / factor) * np.hamming(n)
    return (taps / taps.sum()).astype(np.float32)
