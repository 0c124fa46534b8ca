"""Local motion patch by patch, as the logs list it."""

from __future__ import annotations

import numpy as np

from restframe.result import PatchShifts
from restframe.settings import Motion
from restframe.track.measure import Measured

WEAK = 0.05  # of the median information: such a patch hardly counted


def patch_centres(shape: tuple[int, int], patches: tuple[int, int]) -> np.ndarray:
    """(p, 2) x, y in unbinned pixels, x fastest, of an even division of the frame (h, w)."""
    nx, ny = patches
    x = (np.arange(nx) + 0.5) * shape[1] / nx
    y = (np.arange(ny) + 0.5) * shape[0] / ny
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def patch_shifts(measured: Measured, motion: Motion) -> PatchShifts | None:
    """Shifts at the patch centres relative to the whole frame's and to the first frame; None without patches."""
    if min(motion.patches) < 2 or measured.fit is None:
        return None
    field = measured.field
    centres = patch_centres(field.shape, motion.patches)
    local = -(field(centres[:, 0], centres[:, 1]) - field.whole_frame()[:, None])  # (t, p, 2)
    fitted = np.moveaxis(local - local[:1], 0, 1)
    return PatchShifts(centres, fitted.copy(), fitted, np.zeros(fitted.shape[:2], bool))
