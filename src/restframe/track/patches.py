"""Local motion patch by patch, as the logs list it."""

from __future__ import annotations

import numpy as np

from restframe.arrays import BoolArray, FloatArray
from restframe.result import PatchShifts
from restframe.track.field import MotionField
from restframe.track.tiles import Tiles

WEAK_INFORMATION = 0.05  # of the median: patches with less had little influence on the field
MAX_DEVIATION = 8.0  # binned pixels from the field, within which a patch's own peak is accepted


def patch_centres(shape: tuple[int, int], patches: tuple[int, int]) -> FloatArray:
    """(p, 2) x, y in unbinned pixels, x fastest, of an even division of the frame (h, w)."""
    across, down = patches
    x = (np.arange(across) + 0.5) * shape[1] / across
    y = (np.arange(down) + 0.5) * shape[0] / down
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def tiles_of_patches(
    centres: FloatArray, tile_centres: FloatArray, shape: tuple[int, int], patches: tuple[int, int]
) -> BoolArray:
    """Tiles whose centres lie in each patch, else the nearest tile: (patches, tiles) bool."""
    distance = np.abs(centres[:, None] - tile_centres[None])
    half_width, half_height = shape[1] / patches[0] / 2, shape[0] / patches[1] / 2
    inside = (distance[..., 0] <= half_width) & (distance[..., 1] <= half_height)
    nearest = np.argmin((distance**2).sum(-1), axis=1)
    inside[np.arange(len(centres)), nearest] |= ~inside.any(1)
    return inside


def local_displacement(field: MotionField, centres: FloatArray) -> FloatArray:
    """Displacement at ``centres`` (p, 2) beside the global motion, (p, t, 2), unbinned pixels."""
    return np.moveaxis(field(*centres.T) - field.global_displacement()[:, None], 0, 1)


def patch_shifts_from_field(field: MotionField, patches: tuple[int, int]) -> PatchShifts:
    """Shifts at the patch centres where the motion was given: nothing was measured, so ``raw`` is the field too."""
    centres = patch_centres(field.shape, patches)
    displacement = local_displacement(field, centres)
    shifts = -(displacement - displacement[:, :1])
    return PatchShifts(centres, shifts, shifts, np.zeros(shifts.shape[:2], bool))


def patch_shifts(
    tiles: Tiles, information: FloatArray, gradient: FloatArray, field: MotionField, patches: tuple[int, int]
) -> PatchShifts:
    """Shifts at the patch centres, relative to the global shift and to the first frame.

    ``raw`` is the maximum of the patch's own correlation with the sum of the other frames, to second order about the
    field. ``information`` (p, t, t) and ``gradient`` (p, t, 2): of the log likelihood at the field, by each tile's
    displacement.
    """
    centres = patch_centres(field.shape, patches)
    displacement = local_displacement(field, centres)
    membership = tiles_of_patches(centres, tiles.centres, field.shape, patches).astype(float)
    patch_gradient = np.tensordot(membership, gradient, 1)
    curvature = membership @ np.diagonal(information, axis1=1, axis2=2)  # (patches, t)
    step = patch_gradient / np.maximum(curvature, 1e-12)[..., None]
    measured = displacement + tiles.factor * np.clip(step, -MAX_DEVIATION, MAX_DEVIATION)
    return PatchShifts(
        centres,
        raw=-(measured - measured[:, :1]),
        fitted=-(displacement - displacement[:, :1]),
        weak=curvature < WEAK_INFORMATION * np.median(curvature),
    )
