"""Measuring motion, from binned frames to the motion field: one step after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from restframe import pages
from restframe.arrays import BoolArray
from restframe.detector.suspects import Suspects
from restframe.kernels.interface import Kernels
from restframe.settings import Exposure, Motion
from restframe.track.coarse import CoarseMotion, measure_coarse_motion
from restframe.track.field import HIGHEST_DEGREE, MotionField
from restframe.track.global_motion import fit_global_motion, local_motion_is_wanted, make_tile_data
from restframe.track.local_motion import fit_local_motion
from restframe.track.prior import default_prior
from restframe.track.report import Measured, report_global_motion, report_local_motion, with_standing_places
from restframe.track.series import FrameSeries, reference_frame
from restframe.track.standing import cells_to_pixels
from restframe.track.suspects import (
    SuspectDecision,
    fill_broad_in_place,
    settle_again_in_place,
    settle_suspects_in_place,
)

__all__ = ["FrameSeries", "Measured", "measure", "reference_frame"]

TYPICAL_PIXEL_SIZE = 1.0  # A, where it is not given
MAX_SEARCHES = 3  # for places that stand still


def measure(
    kernels: Kernels, series: FrameSeries, motion: Motion, exposure: Exposure, suspects: Suspects | None = None
) -> Measured:
    """The motion of a movie, and which ``suspects`` are the camera's.

    Uses the binned frames up: their memory is released when the tiles have been cut.
    """
    if series.frame_count < 2:
        field = MotionField.at_rest(series.frame_count, series.shape)
        return Measured(field, notes=("One frame: nothing to align.",))
    pixel_size = (exposure.pixel_size or TYPICAL_PIXEL_SIZE) * series.binned.factor
    default = default_prior(pixel_size, HIGHEST_DEGREE)

    coarse_result = measure_beside_suspects(kernels, series, motion, pixel_size, suspects)
    coarse = coarse_result.motion
    pages.trim_heap()
    data = make_tile_data(kernels, series, coarse, exposure)
    global_fit = fit_global_motion(kernels, series, data, coarse, motion, default)
    if local_motion_is_wanted(motion):
        local = fit_local_motion(kernels, series, global_fit, motion, default)
        measured = report_local_motion(kernels, series, local, motion, coarse)
    else:
        measured = report_global_motion(kernels, series, global_fit, coarse)
    measured = with_standing_places(measured, coarse_result.standing, series.binned.factor)
    return replace(measured, decision=coarse_result.decision)


@dataclass(frozen=True, eq=False)
class CoarseResult:
    """The coarse motion, and what does not take part in measuring motion."""

    motion: CoarseMotion
    decision: SuspectDecision | None  # None: nothing was looked for
    standing: BoolArray | None  # (h, w) binned pixels that stand still while the rest moves; None: there are none


def measure_beside_suspects(
    kernels: Kernels, series: FrameSeries, motion: Motion, pixel_size: float, suspects: Suspects | None
) -> CoarseResult:
    """The coarse motion without the suspects, and then what they are; the specimen's are put back."""
    binned = series.binned
    held = fill_broad_in_place(kernels, binned, suspects.broad) if suspects is not None else None
    coarse, standing = measure_what_moves(kernels, series, motion, pixel_size)
    if suspects is None:
        return CoarseResult(coarse, None, standing)
    decision, is_notable = settle_suspects_in_place(kernels, binned, suspects, held, coarse.track)
    if is_notable:
        coarse = measure_coarse_motion(kernels, series, motion, pixel_size, standing)
        decision = settle_again_in_place(kernels, binned, suspects, decision, coarse.track)
    return CoarseResult(coarse, decision, standing)


def measure_what_moves(
    kernels: Kernels, series: FrameSeries, motion: Motion, pixel_size: float
) -> tuple[CoarseMotion, BoolArray | None]:
    """The coarse motion without places that stand still while the rest moves; these are filled in the binned frames.

    Returns them as mask (h, w) of binned pixels, None where there are none.
    """
    binned, standing = series.binned, None
    coarse = measure_coarse_motion(kernels, series, motion, pixel_size)
    for _ in range(MAX_SEARCHES):
        if coarse.standing is None:
            break
        more = cells_to_pixels(coarse.standing, binned.shape)
        standing = more if standing is None else standing | more
        rows, columns = map(kernels.to_device, np.nonzero(more))
        binned.stack[:, rows, columns] = 0
        coarse = measure_coarse_motion(kernels, series, motion, pixel_size, standing)
    return coarse, standing
