"""Spectra of tiles are stored in 16 bits, which halves what has to be read."""

from __future__ import annotations

import numpy as np

from restframe import pages
from restframe.arrays import Array, IntArray
from restframe.kernels.cpu.scalars import Real
from restframe.loops import inner_loop

STORAGE_STEP = np.float32(1 / 256)  # value of one unit; rounding adds 3e-6 to the power of the noise, which is one


def empty_spectra(shape: tuple[int, ...]) -> IntArray:
    """Room for spectra of tiles: 16-bit integers, in units of `STORAGE_STEP`."""
    stored: IntArray = pages.zeros(shape, np.int16, in_order=False)
    return stored


@inner_loop()
def storage_step(stored: Array) -> Real:
    """The value of one unit of ``stored``; 1 for floating point numbers."""
    return STORAGE_STEP if stored.itemsize == 2 else np.float32(1)


@inner_loop()
def store(values: Array, stored: Array) -> None:
    """Values to where they are stored, rounded if that is in 16 bits."""
    if stored.itemsize == 2:
        for x in range(len(values)):
            stored[x] = np.rint(min(max(values[x] / STORAGE_STEP, np.float32(-32767)), np.float32(32767)))
    else:
        for x in range(len(values)):
            stored[x] = values[x]
