"""First look at a movie: its plain sum, the bad pixels in it, the mean counts of its frames, and the binned frames on
which motion is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from restframe.arrays import Array, BoolArray, FloatArray, IntArray
from restframe.detector.binned import LEVELS_PER_DEVIATION, BinnedFrames, decimation_taps, empty_binned_frames
from restframe.detector.calibration import Calibration, compressed_rows
from restframe.detector.defects import counts_per_electron, find_defects, positions_in_mask
from restframe.detector.orientation import GainCheck, check_gain
from restframe.detector.references import References
from restframe.movie import RawFrames

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels

OUTLIER_DEVIATIONS = 20.0  # standard deviations of the pixels of one frame: higher counts come from cosmic rays
FILLING_MEAN_SIDE_PX = 31  # side of the square whose mean replaces a bad pixel
SAMPLE_STEP = 7  # every so many pixels are used for the standard deviation of a frame
KEPT_QUANTILE = 0.999  # of a frame's pixels, for its standard deviation
MIN_DEVIATION_ELECTRONS = 0.25  # smallest standard deviation of sparse frames


@dataclass(frozen=True, eq=False)
class Survey:
    """What the first look at a movie finds."""

    calibration: Calibration
    bad_rows: IntArray  # (bad,) rows of the bad pixels, in ascending order
    bad_columns: IntArray  # (bad,)
    shape: tuple[int, int]  # (h, w) of the frames
    gain_check: GainCheck | None = None  # None: there is no gain reference, or one too small to be compared

    @property
    def bad_mask(self) -> BoolArray:
        """Mask (h, w) of the bad pixels."""
        mask = np.zeros(self.shape, bool)
        mask[self.bad_rows, self.bad_columns] = True
        return mask


def survey_frames(
    kernels: Kernels, raw: RawFrames, references: References, look_for_defects: bool, factor: int
) -> tuple[Survey, BinnedFrames]:
    """Survey a movie in two passes over its frames.

    The first pass adds up the frames, in which bad pixels are found. With these known, the second one finds the mean
    counts of the frames and makes the binned frames. ``factor``: unbinned pixels per binned pixel; 0: no binned frames
    are needed. Raises `InputError` for a damaged frame.
    """
    camera = _camera_arrays(kernels, references, raw.shape[1:])
    total, sums = _sum_frames(kernels, raw, camera)
    total = _counts_above_dark(total, camera, len(raw))
    gain_check = None
    if references.gain is not None:
        gain_check = check_gain(total, camera.gain[:: references.enlarged, :: references.enlarged])
    total *= camera.gain
    bad = _bad_pixel_mask(kernels, total, camera, references, look_for_defects)
    local = _relative_local_mean(kernels, total, bad)
    del total
    pixels = _bad_pixels(kernels, bad, camera)
    del bad
    calibration = _calibration_without_counts(kernels, local, pixels, camera, len(raw))
    del local
    binned = _second_pass(kernels, raw, calibration, pixels, sums, factor)
    return Survey(calibration, pixels.rows, pixels.columns, raw.shape[1:], gain_check), binned


@dataclass(frozen=True, eq=False)
class _CameraArrays:
    """The references of the camera, where the kernels work."""

    gain: Array  # (h, w) float32, ones where there is no gain reference
    dark: Array  # (h, w) float32, or (1, 1) zero where there is no dark reference
    host_dark: FloatArray  # the same on the host

    @property
    def has_dark(self) -> bool:
        return self.host_dark.size > 1


def _camera_arrays(kernels: Kernels, references: References, shape: tuple[int, int]) -> _CameraArrays:
    """References for frames of ``shape`` (h, w)."""
    gain = np.ones(shape, np.float32) if references.gain is None else references.gain
    dark = np.zeros((1, 1), np.float32) if references.dark is None else references.dark
    return _CameraArrays(kernels.to_device(gain), kernels.to_device(dark), dark)


@dataclass(frozen=True, eq=False)
class _FrameSums:
    """What the first pass over the frames finds beside their sum."""

    by_frame: FloatArray  # (t,) float64 sum over all pixels of (raw - dark) * gain
    middle_frame: Array  # (1, h, w) raw counts of the frame in the middle of the movie


def _sum_frames(kernels: Kernels, raw: RawFrames, camera: _CameraArrays) -> tuple[Array, _FrameSums]:
    """The sum of the raw counts of all frames, (h, w), exact for integers; and the sums of single frames."""
    frame_count, height, width = raw.shape
    total = kernels.zeros((height, width), _exact_sum_dtype(raw.dtype))
    by_frame = np.empty(frame_count)
    middle = frame_count // 2
    middle_frame = None
    for part, block in raw.blocks():
        frames = kernels.to_device(block)
        by_frame[part] = kernels.add_frames(frames, camera.gain, camera.dark, total)
        if part.start <= middle < part.stop:
            middle_frame = frames[middle - part.start :][:1].copy()
    return total, _FrameSums(by_frame, middle_frame)


def _exact_sum_dtype(counts: np.dtype[Any]) -> npt.DTypeLike:
    """Type of numbers in which sums over frames are exact, if the counts are integers."""
    if counts.kind == "u":
        return np.uint32
    if counts.kind == "i":
        return np.int64
    return np.float64


def _counts_above_dark(total: Array, camera: _CameraArrays, frame_count: int) -> Array:
    """Sum of raw - dark, (h, w) float32."""
    counts = total.astype(np.float32)
    if camera.has_dark:
        counts -= np.float32(frame_count) * camera.dark
    return counts


def _bad_pixel_mask(
    kernels: Kernels, total: Array, camera: _CameraArrays, references: References, look_for_defects: bool
) -> Array:
    """Mask (h, w) of pixels whose gain is zero, that the user lists, or that stand out in the corrected ``total``."""
    known = camera.gain == 0
    if references.bad is not None:
        known |= kernels.to_device(references.bad)
    return find_defects(kernels, total, known) if look_for_defects else known


def _relative_local_mean(kernels: Kernels, total: Array, bad: Array) -> Array:
    """(local mean / mean) - 1 of the good pixels of ``total``, (h, w) float32; 0 where the mean is not above zero."""
    mean = kernels.mean_of_good_pixels(total, bad)
    if not mean > 0:
        return 0 * total
    return kernels.local_mean(total, bad, FILLING_MEAN_SIDE_PX, mean) / np.float32(mean) - 1


@dataclass(frozen=True, eq=False)
class _BadPixels:
    """Bad pixels in the order of rows, on the host."""

    rows: IntArray  # (bad,)
    columns: IntArray  # (bad,)
    gain: FloatArray  # (bad,) float32
    dark: FloatArray | float  # (bad,) float32, or 0 where there is no dark reference
    good_count: int  # number of the other pixels, at least 1


def _bad_pixels(kernels: Kernels, bad: Array, camera: _CameraArrays) -> _BadPixels:
    device_rows, device_columns = positions_in_mask(bad)
    rows, columns = kernels.to_host(device_rows), kernels.to_host(device_columns)
    gain = kernels.to_host(camera.gain[device_rows, device_columns])
    dark = camera.host_dark[rows, columns] if camera.has_dark else 0.0
    return _BadPixels(rows, columns, gain, dark, max(bad.size - len(rows), 1))


def _calibration_without_counts(
    kernels: Kernels, local: Array, pixels: _BadPixels, camera: _CameraArrays, frame_count: int
) -> Calibration:
    """A calibration whose mean counts and outlier limits are to be filled in; ``local``: relative local mean (h, w)."""
    values = kernels.to_host(local[kernels.to_device(pixels.rows), kernels.to_device(pixels.columns)])
    row_start, bad_columns, bad_values = compressed_rows(pixels.rows, pixels.columns, values, len(local))
    return Calibration(
        gain=kernels.mark_bad_pixels(camera.gain, pixels.rows, pixels.columns),
        dark=camera.dark,
        mean_counts=np.zeros(frame_count, np.float32),
        outlier_limits=np.full(frame_count, np.inf, np.float32),
        row_start=row_start,
        bad_columns=bad_columns,
        bad_values=bad_values,
        edge_rows=kernels.to_host(local[[0, -1]]).astype(np.float32),
        edge_columns=np.ascontiguousarray(kernels.to_host(local[:, [0, -1]]).T, np.float32),
    )


def _second_pass(
    kernels: Kernels, raw: RawFrames, calibration: Calibration, pixels: _BadPixels, sums: _FrameSums, factor: int
) -> BinnedFrames:
    """Fill in the mean counts and the outlier limits of ``calibration``; make the binned frames."""
    frame_count, height, width = raw.shape
    middle_sum = sums.by_frame[frame_count // 2 :][:1]
    middle = calibration._replace(
        mean_counts=_mean_counts(kernels, sums.middle_frame, middle_sum, pixels),
        outlier_limits=calibration.outlier_limits[:1],
    )
    middle_mean = float(middle.mean_counts[0])
    middle_deviation = frame_standard_deviation(kernels, sums.middle_frame, middle)
    binned = empty_binned_frames(kernels, raw.shape if factor else (0, height, width), max(factor, 1))
    taps = decimation_taps(binned.factor)
    for part, block in raw.blocks():
        frames = kernels.to_device(block)
        mean_counts = _mean_counts(kernels, frames, sums.by_frame[part], pixels)
        calibration.mean_counts[part] = mean_counts
        calibration.outlier_limits[part] = outlier_limits(mean_counts, middle_mean, middle_deviation)
        if factor:
            kernels.make_binned_frames(
                frames, calibration.of_frames(part), taps, factor, LEVELS_PER_DEVIATION, binned.stack[part]
            )
    return binned


def _mean_counts(kernels: Kernels, frames: Array, frame_sums: FloatArray, pixels: _BadPixels) -> FloatArray:
    """Mean corrected counts of the good pixels of ``frames`` (n, h, w), (n,) float32.

    ``frame_sums``: (n,) sums of the corrected counts of all pixels.
    """
    bad_counts = kernels.pixel_counts(frames, pixels.rows, pixels.columns).astype(np.float64)
    bad_counts = (bad_counts - pixels.dark) * pixels.gain
    means: FloatArray = ((frame_sums - bad_counts.sum(1)) / pixels.good_count).astype(np.float32)
    return means


def frame_standard_deviation(kernels: Kernels, frames: Array, calibration: Calibration) -> float:
    """Standard deviation of the corrected counts of the first of ``frames`` (t, h, w), without its highest thousandth.

    In sparse frames it is at least a quarter of an electron, so that a few electrons in one pixel are no outlier.
    """
    sample = kernels.corrected_frame(frames, calibration, 0).ravel()[::SAMPLE_STEP]
    xp = array_namespace(sample)
    (highest,) = kernels.order_statistics(sample, (int(KEPT_QUANTILE * (sample.size - 1)),))
    deviation = kernels.standard_deviation(sample[sample <= highest])
    none_bad = xp.zeros(sample.shape, dtype=bool)
    electron = counts_per_electron(kernels, sample + calibration.mean_counts[0], none_bad)
    return max(deviation, MIN_DEVIATION_ELECTRONS * electron)


def outlier_limits(mean_counts: FloatArray, reference_mean: float, reference_deviation: float) -> FloatArray:
    """Corrected counts (t,) above which a pixel of one frame is taken for a cosmic ray.

    mean + 20 standard deviations, where the standard deviation is ``reference_deviation`` in a frame of mean
    ``reference_mean`` and grows with the square root of the mean above that.
    """
    relative_mean = np.maximum(mean_counts / max(reference_mean, 1e-6), 1)
    limits: FloatArray = mean_counts + OUTLIER_DEVIATIONS * reference_deviation * np.sqrt(relative_mean)
    return limits.astype(np.float32)
