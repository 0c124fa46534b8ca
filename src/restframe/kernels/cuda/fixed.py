"""What is fixed on the detector, taken off the spectra of tiles, and the specimen that goes with it, on the GPU."""

from __future__ import annotations

import numpy as np

from restframe.kernels.cuda.arrays import BLOCK, blocks_of, empty, to_device, to_host
from restframe.kernels.cuda.source import launch


def subtract_fixed_pattern(re, im, turns, part) -> None:
    """As in reference.py, for spectra of `empty_spectra`."""
    p, t, ny, nx = re.shape
    arguments = re, im, turns, t, ny, nx, re.strides[-2] // re.itemsize, float(part)
    launch("fixed", "take_off", (blocks_of(ny * nx), p), BLOCK, arguments)


def pattern_bias(displacement, across, strength, power, part, size, slopes=True) -> tuple[float, np.ndarray]:
    """As in reference.py."""
    (p, t, _), directions, rings = displacement.shape, across.shape[1], power.shape[1]
    tables = displacement / size, across, strength, power
    value, out = empty(p, np.float64), empty((p, t, 2), np.float64) if slopes else None
    arguments = *(to_device(v.astype(np.float32)) for v in tables), t, directions, rings, float(part), value, out
    launch("fixed", "put_back", (p,), BLOCK, arguments, 8 * (t + directions * rings))
    total = float(to_host(value).sum())
    return total, np.zeros((p, t, 2)) if out is None else 2 * np.pi / size * to_host(out)
