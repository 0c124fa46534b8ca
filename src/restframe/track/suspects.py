"""The camera's or the specimen's: whether suspects of the plain sum stand still on the detector or move.

Of every suspect region the frames are added up twice: as they are, and displaced along the motion of the whole frame.
With noise of variance one, the log likelihood that a region shows the same thing in all T frames is the power of its
sum over 2 T, up to a constant. The hypothesis with the larger one holds if they differ by more than chance allows. A
region that seems to stand still is also compared with other motions: a bead that drifts by itself is no defect.

What does not differ is not decided. It is left out where motion is measured and stays in the sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace
from scipy import ndimage

from restframe.arrays import Array, BoolArray, FloatArray, IntArray
from restframe.detector.binned import LEVELS_PER_DEVIATION, BinnedFrames, decimation_taps
from restframe.detector.smooth import CELL_PX, smooth_surface, sum_over_cells
from restframe.detector.suspects import Suspects
from restframe.kernels.interface import Kernels
from restframe.kernels.reference.frames import decimate

CLEAR_DIFFERENCE = 8.0  # of the log likelihoods
CHANCE_DEVIATIONS = 3.0  # standard deviations of the difference by chance, in addition
OWN_DRIFTS = (-3.0, -1.5, 0.0, 1.5, 3.0)  # pixels along an axis over the movie, beside the track or in its place
SINGLE_PIXEL_REGION = 25  # pixels of a region of one suspect pixel and its margin
LARGE_REGION = 4000  # pixels; larger regions have no motion of their own
MAX_OWN_MOTION = 40  # pixels
SMOOTH_SD_CELLS = 5.0  # cells of the binned frames: finest scale of the light on the detector
UNEVEN_LIGHT = 0.3  # standard deviations of a frame's noise, from which on light is subtracted
TOUCHING_PX = 4  # binned pixels between a broad suspect and specimen that it belongs to
SMALL_PIECE = 25  # binned pixels
NOTABLE_MOTION = 1.5  # pixels along an axis over the movie
FILTER_MARGIN = 2  # binned pixels that the decimation filter spreads a suspect over
GOLDEN_RATIO = 0.6180339887  # steps of a sequence that covers an interval evenly


@dataclass(frozen=True, eq=False)
class PixelRegions:
    """Pixels of suspects and what they show."""

    flat: IntArray  # (n,) place in the flattened frame, ascending
    frame_shape: tuple[int, int]
    region: IntArray  # (n,) from 0
    region_count: int
    values: FloatArray  # (t, n) less the local mean, noise of variance one

    @property
    def sizes(self) -> IntArray:
        return np.bincount(self.region, minlength=self.region_count)


@dataclass(frozen=True, eq=False)
class SuspectDecision:
    """Which suspects are the camera's, and which clearly the specimen's; masks in the order of `Suspects`."""

    camera: BoolArray  # (n,) narrow ones
    specimen: BoolArray  # (n,)
    broad_camera: BoolArray  # (h, w)


def decide_narrow(suspects: Suspects, track: FloatArray) -> tuple[BoolArray, BoolArray]:
    """Narrow suspects that are the camera's and the specimen's, (n,) each; ``track``: (t, 2) unbinned pixels."""
    if not suspects.region_count:
        none = np.zeros(len(suspects.rows), bool)
        return none, none
    regions = PixelRegions(
        suspects.rows * suspects.shape[1] + suspects.columns,
        suspects.shape,
        suspects.region,
        suspects.region_count,
        suspects.values,
    )
    verdict = np.where(suspects.constant, 1, decide_regions(regions, track))
    # what no specimen makes, unless it seems to go with a motion that is there
    impossible = suspects.impossible & ((fixed_against_moving(regions, track) > 0) | (not is_notable_motion(track)))
    camera = (verdict > 0) | ((verdict == 0) & impossible)
    return camera[suspects.region], (verdict < 0)[suspects.region]


def is_notable_motion(track: FloatArray) -> bool:
    """Whether displacements (t, 2) in pixels differ enough to tell what moves from what does not."""
    return bool(np.ptp(track, axis=0).max() > NOTABLE_MOTION)


def decide_regions(regions: PixelRegions, track: FloatArray) -> IntArray:
    """Of each region, (regions,): 1 the camera's, -1 the specimen's, 0 not decided; ``track``: (t, 2) x, y pixels."""
    difference = fixed_against_moving(regions, track)
    limit = CLEAR_DIFFERENCE + CHANCE_DEVIATIONS * np.sqrt(regions.sizes)
    verdict = np.where(difference > limit, 1, np.where(difference < -limit, -1, 0))
    order = np.argsort(regions.region, kind="stable")
    ends = np.cumsum(regions.sizes)
    sizes = regions.sizes
    for number in np.flatnonzero((verdict >= 0) & (sizes > SINGLE_PIXEL_REGION) & (sizes < LARGE_REGION)):
        pixels = order[ends[number] - sizes[number] : ends[number]]
        best, notable = fixed_against_own_motion(regions, pixels, track)
        if best < -limit[number]:
            verdict[number] = -1
        elif notable < limit[number]:
            verdict[number] = 0
    return verdict


def fixed_against_moving(regions: PixelRegions, track: FloatArray) -> FloatArray:
    """Log likelihood of "stands still" less that of "moves along ``track``", of each region, (regions,).

    Pixels of the displaced frames that are no suspects count as background, zero.
    """
    height, width = regions.frame_shape
    rows, columns = np.divmod(regions.flat, width)
    fixed_sum = regions.values.sum(0, dtype=np.float64)
    fixed_own = (regions.values.astype(np.float64) ** 2).sum(0)
    moving_sum, moving_own = np.zeros_like(fixed_sum), np.zeros_like(fixed_sum)
    for frame, (step_x, step_y) in enumerate(np.rint(track).astype(int)):
        row, column = rows + step_y, columns + step_x
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        place = row * width + column
        index = np.minimum(np.searchsorted(regions.flat, place), len(regions.flat) - 1)
        values = np.where(inside & (regions.flat[index] == place), regions.values[frame, index], 0).astype(np.float64)
        moving_sum += values
        moving_own += values**2
    power = (fixed_sum**2 - fixed_own) - (moving_sum**2 - moving_own)
    return np.bincount(regions.region, power, regions.region_count) / (2 * len(track))


def fixed_against_own_motion(regions: PixelRegions, pixels: IntArray, track: FloatArray) -> tuple[float, float]:
    """Log likelihood of "stands still" less that of the likeliest of many motions, and of those that move notably.

    ``pixels``: those of one region. The motions are ``track`` (t, 2) and rest, each with a drift of its own.
    """
    rows, columns = np.divmod(regions.flat[pixels], regions.frame_shape[1])
    frame_count = len(track)
    time = np.linspace(-0.5, 0.5, frame_count)[:, None]
    drifts = np.array([(along_x, along_y) for along_x in OWN_DRIFTS for along_y in OWN_DRIFTS])[:, None]
    motions = np.concatenate([track[None] + drifts * time, drifts * time[None]])
    motions = np.rint(motions - motions[:, frame_count // 2 : frame_count // 2 + 1]).astype(int)
    motions = np.clip(motions, -MAX_OWN_MOTION, MAX_OWN_MOTION)
    reach = int(np.abs(motions).max())
    height, width = np.ptp(rows) + 1 + 2 * reach, np.ptp(columns) + 1 + 2 * reach
    place = (rows - rows.min() + reach) * width + columns - columns.min() + reach
    background = np.zeros((frame_count, height * width))
    background[:, place] = regions.values[:, pixels]
    steps = motions[..., 1] * width + motions[..., 0]  # (motions, t)
    frames = np.arange(frame_count)[:, None]

    def shared_power(values: FloatArray) -> float:
        return float((values.sum(0) ** 2 - (values**2).sum(0)).sum())

    powers = np.array([shared_power(background[frames, place[None] + step[:, None]]) for step in steps])
    fixed = shared_power(background[:, place])
    moves = np.abs(motions - motions.mean(1, keepdims=True)).max((1, 2)) >= 1
    notable = powers[moves].max() if moves.any() else fixed
    return (fixed - powers.max()) / (2 * frame_count), (fixed - notable) / (2 * frame_count)


def restore_specimen_in_place(kernels: Kernels, binned: BinnedFrames, suspects: Suspects, specimen: BoolArray) -> None:
    """Put narrow suspects that are the specimen's, (n,), back into the binned frames, where they had been filled."""
    stack, factor = binned.stack, binned.factor
    frame_count, (height, width) = binned.n_frames, binned.shape
    specimen = specimen & suspects.is_core
    rows, columns, values = suspects.rows[specimen], suspects.columns[specimen], suspects.values[:, specimen]
    if not len(rows):
        return
    if factor == 1:
        position = kernels.to_device(rows), kernels.to_device(columns)
        stack[:, position[0], position[1]] = _levels(kernels, values * LEVELS_PER_DEVIATION)
        return
    taps = decimation_taps(factor)
    reach = len(taps) // 2 + factor
    noise_gain = float((taps**2).sum())  # of the decimated noise, both axes together
    region = suspects.region[specimen]
    for number in np.unique(region):
        these = region == number
        first_row, first_column = (
            max(int(place[these].min()) - reach, 0) // factor * factor for place in (rows, columns)
        )
        stop_row, stop_column = (
            min((int(place[these].max()) + reach) // factor + 1, count) * factor
            for place, count in ((rows, height), (columns, width))
        )
        patch = np.zeros((frame_count, stop_row - first_row, stop_column - first_column), np.float32)
        inside = (rows[these] < stop_row) & (columns[these] < stop_column)
        patch[:, rows[these][inside] - first_row, columns[these][inside] - first_column] = values[:, these][:, inside]
        part = (
            slice(None),
            slice(first_row // factor, stop_row // factor),
            slice(first_column // factor, stop_column // factor),
        )
        added = np.stack([decimate(frame, taps, factor) for frame in patch])
        levels = added * np.float32(LEVELS_PER_DEVIATION / noise_gain)
        stack[part] = _levels(kernels, kernels.to_host(stack[part]) + levels)


@dataclass(frozen=True, eq=False)
class HeldBroad:
    """Broad suspects of the binned frames, which were filled, and what stood there."""

    regions: PixelRegions
    rows: IntArray  # (n,) binned pixels
    columns: IntArray  # (n,)
    levels: FloatArray  # (t, n) as in the stack, less the light on the detector


def fill_broad_in_place(kernels: Kernels, binned: BinnedFrames, broad: BoolArray) -> HeldBroad | None:
    """Fill the broad suspects (h, w, unbinned) of the binned frames; None where there are none.

    Light that is uneven on the detector is subtracted everywhere. It is the mean of the frames, smoothed, so it holds
    only waves that say nothing of motion. Rounding differs from frame to frame, so that it leaves no fixed pattern.
    """
    if not broad.any():
        return None
    stack, factor = binned.stack, binned.factor
    height, width = binned.shape
    blocks = broad[: height * factor, : width * factor].reshape(height, factor, width, factor)
    mask = np.asarray(blocks.any((1, 3)))
    if factor > 1:
        mask = np.asarray(ndimage.binary_dilation(mask, iterations=FILTER_MARGIN))
    rows, columns = np.nonzero(mask)
    on_device = kernels.to_device(rows), kernels.to_device(columns)
    light = _light_on_detector(kernels, binned, mask)
    held = kernels.to_host(stack[:, on_device[0], on_device[1]]).astype(np.float32) - light[rows, columns]
    if np.ptp(light) > UNEVEN_LIGHT * LEVELS_PER_DEVIATION:
        xp, light_on_device = array_namespace(stack), kernels.to_device(light.astype(np.float32))
        for frame, image in enumerate(stack):
            dither = np.float32((frame + 0.5) * GOLDEN_RATIO % 1 - 0.5)
            image[:] = xp.clip(image - xp.round(light_on_device + dither), -127, 127).astype(np.int8)
    stack[:, on_device[0], on_device[1]] = 0
    label, count = ndimage.label(mask, np.ones((3, 3), bool))
    regions = PixelRegions(
        rows * width + columns, (height, width), label[rows, columns] - 1, count, held / LEVELS_PER_DEVIATION
    )
    return HeldBroad(regions, rows, columns, held)


def _light_on_detector(kernels: Kernels, binned: BinnedFrames, mask: BoolArray) -> FloatArray:
    """A smooth image (h, w) of the light, in levels of the stack, from where ``mask`` (h, w) is not."""
    weight = (~mask).astype(np.float32)
    total = sum(frame.astype(np.int32) for frame in binned.stack)
    mean = kernels.to_host(total).astype(np.float32) / binned.n_frames
    share = np.asarray(sum_over_cells(weight)) / CELL_PX**2
    cells = np.asarray(sum_over_cells(mean * weight)) / CELL_PX**2 / np.maximum(share, 1e-3)
    surface = smooth_surface(cells, share, SMOOTH_SD_CELLS)
    zoom = mask.shape[0] / surface.shape[0], mask.shape[1] / surface.shape[1]
    return np.asarray(
        ndimage.zoom(surface, zoom, order=1, mode="nearest", grid_mode=True)[: mask.shape[0], : mask.shape[1]]
    )


def decide_broad_in_place(
    kernels: Kernels, binned: BinnedFrames, held: HeldBroad | None, beside: BoolArray, track: FloatArray
) -> BoolArray:
    """Broad suspects that are the camera's, (h, w) binned; puts those of the specimen back into the binned frames.

    ``track``: (t, 2) binned pixels. A region that is not decided and touches specimen, ``beside`` (h, w) binned, goes
    with it. So does a small region next to it, whatever it seems to be: it is a piece of an object most of which is
    narrow suspects, and motion carries it to pixels that it does not know.
    """
    fixed = np.zeros(binned.shape, bool)
    if held is None:
        return fixed
    by_region = decide_regions(held.regions, track)
    touching, next_to = (
        np.bincount(
            held.regions.region,
            ndimage.binary_dilation(beside, iterations=reach)[held.rows, held.columns],
            held.regions.region_count,
        )
        > 0
        for reach in (TOUCHING_PX, 1)
    )
    with_specimen = (by_region == 0) & touching | next_to & (held.regions.sizes <= SMALL_PIECE)
    verdict = np.where(with_specimen, -1, by_region)[held.regions.region]
    moving = verdict < 0
    if moving.any():
        rows, columns = kernels.to_device(held.rows[moving]), kernels.to_device(held.columns[moving])
        binned.stack[:, rows, columns] = _levels(kernels, held.levels[:, moving])
    fixed[held.rows[verdict > 0], held.columns[verdict > 0]] = True
    return fixed


def binned_mask(suspects: Suspects, chosen: BoolArray, binned: BinnedFrames) -> BoolArray:
    """Binned pixels (h, w) of the chosen (n,) narrow suspects."""
    mask = np.zeros(binned.shape, bool)
    rows, columns = suspects.rows[chosen] // binned.factor, suspects.columns[chosen] // binned.factor
    inside = (rows < mask.shape[0]) & (columns < mask.shape[1])
    mask[rows[inside], columns[inside]] = True
    return mask


def unbinned_mask(mask: BoolArray, factor: int, shape: tuple[int, int]) -> BoolArray:
    """A mask of binned pixels as one of ``shape`` (h, w)."""
    enlarged_mask = mask.repeat(factor, 0).repeat(factor, 1)
    missing = [(0, length - part) for length, part in zip(shape, enlarged_mask.shape, strict=True)]
    return np.pad(enlarged_mask, missing)


def _levels(kernels: Kernels, values: FloatArray) -> Array:
    """Values as 8-bit levels where the kernels work."""
    return kernels.to_device(np.clip(np.rint(values), -127, 127).astype(np.int8))


NOTABLE_SHARE = 1e-3  # of the frame that was put back, from which on the coarse motion is measured again


def settle_suspects_in_place(
    kernels: Kernels, binned: BinnedFrames, suspects: Suspects, held: HeldBroad | None, track: FloatArray
) -> tuple[SuspectDecision, bool]:
    """Decide on all suspects, put the specimen's back into the binned frames; and whether that was notable.

    ``track``: (t, 2) binned pixels.
    """
    camera, specimen = decide_narrow(suspects, track * binned.factor)
    restore_specimen_in_place(kernels, binned, suspects, specimen)
    beside = binned_mask(suspects, specimen, binned)
    broad_camera = unbinned_mask(
        decide_broad_in_place(kernels, binned, held, beside, track), binned.factor, suspects.shape
    )
    broad_camera &= suspects.broad
    pixel_count = suspects.shape[0] * suspects.shape[1]
    notable = bool(specimen.sum() > NOTABLE_SHARE * pixel_count)
    return SuspectDecision(camera, specimen, broad_camera), notable


def settle_again_in_place(
    kernels: Kernels, binned: BinnedFrames, suspects: Suspects, decision: SuspectDecision, track: FloatArray
) -> SuspectDecision:
    """Decide on the narrow suspects once more, with a better ``track`` (t, 2) in binned pixels."""
    camera, specimen = decide_narrow(suspects, track * binned.factor)
    camera &= ~decision.specimen
    specimen &= ~decision.specimen
    restore_specimen_in_place(kernels, binned, suspects, specimen)
    return SuspectDecision(camera, specimen | decision.specimen, decision.broad_camera)
