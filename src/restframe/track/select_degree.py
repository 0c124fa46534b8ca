"""Is the local motion real? Tiles that were not used to find it must be better explained with it than without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.track import fit as ft


@dataclass(frozen=True)
class ModelSelection:
    degree: int  # highest degree of the modes that are kept; 0: whole frame only
    sentence: str
    numbers: dict[str, float]


def checkerboard(centres: np.ndarray) -> np.ndarray:
    """True for every other tile, (p,)."""
    column = np.unique(centres[:, 0], return_inverse=True)[1]
    row = np.unique(centres[:, 1], return_inverse=True)[1]
    return (row + column) % 2 == 0


def select_degree(problem: ft.Problem, result: ft.Fit, slopes: np.ndarray) -> ModelSelection:
    """Fit each half of a checkerboard of tiles with modes up to every degree, on the likelihood's quadratic form at
    the field, and ask the other half.

    Its log likelihood, less that for whole-frame motion from the same tiles, is the gain; the degree with the largest
    is kept, none when no gain is above zero. ``slopes``: the likelihood's at the field (`likelihood.gradient`).
    """
    half = checkerboard(problem.tiles.centres)
    parts = []
    for keep in (half, ~half):
        data = ft.information(problem, result.likelihood.information, keep)
        parts.append((data, data @ result.x + problem.to_coefficients(slopes * keep[:, None, None])))
    precision = problem.precision(result.prior)
    highest = int(problem.degrees.max())
    gain = np.zeros(highest + 1)
    for degree in range(highest + 1):
        n = problem.slices[int(np.sum(problem.degrees <= degree)) - 1].stop  # modes are in the order of their degrees
        start = result.x[:n]
        for (data, linear), (other, other_linear) in zip(parts, parts[::-1], strict=True):
            among = data[:n, :n]
            x = ft.solve_posterior(among, linear[:n] - among @ start, precision[:n], start).x
            gain[degree] += float(np.sum(other_linear[:n] * x) - 0.5 * np.sum(x * (other[:n, :n] @ x)))
    gain -= gain[0]
    degree = int(np.argmax(gain))
    numbers = {"held_out_gain": float(gain[degree])}
    if degree == 0:
        return ModelSelection(
            0, "Local motion: none that tiles left out of the fit confirm; whole frames only.", numbers
        )
    return ModelSelection(
        degree,
        f"Local motion: degree {degree} of {highest}, confirmed by tiles left out of the fit "
        f"(log likelihood +{gain[degree]:.1f}).",
        numbers,
    )
