"""The gather: tiles of output pixels whose running images stay in the cache, a few frames at a time.

A row is resampled in runs over which the whole-pixel part of the displacement is the same. The weights are polynomials
of the sub-pixel part. So the loops are long and need no table.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.detector.calibration import Calibration
from restframe.kernels.cpu.corrected import (
    CALIBRATION_TYPE,
    RAW_TYPE,
    RawArrays,
    calibration_arrays,
    corrected_span,
    raw_arrays,
)
from restframe.kernels.cpu.scalars import Real
from restframe.kernels.cpu.threads import divide
from restframe.kernels.interface import Resampling
from restframe.kernels.polynomials import weight_polynomials
from restframe.loops import compiled_loop, inner_loop

TILE_ROWS, TILE_COLUMNS = 16, 1024  # output pixels
FRAMES_PER_BLOCK = 4


@inner_loop()
def _interpolate_along_row(grid_rows: Array, first: int, count: int, spacing: int, displacement: Array) -> None:
    """The displacement of ``count`` pixels along a row of grid points, and its change from there to the next row.

    ``grid_rows``: two rows (2, columns, 2), used from column ``first``. ``displacement``: four parts of `TILE_COLUMNS`:
    x, its change, y, its change.
    """
    for axis in range(2):
        for x in range(0, count, spacing):
            column = first + x // spacing
            value = grid_rows[0, column, axis]
            change = grid_rows[1, column, axis] - value
            slope = (grid_rows[0, column + 1, axis] - value) / np.float32(spacing)
            change_slope = (grid_rows[1, column + 1, axis] - grid_rows[1, column, axis]) / np.float32(spacing) - slope
            for step in range(spacing if spacing < count - x else count - x):
                displacement[2 * axis * TILE_COLUMNS + x + step] = value + np.float32(step) * slope
                displacement[(2 * axis + 1) * TILE_COLUMNS + x + step] = change + np.float32(step) * change_slope


@inner_loop(fastmath={"contract", "nsz"})
def _resample(
    row0: Array,
    row1: Array,
    row2: Array,
    row3: Array,
    displacement: Array,
    fraction_y: Real,
    centre_x: Real,
    centre_y: Real,
    polynomials: Array,
    resampled: Array,
) -> None:
    """Output pixels of a run from four rows of samples.

    ``fraction_y``: position between two rows of grid points. ``centre_x``, ``centre_y``: the whole-pixel displacement
    plus 1/2. ``polynomials`` (3, 4): of w1 + w2 in s², of (w1 - w2) / s and of (w0 - w3) / s; w0 + w3 = 1 - (w1 + w2).
    """
    a0, a1, a2, a3 = polynomials[0, 0], polynomials[0, 1], polynomials[0, 2], polynomials[0, 3]
    b0, b1, b2, b3 = polynomials[1, 0], polynomials[1, 1], polynomials[1, 2], polynomials[1, 3]
    c0, c1, c2, c3 = polynomials[2, 0], polynomials[2, 1], polynomials[2, 2], polynomials[2, 3]
    half, one = np.float32(0.5), np.float32(1)
    for x in range(len(resampled)):
        offset = displacement[x] + fraction_y * displacement[x + TILE_COLUMNS] - centre_x
        square = offset * offset
        inner = a0 + square * (a1 + square * (a2 + square * a3))
        inner_odd = offset * (b0 + square * (b1 + square * (b2 + square * b3)))
        outer_odd = offset * (c0 + square * (c1 + square * (c2 + square * c3)))
        outer = one - inner
        x0, x1, x2, x3 = outer + outer_odd, inner + inner_odd, inner - inner_odd, outer - outer_odd  # twice the weights
        offset = displacement[x + 2 * TILE_COLUMNS] + fraction_y * displacement[x + 3 * TILE_COLUMNS] - centre_y
        square = offset * offset
        inner = a0 + square * (a1 + square * (a2 + square * a3))
        inner_odd = offset * (b0 + square * (b1 + square * (b2 + square * b3)))
        outer_odd = offset * (c0 + square * (c1 + square * (c2 + square * c3)))
        outer = one - inner
        value = (outer + outer_odd) * (x0 * row0[x] + x1 * row0[x + 1] + x2 * row0[x + 2] + x3 * row0[x + 3])
        value += (inner + inner_odd) * (x0 * row1[x] + x1 * row1[x + 1] + x2 * row1[x + 2] + x3 * row1[x + 3])
        value += (inner - inner_odd) * (x0 * row2[x] + x1 * row2[x + 1] + x2 * row2[x + 2] + x3 * row2[x + 3])
        value += (outer - outer_odd) * (x0 * row3[x] + x1 * row3[x + 1] + x2 * row3[x + 2] + x3 * row3[x + 3])
        resampled[x] = half * half * value


@inner_loop()
def _has_whole_part(displacement: Array, x: int, fraction_y: Real, whole_x: Real, whole_y: Real) -> bool:
    """Whether ``whole_x`` and ``whole_y`` are the whole pixels of the displacement at ``x``."""
    rest_x = displacement[x] + fraction_y * displacement[x + TILE_COLUMNS] - whole_x
    rest_y = displacement[x + 2 * TILE_COLUMNS] + fraction_y * displacement[x + 3 * TILE_COLUMNS] - whole_y
    return bool(rest_x >= 0 and rest_x < 1 and rest_y >= 0 and rest_y < 1)


@inner_loop()
def _next_run(displacement: Array, fraction_y: Real, start: int, count: int, spacing: int) -> tuple[Real, Real, int]:
    """Whole pixels of the displacement at ``start``, and where the run of equal ones ends.

    Displacements are linear from one grid point to the next, so that most are compared at grid points only.
    """
    whole_x = np.floor(displacement[start] + fraction_y * displacement[start + TILE_COLUMNS])
    whole_y = np.floor(displacement[start + 2 * TILE_COLUMNS] + fraction_y * displacement[start + 3 * TILE_COLUMNS])
    end = start + 1
    point = start - start % spacing + spacing
    point = point if point < count else count - 1
    while end < count and _has_whole_part(displacement, point, fraction_y, whole_x, whole_y):
        end = point + 1
        point = point + spacing if point + spacing < count else count - 1
    while end < count and _has_whole_part(displacement, end, fraction_y, whole_x, whole_y):
        end += 1
    return whole_x, whole_y, end


@inner_loop()
def _resample_row(
    strip: Array,
    strip_width: int,
    y: int,
    x: int,
    displacement: Array,
    fraction_y: Real,
    spacing: int,
    polynomials: Array,
    resampled: Array,
) -> None:
    """One output row from corrected rows of ``strip_width``, where it lies at (y, x) if the displacement is zero."""
    count = len(resampled)
    start = np.int64(0)
    half = np.float32(0.5)
    while start < count:
        whole_x, whole_y, end = _next_run(displacement, fraction_y, start, count, spacing)
        row = y + np.int64(whole_y) - 1
        left = x + start + np.int64(whole_x) - 1
        place = row * strip_width + left
        _resample(
            strip[place:], strip[place + strip_width :], strip[place + 2 * strip_width :],
            strip[place + 3 * strip_width :], displacement[start:], fraction_y, whole_x + half, whole_y + half,
            polynomials, resampled[start:end],
        )  # fmt: skip
        start = end


@inner_loop(fastmath={"contract", "nsz"})
def _add_four(
    total: Array,
    first: Array,
    second: Array,
    third: Array,
    fourth: Array,
    first_factor: Real,
    second_factor: Real,
    third_factor: Real,
    fourth_factor: Real,
) -> None:
    """In this order, each sum rounded: as if added one by one."""
    for x in range(len(total)):
        total[x] = (
            ((total[x] + first_factor * first[x]) + second_factor * second[x]) + third_factor * third[x]
        ) + fourth_factor * fourth[x]


@inner_loop()
def _has_nonzero(factors: Array) -> bool:
    for index in range(len(factors)):  # noqa: SIM110 - compiled
        if factors[index] != 0:
            return True
    return False


@inner_loop(fastmath={"contract", "nsz"})
def _add_one(total: Array, row: Array, factor: Real) -> None:
    for x in range(len(total)):
        total[x] += factor * row[x]


@inner_loop()
def _copy(values: Array, place: Array) -> None:
    for x in range(len(values)):
        place[x] = values[x]


@inner_loop()
def _whole_range(points: Array, axis: int) -> Any:
    """The whole pixels of the least and of the greatest displacement of grid points (rows, columns, 2)."""
    least = greatest = points[0, 0, axis]
    for row in range(points.shape[0]):
        for column in range(points.shape[1]):
            value = points[row, column, axis]
            least = value if value < least else least
            greatest = value if value > greatest else greatest
    return np.int64(np.floor(least)), np.int64(np.floor(greatest))


@compiled_loop(
    f"(int64, int64, {RAW_TYPE}, {CALIBRATION_TYPE}, float32[:,:,:,::1], int64, int64, float32[:,::1], int64[::1], "
    "float32[:,::1], float32[:,:,::1])"
)
def _gather(
    first: int,
    end: int,
    raw: RawArrays,
    calibration: tuple[Array, ...],
    grid: Array,
    spacing: int,
    origin: int,
    polynomials: Array,
    frame_indices: Array,
    coefficients: Array,
    images: Array,
) -> None:
    """``frame_indices`` (n,): the frames that are added; ``coefficients`` (r, n): theirs."""
    frame_count = len(frame_indices)
    image_count, height, width = images.shape
    tiles_across = (width + TILE_COLUMNS - 1) // TILE_COLUMNS
    displacement = np.empty(4 * TILE_COLUMNS, np.float32)
    resampled = np.empty(FRAMES_PER_BLOCK * TILE_ROWS * TILE_COLUMNS, np.float32)
    sums = np.empty(image_count * TILE_ROWS * TILE_COLUMNS, np.float32)
    strip = np.empty(0, np.float32)
    for tile in range(first, end):
        top, left = tile // tiles_across * TILE_ROWS, tile % tiles_across * TILE_COLUMNS
        rows = TILE_ROWS if top + TILE_ROWS < height else height - top
        columns = TILE_COLUMNS if left + TILE_COLUMNS < width else width - left
        bottom, right = top + rows, left + columns
        grid_top, grid_bottom = top // spacing, (bottom - 1) // spacing + 2
        grid_left, grid_right = left // spacing, (right - 1) // spacing + 2
        for image in range(image_count):
            for row in range(rows):
                place = (image * TILE_ROWS + row) * TILE_COLUMNS
                _copy(images[image, top + row, left:right], sums[place:])
        for start in range(0, frame_count, FRAMES_PER_BLOCK):
            block_frames = FRAMES_PER_BLOCK if start + FRAMES_PER_BLOCK < frame_count else frame_count - start
            for block_frame in range(block_frames):
                frame = frame_indices[start + block_frame]
                points = grid[frame, grid_top:grid_bottom, grid_left:grid_right]
                least, greatest = _whole_range(points, np.int64(1))
                first_row, last_row = least + top + origin - 2, greatest + bottom + origin + 3
                least, greatest = _whole_range(points, np.int64(0))
                first_column, last_column = least + left + origin - 2, greatest + right + origin + 4
                strip_width = last_column - first_column
                if len(strip) < (last_row - first_row) * strip_width:
                    strip = np.empty((last_row - first_row) * strip_width, np.float32)
                for y in range(first_row, last_row):
                    strip_row = strip[(y - first_row) * strip_width : (y - first_row + 1) * strip_width]
                    corrected_span(raw, frame, y, calibration, first_column, strip_row)
                for y in range(top, bottom):
                    grid_row = y // spacing
                    if y == top or y == grid_row * spacing:
                        grid_rows = grid[frame, grid_row : grid_row + 2]
                        _interpolate_along_row(grid_rows, grid_left, columns, spacing, displacement)
                    fraction_y = np.float32(y - grid_row * spacing) / np.float32(spacing)
                    place = (block_frame * TILE_ROWS + y - top) * TILE_COLUMNS
                    _resample_row(
                        strip, strip_width, y + origin - first_row, left + origin - first_column,
                        displacement, fraction_y, spacing, polynomials, resampled[place : place + columns],
                    )  # fmt: skip
            for row in range(rows):
                for image in range(image_count):
                    factors = coefficients[image, start : start + block_frames]
                    if not _has_nonzero(factors):
                        continue
                    place = (image * TILE_ROWS + row) * TILE_COLUMNS
                    total = sums[place : place + columns]
                    if block_frames == FRAMES_PER_BLOCK:
                        _add_four(
                            total, resampled[row * TILE_COLUMNS :], resampled[(TILE_ROWS + row) * TILE_COLUMNS :],
                            resampled[(2 * TILE_ROWS + row) * TILE_COLUMNS :],
                            resampled[(3 * TILE_ROWS + row) * TILE_COLUMNS :],
                            factors[0], factors[1], factors[2], factors[3],
                        )  # fmt: skip
                    else:
                        for block_frame in range(block_frames):
                            place = (block_frame * TILE_ROWS + row) * TILE_COLUMNS
                            _add_one(total, resampled[place:], factors[block_frame])
        for image in range(image_count):
            for row in range(rows):
                place = (image * TILE_ROWS + row) * TILE_COLUMNS
                _copy(sums[place : place + columns], images[image, top + row, left:])


@compiled_loop("(int64, int64, float32[:,:,::1], int64, float64[:,:,::1])")
def _subpixel_histogram(first: int, end: int, displacements: Array, bins: int, histogram: Array) -> None:
    count = displacements.shape[1]
    for frame in range(first, end):
        for index in range(count):
            x, y = displacements[frame, index, 0], displacements[frame, index, 1]
            position_x, position_y = bins * np.float64(x - np.floor(x)), bins * np.float64(y - np.floor(y))
            left, top = np.int64(position_x), np.int64(position_y)
            fraction_x, fraction_y = position_x - left, position_y - top
            left, top = left % bins, top % bins
            right, bottom = (left + 1) % bins, (top + 1) % bins
            histogram[frame, top, left] += (1 - fraction_y) * (1 - fraction_x)
            histogram[frame, top, right] += (1 - fraction_y) * fraction_x
            histogram[frame, bottom, left] += fraction_y * (1 - fraction_x)
            histogram[frame, bottom, right] += fraction_y * fraction_x
        for y_bin in range(bins):
            for x_bin in range(bins):
                histogram[frame, y_bin, x_bin] /= count


def subpixel_histogram(displacements: Array, bins: int) -> FloatArray:
    histogram = np.zeros((len(displacements), bins, bins))
    divide(_subpixel_histogram, len(displacements), np.ascontiguousarray(displacements), bins, histogram)
    return histogram


def gather(
    frames: Array, calibration: Calibration, resampling: Resampling, coefficients: FloatArray, images: Array
) -> None:
    _, outer_odd, inner_even, inner_odd = 2 * weight_polynomials(resampling.table)
    polynomials = np.stack([inner_even, inner_odd, outer_odd])
    grid = resampling.grid.astype(np.float32, copy=False)
    frame_indices = np.flatnonzero(coefficients.any(0))
    factors = np.ascontiguousarray(coefficients[:, frame_indices], np.float32)
    tiles = -(-images.shape[1] // TILE_ROWS) * -(-images.shape[2] // TILE_COLUMNS)
    input_frames = raw_arrays(frames), calibration_arrays(calibration)
    where = np.ascontiguousarray(grid), resampling.spacing, resampling.origin
    divide(_gather, tiles, *input_frames, *where, polynomials, frame_indices, factors, images)
