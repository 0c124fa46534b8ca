"""A counting camera: its gain, its defects, and the counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import DTypeLike

from restframe.arrays import AnyArray, Array, FloatArray, IntArray
from restframe.cores import available_cores
from restframe.simulate.recipe import Recipe

ROWS_PER_STREAM = 256
"""Rows that share a stream of random numbers, so that the counts do not depend on the number of threads."""
CAMERA_STREAM = 4
MIN_SENSITIVITY, MAX_SENSITIVITY = 0.4, 2.5
MAX_DEFECT_RATE = 100  # counts per frame


@dataclass(frozen=True, eq=False)
class Camera:
    """The sensitivity of each pixel, and the rates of broken pixels."""

    gain: Array  # (h, w) float32 of NumPy or CuPy: multiplies the counts
    defects: IntArray  # (n, 4): x, y, width, height in pixels
    rates: FloatArray  # (n,) counts per frame in each pixel of a defect, whatever falls on it; 0: dead

    def expected_counts(self, electrons: Array) -> Array:
        """Mean counts of a frame (h, w), given the mean electrons on each pixel."""
        counts = electrons / self.gain
        rows, columns, rates = self._defect_pixels
        counts[rows, columns] = rates
        return counts

    @cached_property
    def _defect_pixels(self) -> tuple[Array, Array, Array]:
        """Rows, columns and rates of the pixels of all defects, each (n,), in arrays of the same kind as the gain."""
        rates_by_pixel = {}
        for (left, top, width, height), rate in zip(self.defects.tolist(), self.rates.tolist(), strict=True):
            for row in range(top, top + height):
                # where defects overlap, the later one counts
                rates_by_pixel.update({(row, column): rate for column in range(left, left + width)})
        positions = np.array(list(rates_by_pixel), int).reshape(-1, 2)
        rates = np.array(list(rates_by_pixel.values()), np.float32)
        array_module = array_namespace(self.gain)
        rows, columns = (array_module.asarray(positions[:, axis].copy()) for axis in (0, 1))
        return rows, columns, array_module.asarray(rates)


def detector_amplitude(frequency: Array, pixel_size: float) -> Array:
    """sqrt(0.92 - 0.45 k / k_Nyquist): the root of a counting camera's DQE, by which the signal is multiplied.

    The noise stays white. ``frequency``: k in 1/A, any shape; ``pixel_size``: A.
    """
    return np.sqrt(np.clip(0.92 - 0.45 * 2 * pixel_size * frequency, 0, None))


def make_camera(recipe: Recipe, array_module: Any = np) -> Camera:
    """Draw a gain (mean sensitivity 1) and defects.

    All random numbers are NumPy's; ``array_module`` (NumPy or CuPy) does the other work.
    """
    random = np.random.default_rng([recipe.seed, CAMERA_STREAM])
    gain = (1 / _draw_sensitivity(recipe, random, array_module)).astype(np.float32)

    _, height, width = recipe.shape
    relative_area = height * width / 4096**2
    hot_count, dead_count, cluster_count = (
        round(count * relative_area) for count in (recipe.hot, recipe.dead, recipe.clusters)
    )
    if recipe.clusters and not cluster_count:
        cluster_count = 1
    single_count = hot_count + dead_count
    sizes = np.ones((single_count + cluster_count, 2), int)
    sizes[single_count:] = random.integers(2, 6, (cluster_count, 2))
    origins = (random.uniform(size=sizes.shape) * (np.array([width, height]) - sizes + 1)).astype(int)
    mean_count = recipe.frame_dose * recipe.pixel_size**2
    rates = mean_count * 10 ** random.uniform(0.7, 1.6, len(sizes))  # 5 to 40 times the mean
    rates[hot_count:single_count] = 0
    defects = np.hstack([origins, sizes])
    return Camera(gain if array_module is np else gain.get(), defects, np.minimum(rates, MAX_DEFECT_RATE))


def _draw_sensitivity(recipe: Recipe, random: np.random.Generator, array_module: Any) -> Array:
    """(h, w): a smooth part, which varies over the frame, times a part that is independent in each pixel."""
    _, height, width = recipe.shape
    y, x = (array_module.arange(height) / height)[:, None], (array_module.arange(width) / width)[None]
    smooth = array_module.zeros((height, width))
    for _ in range(6):
        cycles_x, cycles_y = random.uniform(-2, 2, 2)
        smooth += array_module.cos(2 * np.pi * (cycles_x * x + cycles_y * y + random.uniform()))
    smooth = (smooth - smooth.mean()) / (smooth.std() or 1.0)
    sensitivity = 1 + recipe.gain_smooth * smooth
    white = array_module.asarray(random.standard_normal((height, width), np.float32))
    sensitivity = sensitivity * (1 + recipe.gain_white * white)
    sensitivity = array_module.clip(sensitivity, MIN_SENSITIVITY, MAX_SENSITIVITY)
    sensitivity /= sensitivity.mean()
    return sensitivity


def draw_counts(mean: FloatArray, seed: tuple[int, ...], dtype: DTypeLike = np.uint8) -> AnyArray:
    """Poisson counts with means (h, w); values above the largest of ``dtype`` are clipped to it.

    Each block of rows has its own counter-based stream, determined by ``seed`` and the number of the block: equal
    seeds give equal counts.
    """
    counts = np.empty(mean.shape, dtype)
    largest_count = np.iinfo(counts.dtype).max

    def draw_block(block: int) -> None:
        rows = slice(block * ROWS_PER_STREAM, (block + 1) * ROWS_PER_STREAM)
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence([*seed, block])))
        counts[rows] = np.minimum(random.poisson(mean[rows]), largest_count)

    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(draw_block, range(-(-len(mean) // ROWS_PER_STREAM))))
    return counts
