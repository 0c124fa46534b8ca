"""Corrected frames, or sums of a few of them, made one after the other so that any number takes no more memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from restframe.arrays import FloatArray
from restframe.detector.calibration import Calibration
from restframe.movie import RawFrames
from restframe.restore.dose import unweighted_plan
from restframe.restore.fourier import finish_images
from restframe.restore.gather import ResamplingMap, gather_groups

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels


def corrected_frame_groups(
    kernels: Kernels, raw: RawFrames, calibration: Calibration, resampling: ResamplingMap, group_size: int
) -> Iterator[FloatArray]:
    """Sums of ``group_size`` successive corrected frames each, (h, w) float32, in the units of the plain sum.

    The kernel's transfer is undone for each image by itself, so that all have flat noise.
    """
    for frames, image in gather_groups(kernels, raw, calibration, resampling, group_size):
        plan = unweighted_plan(frames.stop - frames.start)
        yield finish_images(kernels, image[None], resampling.spec(plan, calibration, frames))["sum"]
