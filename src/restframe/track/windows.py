"""How tiles are looked at: through a taper, and more where there is more to see (`specimen.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from restframe.kernels.reference import hat_functions


@dataclass(frozen=True, eq=False)
class Windows:
    """Of each tile: ``taper`` (size,) along y times the same along x, times what ``lattice`` (p, n+1, n+1) says at the
    corners of n x n equal cells, bilinearly between; the sum of squares is one.
    """

    taper: np.ndarray
    lattice: np.ndarray

    @cached_property
    def corners(self) -> np.ndarray:
        """(n + 1,) along an axis, in pixels from the middle of the tile."""
        n = self.lattice.shape[1] - 1
        return (np.arange(n + 1) / n - 0.5) * len(self.taper)

    @cached_property
    def share(self) -> np.ndarray:
        """(p,) of a tile's coefficients, as many as are independent, or seen by no other tile: (sum w²)² / sum w⁴ of
        ``lattice`` squares w², of its pixels.
        """
        return 1 / (len(self.taper) ** 2 * squares(self.taper, self.lattice**2))

    @cached_property
    def weight(self) -> np.ndarray:
        """(p, n+1, n+1) of each corner in means over what a tile shows of motion: the power seen there, squared."""
        reach = self.taper**2 @ hat_functions(len(self.taper), self.lattice.shape[1] - 1)
        weight = np.outer(reach, reach) * self.lattice**4
        return weight / weight.sum((1, 2), keepdims=True)


def squares(taper: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Sums over the pixels of the squares of such windows, (p,)."""
    hats = hat_functions(len(taper), lattice.shape[1] - 1) * taper[:, None]
    overlap = hats.T @ hats
    return np.einsum("pij,pij->p", lattice, overlap @ lattice @ overlap)


def cells(size: int) -> int:
    """Into how many cells a tile's side is cut: the fewest, from its root on, that are equal."""
    return next(n for n in range(int(np.ceil(size**0.5)), size + 1) if size % n == 0)


def make_windows(taper: np.ndarray, corners: np.ndarray, weight: np.ndarray, shape: tuple[int, int]) -> Windows:
    """For tiles whose first pixels at rest are ``corners`` (p, 2) y, x, in small frames (h, w) = ``shape``.

    ``weight``: an image of the whole frame, of any size: how much each place counts (`specimen.py`).
    """
    n = cells(len(taper))
    steps = np.arange(n + 1) * (len(taper) / n)
    y, x = ((c[:, None] + steps) * (m / s) - 0.5 for c, m, s in zip(corners.T, weight.shape, shape, strict=True))
    lattice = np.sqrt(sampled(weight, y, x))
    return Windows(taper, lattice / np.sqrt(squares(taper, lattice))[:, None, None])


def sampled(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """At rows ``y`` (p, m) and columns ``x`` (p, n), bilinearly, beyond the edges as there: (p, m, n)."""
    (i, down), (j, across) = (_between(at, length) for at, length in zip((y, x), image.shape, strict=True))
    i, j, down, across = i[:, :, None], j[:, None, :], down[:, :, None], across[:, None, :]
    upper, lower = (image[k, j] + across * (image[k, j + 1] - image[k, j]) for k in (i, i + 1))
    return upper + down * (lower - upper)


def _between(at: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    at = np.clip(at, 0, length - 1)
    first = np.minimum(at.astype(int), length - 2)
    return first, at - first
