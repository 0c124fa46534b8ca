"""First look at a movie: its plain sum, the bad pixels in it, and the small frames on which motion is measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from restframe.detector.calibration import Calibration, bad_by_row
from restframe.detector.defects import find_defects, local_mean
from restframe.detector.references import References

OUTLIER = 20.0  # standard deviations of a single frame's pixels


@dataclass(frozen=True)
class Survey:
    calibration: Calibration
    bad: np.ndarray  # (h, w) bool


def take_survey(kernels, frames: np.ndarray, references: References, look_for_defects: bool) -> Survey:
    """``frames``: (t, h, w) as stored."""
    t, h, w = frames.shape
    gain = np.ones((h, w), np.float32) if references.gain is None else references.gain
    dark = np.zeros((1, 1), np.float32) if references.dark is None else references.dark
    total = kernels.to_host(kernels.sum_frames(frames)).astype(np.float32)
    if dark.size > 1:
        total -= np.float32(t) * dark
    total *= gain
    known = gain == 0 if references.bad is None else references.bad | (gain == 0)
    bad = find_defects(total, known) if look_for_defects else known
    rows, columns = np.nonzero(bad)
    smooth = local_mean(total, ~bad, 31)
    mean = float(total[~bad].mean(dtype=np.float64)) if len(rows) < bad.size else 0.0
    local = smooth / np.float32(mean) - 1 if mean > 0 else np.zeros_like(smooth)

    on_device = kernels.to_device(gain), kernels.to_device(dark)
    sums = np.array([kernels.frame_sum(frame, *on_device) for frame in frames])
    wrong = kernels.pixels(frames, rows, columns).astype(np.float64)
    wrong = (wrong - (dark[rows, columns] if dark.size > 1 else 0)) * gain[rows, columns]
    levels = (sums - wrong.sum(1)) / max(bad.size - len(rows), 1)
    calibration = Calibration(
        *on_device,
        levels.astype(np.float32),
        np.full(t, np.inf, np.float32),
        *bad_by_row(bad, local),
        local[[0, -1]].astype(np.float32),
        np.ascontiguousarray(local[:, [0, -1]].T, np.float32),
    )
    return Survey(calibration._replace(limits=outlier_limits(kernels, frames, calibration)), bad)


def outlier_limits(kernels, frames, calibration: Calibration) -> np.ndarray:
    """Corrected counts (t,) above which a pixel of one frame is taken for a cosmic ray.

    20 sd of the frame, its top thousandth left out.
    """
    sample = kernels.to_host(kernels.corrected(frames, calibration, len(frames) // 2)).ravel()[::7]
    sd = float(sample[sample <= np.quantile(sample, 0.999)].std())
    level = calibration.levels
    middle = max(float(level[len(level) // 2]), 1e-6)
    return (level + OUTLIER * sd * np.sqrt(np.maximum(level / middle, 1))).astype(np.float32)


def small_factor(shape: tuple[int, int]) -> int:
    """Unbinned pixels in a small one: short sides of about 2048 small pixels."""
    return max(1, round(min(shape) / 2048))


def decimation_taps(factor: int) -> np.ndarray:
    """Low-pass that keeps what the small pixels can hold.

    Symmetric about the middle of the ``factor`` pixels of each.
    """
    if factor == 1:
        return np.ones(1, np.float32)
    return signal.firwin(6 * factor + factor % 2, 0.95 / factor).astype(np.float32)


def small_frame(kernels, frames, calibration: Calibration, factor: int, i: int) -> np.ndarray:
    """Frame i as (h // factor, w // factor) float32: mean zero, noise of variance one."""
    frame = kernels.decimate(kernels.corrected(frames, calibration, i), decimation_taps(factor), factor)
    return frame / max(float(frame.std()), 1e-20)
