"""Frames that blur: what of the signal is left in them, and what can't be known of where they show the specimen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from array_api_compat import array_namespace

from restframe.track import fit as ft
from restframe.trajectory import intraframe_motion


def attenuate_blurred_frames(kernels, problem: ft.Problem, moved: np.ndarray) -> ft.Problem:
    """The same where frames blur by ``moved`` (t, 2) small pixels each: what that leaves of the signal is its amplitude
    in the frame, sin(k·v/2) / (k·v/2). Scales the tiles in place.
    """
    tiles, m = problem.tiles, problem.tiles.band
    along = kernels.to_device((moved / tiles.size).astype(np.float32)[..., None, None])
    xp = array_namespace(along)
    ky, kx = (xp.arange(a, m + 1, dtype=xp.float32) for a in (-m, 0))
    left = xp.sinc(kx * along[:, 0] + ky[:, None] * along[:, 1])  # (t, 2m+1, m+1)
    kernels.scale_spectra(tiles.re, tiles.im, left)
    power = kernels.ring_sums(left**2, problem.ring, problem.weight)
    kept = np.divide(power, problem.count, where=problem.count > 0, out=np.ones_like(power))
    return replace(problem, amplitude=problem.amplitude * np.sqrt(kept))


def blur_position_error(problem: ft.Problem, result: ft.Fit, unblurred: np.ndarray, exposure: np.ndarray) -> float:
    """Sd of where tiles are seen in frames that blur, both axes together, rms over tiles and frames; small pixels.

    At which time of its exposure a blurred frame shows the specimen depends on the direction of the waves: by as much
    power as it has lost, anywhere on the way that a tile goes meanwhile beside the whole frame's, which is what the
    blur was found from. ``unblurred``: the signal's amplitudes without blur, (t, rings); ``exposure``: (t,).
    """
    u = np.moveaxis(problem.displacement(result.x), 0, 1)
    way = intraframe_motion(u.reshape(len(u), -1), exposure.tolist()).reshape(u.shape)
    way -= way.mean(1, keepdims=True)
    told = problem.count * np.arange(len(problem.count)) ** 2 * result.likelihood.w.mean(0) ** 2  # by ring, of motion
    lost = 1 - (problem.amplitude / unblurred) ** 2 @ told / max(told.sum(), 1e-30)
    return float(np.sqrt((lost * (way**2).sum(2).mean(1)).mean() / 12))
