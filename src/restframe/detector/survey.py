"""First look at a movie: its plain sum, the bad pixels in it, the levels of its frames, and the small frames on which
motion is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from restframe.detector.calibration import Calibration, by_row
from restframe.detector.defects import event_size, find_defects, places
from restframe.detector.orientation import BetterOrientation, better_orientation
from restframe.detector.references import References
from restframe.detector.small import STEPS, BinnedFrames, decimation_taps, empty_binned_frames
from restframe.movie import RawFrames

OUTLIER = 20.0  # standard deviations of a single frame's pixels


@dataclass(frozen=True, eq=False)
class Survey:
    calibration: Calibration
    rows: np.ndarray  # of the bad pixels
    columns: np.ndarray
    shape: tuple[int, int]
    better: BetterOrientation | None = None  # how the gain, turned further, would fit the movie better

    @property
    def bad(self) -> np.ndarray:
        """(h, w) bool"""
        out = np.zeros(self.shape, bool)
        out[self.rows, self.columns] = True
        return out


def survey_frames(
    kernels, raw: RawFrames, references: References, look_for_defects: bool, factor: int
) -> tuple[Survey, BinnedFrames]:
    """Two passes over the frames: their sum, then, with the bad pixels known, their levels and the small frames.

    ``factor``: unbinned pixels in a small one; 0: no small frames are needed.
    """
    t, h, w = raw.shape
    gain = np.ones((h, w), np.float32) if references.gain is None else references.gain
    dark = np.zeros((1, 1), np.float32) if references.dark is None else references.dark
    on_device = kernels.to_device(gain), kernels.to_device(dark)
    total = kernels.zeros((h, w), _sum_dtype(raw.dtype))
    sums = np.empty(t)
    middle = None
    for part, block in raw.blocks():
        frames = kernels.to_device(block)
        sums[part] = kernels.add_frames(frames, *on_device, total)
        if part.start <= t // 2 < part.stop:
            middle = frames[t // 2 - part.start :][:1].copy()

    total = total.astype(np.float32)
    if dark.size > 1:
        total -= np.float32(t) * on_device[1]
    better = None
    if references.gain is not None:
        better = better_orientation(total, on_device[0][:: references.enlarged, :: references.enlarged])
    total *= on_device[0]
    known = on_device[0] == 0
    if references.bad is not None:
        known |= kernels.to_device(references.bad)
    bad = find_defects(kernels, total, known) if look_for_defects else known
    rows, columns = map(kernels.to_host, places(bad))
    mean = kernels.mean_of_good_pixels(total, bad)
    local = kernels.local_mean(total, bad, 31, mean) / np.float32(mean) - 1 if mean > 0 else 0 * total
    del total, known, bad

    def levels(frames, sums: np.ndarray) -> np.ndarray:
        """Mean corrected counts of the good pixels."""
        wrong = kernels.pixel_counts(frames, rows, columns).astype(np.float64)
        wrong = (wrong - (dark[rows, columns] if dark.size > 1 else 0)) * gains
        return ((sums - wrong.sum(1)) / max(h * w - len(rows), 1)).astype(np.float32)

    at_bad = kernels.to_device(rows), kernels.to_device(columns)
    values, gains = (kernels.to_host(image[at_bad]) for image in (local, on_device[0]))
    calibration = Calibration(
        kernels.mark_bad_pixels(on_device[0], rows, columns),
        on_device[1],
        np.zeros(t, np.float32),
        np.full(t, np.inf, np.float32),
        *by_row(rows, columns, values, h),
        kernels.to_host(local[[0, -1]]).astype(np.float32),
        np.ascontiguousarray(kernels.to_host(local[:, [0, -1]]).T, np.float32),
    )
    del local
    one = calibration._replace(
        mean_counts=levels(middle, sums[t // 2 :][:1]), outlier_limits=calibration.outlier_limits[:1]
    )
    sd = clean_sd(kernels, middle, one)
    small = empty_binned_frames(kernels, raw.shape if factor else (0, h, w), max(factor, 1))
    taps = decimation_taps(small.factor)
    for part, block in raw.blocks():
        frames = kernels.to_device(block)
        calibration.mean_counts[part] = levels(frames, sums[part])
        calibration.outlier_limits[part] = outlier_limits(calibration.mean_counts[part], float(one.mean_counts[0]), sd)
        if factor:
            kernels.make_binned_frames(frames, calibration.of_frames(part), taps, factor, STEPS, small.stack[part])
    return Survey(calibration, rows, columns, (h, w), better), small


def _sum_dtype(counts: np.dtype) -> type:
    """In which sums over frames are exact, for integers."""
    return np.uint32 if counts.kind == "u" else np.int64 if counts.kind == "i" else np.float64


def clean_sd(kernels, frames, calibration: Calibration) -> float:
    """Standard deviation of the first frame's corrected counts, its top thousandth left out; in sparse frames at least
    a quarter of an electron, so that a few in one pixel are no outlier.
    """
    sample = kernels.corrected_frame(frames, calibration, 0).ravel()[::7]
    xp = array_namespace(sample)
    (top,) = kernels.order_statistics(sample, (int(0.999 * (sample.size - 1)),))
    sd = kernels.standard_deviation(sample[sample <= top])
    return max(sd, 0.25 * event_size(kernels, sample + calibration.mean_counts[0], xp.zeros(sample.shape, dtype=bool)))


def outlier_limits(levels: np.ndarray, middle: float, sd: float) -> np.ndarray:
    """Corrected counts (t,) above which a pixel of one frame is taken for a cosmic ray.

    20 standard deviations, which grow with the root of the level from ``sd`` in the frame of level ``middle``.
    """
    return (levels + OUTLIER * sd * np.sqrt(np.maximum(levels / max(middle, 1e-6), 1))).astype(np.float32)
