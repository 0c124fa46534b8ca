"""Local motion: a smooth field fitted to the tiles, of a degree that tiles left out of the fit confirm."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from restframe.arrays import FloatArray
from restframe.kernels.interface import Kernels
from restframe.settings import Motion
from restframe.track.blurred import attenuate_blurred_frames_in_place
from restframe.track.field import HIGHEST_DEGREE, Modes, modes_up_to
from restframe.track.fit import Fit, FitOptions, fit_field
from restframe.track.global_motion import motioncor_damping
from restframe.track.likelihood import likelihood_gradient
from restframe.track.prior import Prior
from restframe.track.problem import Problem, mean_modes_over_tiles
from restframe.track.select_degree import ModelSelection, select_degree
from restframe.track.series import FrameSeries
from restframe.track.tiles import Tiles
from restframe.trajectory import intraframe_motion

ITERATIONS_AFTER_SELECTION = 2  # of the fit with fewer modes


@dataclass(frozen=True, eq=False)
class LocalMotion:
    """A field with local motion, and what its report needs."""

    fit: Fit
    gradient: FloatArray  # (p, t, 2) of the log likelihood at the field, by each tile's displacement
    selection: ModelSelection
    unblurred_amplitude: FloatArray  # (t, rings) of the signal, if no frame was blurred


def fit_local_motion(
    kernels: Kernels, series: FrameSeries, global_fit: Fit, motion: Motion, default: Prior
) -> LocalMotion:
    """The most probable field, searched from the global motion; ``default``: the prior before any data.

    Frames count by how much the global motion during each blurs them; the tiles are scaled in place for that. Then the
    degree of the field is selected, and where it is lower than that of the first fit, the field is fitted again. If no
    local motion is confirmed, the result is the global motion as it was found.
    """
    global_gradient = likelihood_gradient(kernels, global_fit.likelihood, global_fit.aligned)
    data = global_fit.problem.data
    unblurred_amplitude = data.signal.amplitude
    motion_per_frame = intraframe_motion(global_fit.amplitudes[0], series.relative_exposures().tolist())
    data = attenuate_blurred_frames_in_place(kernels, data, motion_per_frame)
    data = data.with_damping(motioncor_damping(data.tiles, series.binned.shape, motion, motion.bfactor[1]))
    modes = local_modes(data.tiles, motion.patches)
    problem = with_modes(replace(global_fit.problem, data=data), modes, series.shape)
    tolerance = motion.tolerance / series.binned.factor / 2
    options = FitOptions(motion.iterations, tolerance, default, choose_time_axis=True)
    fit = fit_field(kernels, problem, global_fit.amplitudes, global_fit.prior, options)
    gradient = likelihood_gradient(kernels, fit.likelihood, fit.aligned)

    selection = select_degree(fit, gradient, global_fit, global_gradient)
    if selection.degree == 0:
        return LocalMotion(global_fit, global_gradient, selection, unblurred_amplitude)
    if selection.degree < fit.problem.model.degrees.max():
        modes = tuple(mode for mode in modes if sum(mode) <= selection.degree)
        problem = with_modes(fit.problem, modes, series.shape)
        options = FitOptions(ITERATIONS_AFTER_SELECTION, tolerance, default)
        fit = fit_field(kernels, problem, fit.amplitudes[: len(modes)], fit.prior, options)
        gradient = likelihood_gradient(kernels, fit.likelihood, fit.aligned)
    return LocalMotion(fit, gradient, selection, unblurred_amplitude)


def local_modes(tiles: Tiles, patches: tuple[int, int]) -> Modes:
    """The modes that so many patches, and the tiles, can determine."""
    tiles_across, tiles_down = (len(np.unique(centres)) for centres in tiles.centres.T)
    degree_x, degree_y = min(patches[0], tiles_across) - 1, min(patches[1], tiles_down) - 1
    return modes_up_to(degree_x, degree_y, HIGHEST_DEGREE)


def with_modes(problem: Problem, modes: Modes, frame_shape: tuple[int, int]) -> Problem:
    """The same data for a field of these ``modes``; ``frame_shape``: (h, w) of an unbinned frame."""
    tile_means = mean_modes_over_tiles(modes, problem.data.tiles, frame_shape)
    return replace(problem, model=replace(problem.model, modes=modes, tile_means=tile_means))
