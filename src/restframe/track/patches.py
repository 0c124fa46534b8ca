"""Local motion patch by patch, as the logs list it."""

from __future__ import annotations

import numpy as np

from restframe.result import PatchShifts
from restframe.track import fit as ft
from restframe.track.field import MotionField

WEAK = 0.05  # of the median information: such a patch hardly counted
REACH = 8.0  # small pixels from the field within which a patch's own peak is believed


def patch_centres(shape: tuple[int, int], patches: tuple[int, int]) -> np.ndarray:
    """(p, 2) x, y in unbinned pixels, x fastest, of an even division of the frame (h, w)."""
    nx, ny = patches
    x = (np.arange(nx) + 0.5) * shape[1] / nx
    y = (np.arange(ny) + 0.5) * shape[0] / ny
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def tiles_of_patches(
    centres: np.ndarray, tiles: np.ndarray, shape: tuple[int, int], patches: tuple[int, int]
) -> np.ndarray:
    """Tiles whose centres lie in each patch, else the nearest one: (patches, tiles) bool."""
    away = np.abs(centres[:, None] - tiles[None])
    inside = (away[..., 0] <= shape[1] / patches[0] / 2) & (away[..., 1] <= shape[0] / patches[1] / 2)
    nearest = np.argmin((away**2).sum(-1), axis=1)
    inside[np.arange(len(centres)), nearest] |= ~inside.any(1)
    return inside


def patch_shifts_from_field(field: MotionField, patches: tuple[int, int]) -> PatchShifts:
    """Shifts at the patch centres of motion that is known: nothing was measured, so ``raw`` is the field too."""
    centres = patch_centres(field.shape, patches)
    local = np.moveaxis(field(*centres.T) - field.global_displacement()[:, None], 0, 1)  # (patches, t, 2)
    shifts = -(local - local[:, :1])
    return PatchShifts(centres, shifts, shifts, np.zeros(shifts.shape[:2], bool))


def patch_shifts(
    problem: ft.Problem, information: np.ndarray, slopes: np.ndarray, field: MotionField, patches: tuple[int, int]
) -> PatchShifts:
    """Shifts at the patch centres relative to the whole frame's and to the first frame.

    ``raw`` is where the patch's own correlation with the other frames' sum peaks, to second order about the field.
    ``information`` (p, t, t) and ``slopes`` (p, t, 2): of the log likelihood there, by each tile's displacement.
    """
    factor = problem.tiles.factor
    centres = patch_centres(field.shape, patches)
    local = np.moveaxis(
        field(centres[:, 0], centres[:, 1]) - field.global_displacement()[:, None], 0, 1
    )  # (patches, t, 2)
    mine = tiles_of_patches(centres, problem.tiles.centres, field.shape, patches).astype(float)
    slope = np.tensordot(mine, slopes, 1)
    curvature = mine @ np.diagonal(information, axis1=1, axis2=2)  # (patches, t)
    step = slope / np.maximum(curvature, 1e-12)[..., None]
    raw = local + factor * np.clip(step, -REACH, REACH)
    return PatchShifts(centres, -(raw - raw[:, :1]), -(local - local[:, :1]), curvature < WEAK * np.median(curvature))
