"""First look at a movie: its plain sum, the bad pixels in it, the mean counts of its frames, and the binned frames on
which motion is measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace
from scipy import ndimage

from restframe.arrays import Array, BoolArray, FloatArray, IntArray
from restframe.detector.binned import LEVELS_PER_DEVIATION, BinnedFrames, decimation_taps, empty_binned_frames
from restframe.detector.calibration import Calibration, compressed_rows
from restframe.detector.camera_arrays import CameraArrays, camera_arrays
from restframe.detector.constant import constant_pixels
from restframe.detector.defects import (
    positions_in_mask,
    standing_pixels,
)
from restframe.detector.frame_statistics import frame_standard_deviation, outlier_limits
from restframe.detector.narrow_suspects import NarrowSuspects, SuspectPixels
from restframe.detector.orientation import GainCheck, check_gain
from restframe.detector.references import References
from restframe.detector.smooth import CELL_PX, cell_map, enlarged, smooth_surface
from restframe.detector.suspects import (
    Suspects,
    find_suspects,
)
from restframe.movie import RawFrames
from restframe.spectrum_tiles import UNCORRECTED_TILES_ALONG_SIDE, tile_corners, tile_side

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels

FILLING_MEAN_SIDE_PX = 31  # side of the square whose mean replaces a bad pixel
BRIGHT_SPECIMEN = 2.0  # times its largest count is no cosmic ray
BEAM_EDGE_PX = 8  # from a place without light
MANY_SUSPECTS = 0.03  # of all pixels: narrow suspects that are as many are the specimen or a wrong gain
FEW_BAD = 1e-4  # of all pixels: fewer make no region that is wider than the filling square
FEW_GOOD_CELLS = 0.2  # share of good cells in the filling square; below, a smooth surface gives the local mean
MAX_RELATIVE = 100.0  # of a pixel in a tile that is kept: float16 ends at 65504
FILLED_EXCESS = 0.3  # relative excess of broad defects that are filled; weaker ones are left in the sums


@dataclass(frozen=True, eq=False)
class Survey:
    """What the first look at a movie finds."""

    calibration: Calibration
    bad_rows: IntArray  # (bad,) rows of the bad pixels, in ascending order
    bad_columns: IntArray  # (bad,)
    shape: tuple[int, int]  # (h, w) of the frames
    suspects: Suspects | None = None  # None: nothing was looked for
    local: FloatArray | None = None  # (h, w) relative local mean, where there are broad suspects
    relative: FloatArray | None = None  # (h, w) sum relative to the mean, less one, where there are broad suspects
    gain_check: GainCheck | None = None  # None: there is no gain reference, or one too small to be compared
    uncorrected_tiles: FloatArray | None = None  # (n, side, side) parts of the sum, relative to their mean, less one

    @property
    def bad_mask(self) -> BoolArray:
        """Mask (h, w) of the bad pixels."""
        mask = np.zeros(self.shape, bool)
        mask[self.bad_rows, self.bad_columns] = True
        return mask

    @property
    def bad_positions(self) -> IntArray:
        """Bad pixels, (n, 2) x, y."""
        return np.stack([self.bad_columns, self.bad_rows], 1)


def survey_frames(
    kernels: Kernels, raw: RawFrames, references: References, look_for_defects: bool, factor: int
) -> tuple[Survey, BinnedFrames]:
    """Survey a movie in two passes over its frames.

    The first pass adds up the frames, in which bad pixels are found. With these known, the second one finds the mean
    counts of the frames and makes the binned frames. ``factor``: unbinned pixels per binned pixel; 0: no binned frames
    are needed. Raises `InputError` for a damaged frame.
    """
    camera = camera_arrays(kernels, references, raw.shape[1:])
    total, sums = _sum_frames(kernels, raw, camera)
    total = _counts_above_dark(total, camera, len(raw))
    gain_check = None
    if references.gain is not None:
        gain_check = check_gain(total, camera.gain[:: references.enlarged, :: references.enlarged])
    total *= camera.gain
    known = _known_bad_pixels(kernels, camera, references)
    masks = SuspectPixels(known) if not look_for_defects else _suspect_pixels(kernels, total, known, raw, sums)
    bad = masks.filled(kernels)
    local = _relative_local_mean(kernels, total, bad | kernels.to_device(masks.broad) if masks.has_broad else bad)
    pixels = _bad_pixels(kernels, bad, camera)
    uncorrected_tiles = _uncorrected_tiles(kernels, total, bad)
    del bad
    calibration = _calibration_without_counts(kernels, local, pixels, camera, len(raw))
    narrow = NarrowSuspects(kernels, masks, total, local, camera, len(raw))
    relative = _relative_excess(kernels, total, local, masks) if masks.has_broad else None
    del total
    host_local = kernels.to_host(local) if masks.has_broad else None
    del local
    binned = _second_pass(kernels, raw, calibration, pixels, sums, factor, narrow)
    suspects = narrow.suspects(calibration.mean_counts) if look_for_defects else None
    survey = Survey(calibration, pixels.rows, pixels.columns, raw.shape[1:], suspects, host_local, None, gain_check)
    return replace(survey, relative=relative, uncorrected_tiles=uncorrected_tiles), binned


def _uncorrected_tiles(kernels: Kernels, total: Array, bad: Array) -> FloatArray:
    """Parts of the sum before the correction, whose spectrum people compare with that after it.

    Bad pixels have the mean of their tile. float16 holds the noise of a relative sum to a hundredth or better.
    """
    xp, side = array_namespace(total), tile_side(total.shape)
    tiles = []
    for row, column in tile_corners(total.shape, UNCORRECTED_TILES_ALONG_SIDE):
        tile = total[row : row + side, column : column + side]
        mean = float(tile.mean())
        filled = xp.where(bad[row : row + side, column : column + side], xp.float32(mean), tile)
        relative = kernels.to_host(filled) / mean - 1 if mean > 0 else np.zeros((side, side))
        tiles.append(np.clip(relative, -MAX_RELATIVE, MAX_RELATIVE).astype(np.float16))
    return np.stack(tiles)


def with_decision(
    kernels: Kernels, survey: Survey, references: References, camera: BoolArray, broad_camera: BoolArray
) -> Survey:
    """The survey whose bad pixels are those of the camera.

    ``camera``: (n,) narrow suspects that are the camera's; ``broad_camera``: (h, w) broad ones. Of these, what differs
    little from its surroundings is left as it is. What lies outside the beam is left, too. Bright specimen is not taken
    for cosmic rays.
    """
    suspects = survey.suspects
    if suspects is None or (camera[suspects.is_core].all() and not broad_camera.any() and not suspects.unlit.any()):
        return survey
    mask = survey.bad_mask
    values = np.zeros(survey.shape, np.float32)
    values[survey.bad_rows, survey.bad_columns] = survey.calibration.bad_values
    released = suspects.is_core & (~camera | _at_beam_edge(suspects))
    mask[suspects.rows[released], suspects.columns[released]] = False
    mask &= ~suspects.unlit
    if broad_camera.any() and survey.local is not None and survey.relative is not None:
        filled = broad_camera & (np.abs(survey.relative) > FILLED_EXCESS)
        mask |= filled
        values[filled] = survey.local[filled]
    rows, columns = positions_in_mask(mask)
    row_start, bad_columns, bad_values = compressed_rows(rows, columns, values[rows, columns], survey.shape[0])
    gain = camera_arrays(kernels, references, survey.shape).gain
    specimen = suspects.largest[np.unique(suspects.region[released])]
    limits = np.maximum(survey.calibration.outlier_limits, BRIGHT_SPECIMEN * specimen.max(initial=0))
    calibration = survey.calibration._replace(
        outlier_limits=limits.astype(np.float32),
        gain=kernels.mark_bad_pixels(gain, rows, columns),
        row_start=row_start,
        bad_columns=bad_columns,
        bad_values=bad_values,
    )
    return replace(survey, calibration=calibration, bad_rows=rows, bad_columns=columns)


def _at_beam_edge(suspects: Suspects) -> BoolArray:
    """Narrow suspects, (n,), of regions that touch a place without light: the edge of the beam, no defects."""
    if not suspects.unlit.any() or not suspects.region_count:
        return np.zeros(len(suspects.rows), bool)
    near = ndimage.binary_dilation(suspects.unlit, iterations=BEAM_EDGE_PX)[suspects.rows, suspects.columns]
    return np.asarray((np.bincount(suspects.region, near, suspects.region_count) > 0)[suspects.region])


@dataclass(frozen=True, eq=False)
class _FrameSums:
    """What the first pass over the frames finds beside their sum."""

    by_frame: FloatArray  # (t,) float64 sum over all pixels of (raw - dark) * gain
    middle_frame: Array  # (1, h, w) raw counts of the frame in the middle of the movie
    constant: Array  # (h, w) bool where the kernels work, pixels that never change (`constant.py`)
    unlit: BoolArray  # (h, w) on the host, what gets no light


def _sum_frames(kernels: Kernels, raw: RawFrames, camera: CameraArrays) -> tuple[Array, _FrameSums]:
    """The sum of the raw counts of all frames, (h, w), exact for integers; and the sums of single frames."""
    frame_count, height, width = raw.shape
    total = kernels.zeros((height, width), _exact_sum_dtype(raw.dtype))
    by_frame = np.empty(frame_count)
    middle = frame_count // 2
    middle_frame = None
    some_frames = []
    for part, block in raw.blocks():
        frames = kernels.to_device(block)
        by_frame[part] = kernels.add_frames(frames, camera.gain, camera.dark, total)
        if part.start <= middle < part.stop:
            middle_frame = frames[middle - part.start :][:1].copy()
            some_frames.append(middle_frame[0])
        some_frames += [
            frames[frame - part.start].copy() for frame in {0, frame_count - 1} if part.start <= frame < part.stop
        ]
    constant, unlit = constant_pixels(kernels, total, some_frames, frame_count, raw.dtype)
    return total, _FrameSums(by_frame, middle_frame, constant, unlit)


def _exact_sum_dtype(counts: np.dtype[Any]) -> npt.DTypeLike:
    """Type of numbers in which sums over frames are exact, if the counts are integers."""
    if counts.kind == "u":
        return np.uint32
    if counts.kind == "i":
        return np.int64
    return np.float64


def _counts_above_dark(total: Array, camera: CameraArrays, frame_count: int) -> Array:
    """Sum of raw - dark, (h, w) float32."""
    counts = total.astype(np.float32)
    if camera.has_dark:
        counts -= np.float32(frame_count) * camera.dark
    return counts


def _known_bad_pixels(kernels: Kernels, camera: CameraArrays, references: References) -> Array:
    """Mask (h, w) of pixels whose gain is zero or that the user lists."""
    known = camera.gain == 0
    if references.bad is not None:
        known |= kernels.to_device(references.bad)
    return known


def _suspect_pixels(kernels: Kernels, total: Array, known: Array, raw: RawFrames, sums: _FrameSums) -> SuspectPixels:
    """All that stands out in ``total`` (h, w), corrected counts, beside ``known`` pixels."""
    xp = array_namespace(total)
    constant, unlit = sums.constant, sums.unlit
    certain = known | constant | ~xp.isfinite(total)
    excluded = certain | kernels.to_device(unlit) if unlit.any() else certain
    single, deviation = standing_pixels(kernels, total, excluded)
    masks = find_suspects(kernels, xp.where(single, np.float32(0), total), deviation, single)
    del deviation
    host_excluded = kernels.to_host(excluded)
    narrow = kernels.to_host(single) & ~host_excluded
    if 0 < masks.narrow.sum() < MANY_SUSPECTS * narrow.size:
        narrow |= masks.narrow & ~host_excluded
    return SuspectPixels(
        certain, narrow, masks.broad & ~narrow & ~host_excluded if masks.broad.any() else masks.broad, unlit
    )


def _relative_local_mean(kernels: Kernels, total: Array, bad: Array) -> Array:
    """(local mean / mean) - 1 of the good pixels of ``total``, (h, w) float32; 0 where the mean is not above zero.

    In the middle of wide bad regions it comes from a smooth surface through what is around them.
    """
    mean = kernels.mean_of_good_pixels(total, bad)
    if not mean > 0:
        return 0 * total
    local = kernels.local_mean(total, bad, FILLING_MEAN_SIDE_PX, mean) / np.float32(mean) - 1
    if float(array_namespace(bad).mean(bad)) < FEW_BAD:
        return local
    cells = cell_map(kernels, total, bad)
    cells_across = FILLING_MEAN_SIDE_PX // CELL_PX
    few_good = ndimage.uniform_filter(cells.share, cells_across) < FEW_GOOD_CELLS
    if few_good.any():
        xp = array_namespace(total)
        surface = smooth_surface(cells.mean, cells.share, cells_across / np.sqrt(12)) / mean - 1
        wide = kernels.to_device(enlarged(few_good, total.shape))
        local = xp.where(wide, kernels.to_device(enlarged(surface, total.shape).astype(np.float32)), local)
    return local


def _relative_excess(kernels: Kernels, total: Array, local: Array, masks: SuspectPixels) -> FloatArray:
    """Sum relative to the mean, less the local mean, (h, w) on the host."""
    mean = kernels.mean_of_good_pixels(total, masks.filled(kernels))
    return np.asarray(kernels.to_host(total / np.float32(max(mean, 1e-6)) - 1 - local))


@dataclass(frozen=True, eq=False)
class _BadPixels:
    """Bad pixels in the order of rows, on the host."""

    rows: IntArray  # (bad,)
    columns: IntArray  # (bad,)
    gain: FloatArray  # (bad,) float32
    dark: FloatArray | float  # (bad,) float32, or 0 where there is no dark reference
    good_count: int  # number of the other pixels, at least 1


def _bad_pixels(kernels: Kernels, bad: Array, camera: CameraArrays) -> _BadPixels:
    device_rows, device_columns = positions_in_mask(bad)
    rows, columns = kernels.to_host(device_rows), kernels.to_host(device_columns)
    gain = kernels.to_host(camera.gain[device_rows, device_columns])
    dark = camera.host_dark[rows, columns] if camera.has_dark else 0.0
    return _BadPixels(rows, columns, gain, dark, max(bad.size - len(rows), 1))


def _calibration_without_counts(
    kernels: Kernels, local: Array, pixels: _BadPixels, camera: CameraArrays, frame_count: int
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
    kernels: Kernels,
    raw: RawFrames,
    calibration: Calibration,
    pixels: _BadPixels,
    sums: _FrameSums,
    factor: int,
    narrow: NarrowSuspects,
) -> BinnedFrames:
    """Fill in the mean counts and the outlier limits of ``calibration``; make the binned frames.

    Notes the counts of ``narrow`` suspects.
    """
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
        narrow.take(kernels, part, frames)
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
