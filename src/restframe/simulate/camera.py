"""A counting camera: gain, defects, and the counts themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array
from restframe.cores import available_cores
from restframe.simulate.recipe import Recipe

_ROWS = 256  # rows that share a stream of random numbers, so that the counts don't depend on the number of threads


@dataclass(frozen=True)
class Camera:
    """Sensitivity of every pixel, and the rate of those that are broken."""

    gain: np.ndarray  # (h, w) float32: multiplies the counts; NumPy's or CuPy's
    defects: np.ndarray  # (n, 4) int: x, y, w, h
    rates: np.ndarray  # (n,) counts a frame in every pixel of a defect, whatever falls on it: 0 is dead

    def expected_counts(self, electrons: np.ndarray) -> np.ndarray:
        """Mean counts of a frame (h, w) on which ``electrons`` fall."""
        out = electrons / self.gain
        rows, columns, rates = self._broken
        out[rows, columns] = rates
        return out

    @cached_property
    def _broken(self):
        """Rows and columns of the pixels of all defects and their rates, each (n,), in arrays like the gain's."""
        rate_of = {}
        for (left, top, w, h), rate in zip(self.defects.tolist(), self.rates.tolist(), strict=True):
            for y in range(top, top + h):
                rate_of.update({(y, x): rate for x in range(left, left + w)})  # a later defect lies on an earlier one
        places, xp = np.array(list(rate_of), int).reshape(-1, 2), array_namespace(self.gain)
        rates = np.array(list(rate_of.values()), np.float32)
        return xp.asarray(places[:, 0].copy()), xp.asarray(places[:, 1].copy()), xp.asarray(rates)


def detector_amplitude(frequency: Array, pixel_size: float) -> Array:
    """sqrt(0.92 - 0.45 k / k_Nyquist): the root of a counting camera's DQE, by which the signal is multiplied.

    The noise stays white. ``frequency``: k in 1/A, any shape; ``pixel_size``: A.
    """
    return np.sqrt(np.clip(0.92 - 0.45 * 2 * pixel_size * frequency, 0, None))


def make_camera(recipe: Recipe, xp: Any = np) -> Camera:
    """Draw gain (mean sensitivity 1) and defects, with NumPy's random numbers; ``xp`` does the rest."""
    rng = np.random.default_rng([recipe.seed, 4])
    _, height, width = recipe.shape
    y, x = (xp.arange(height) / height)[:, None], (xp.arange(width) / width)[None]
    smooth = xp.zeros((height, width))
    for _ in range(6):
        a, b = rng.uniform(-2, 2, 2)
        smooth += xp.cos(2 * np.pi * (a * x + b * y + rng.uniform()))
    smooth = (smooth - smooth.mean()) / (smooth.std() or 1.0)
    sensitivity = 1 + recipe.gain_smooth * smooth
    white = xp.asarray(rng.standard_normal((height, width), np.float32))
    sensitivity = sensitivity * (1 + recipe.gain_white * white)
    sensitivity = xp.clip(sensitivity, 0.4, 2.5)
    sensitivity /= sensitivity.mean()

    area = height * width / 4096**2
    hot, dead, clusters = (round(n * area) for n in (recipe.hot, recipe.dead, recipe.clusters))
    if recipe.clusters and not clusters:
        clusters = 1
    sizes = np.ones((hot + dead + clusters, 2), int)
    sizes[hot + dead :] = rng.integers(2, 6, (clusters, 2))
    corners = (rng.uniform(size=sizes.shape) * (np.array([width, height]) - sizes + 1)).astype(int)
    rates = recipe.frame_dose * recipe.pixel_size**2 * 10 ** rng.uniform(0.7, 1.6, len(sizes))  # 5 to 40 times the mean
    rates[hot : hot + dead] = 0
    gain = (1 / sensitivity).astype(np.float32)
    return Camera(gain if xp is np else gain.get(), np.hstack([corners, sizes]), np.minimum(rates, 100))


def count(mean: np.ndarray, seed: tuple[int, ...], dtype=np.uint8) -> np.ndarray:
    """Poisson counts with this mean (h, w); the largest value of ``dtype`` stands for itself and all above.

    Every block of rows has its own counter-based stream, keyed by ``seed`` and its number: equal seeds, equal counts.
    """
    out = np.empty(mean.shape, dtype)
    top = np.iinfo(dtype).max

    def block(k):
        rows = slice(k * _ROWS, (k + 1) * _ROWS)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([*seed, k])))
        out[rows] = np.minimum(rng.poisson(mean[rows]), top)

    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(block, range(-(-len(mean) // _ROWS))))
    return out
