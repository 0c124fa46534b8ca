"""Random input for the tests of the kernels, and comparisons."""

import numpy as np

from restframe.detector.calibration import Calibration, compressed_rows
from restframe.kernels.cpu import Cpu

RAW_TYPES = ["uint8", "int8", "uint16", "int16", "float32"]


def on_cpu(kernels):
    return isinstance(kernels, Cpu)


def random_counts(rng, shape, dtype):
    """Raw counts (t, h, w), some of them negative where the type allows it."""
    frames = rng.poisson(2, shape).astype(dtype)
    return frames - np.int8(1) if np.dtype(dtype).kind in "if" else frames


def random_calibration(rng, t, h, w, dark):
    bad = rng.random((h, w)) < 0.02
    local = rng.normal(0, 0.1, (h, w)).astype(np.float32)
    return Calibration(
        rng.normal(1, 0.1, (h, w)).astype(np.float32),
        rng.normal(0, 0.1, (h, w)).astype(np.float32) if dark else np.zeros((1, 1), np.float32),
        rng.uniform(1, 3, t).astype(np.float32),
        np.full(t, 6, np.float32),
        *compressed_rows(*bad.nonzero(), local[bad], len(bad)),
        local[[0, -1]],
        np.ascontiguousarray(local[:, [0, -1]].T),
    )


def on_device(kernels, calibration):
    """The calibration as the kernels take it."""
    rows = np.repeat(np.arange(len(calibration.row_start) - 1), np.diff(calibration.row_start))
    gain = kernels.mark_bad_pixels(calibration.gain, rows, calibration.bad_columns)
    return calibration._replace(gain=gain, dark=kernels.to_device(calibration.dark))


def random_trajectories(rng, size, uncoupled):
    """Trajectories of ``size`` coefficients; the data say little of the last ``uncoupled``, of each by itself."""
    root = rng.normal(size=(7, size, size + 3))
    root[:, size - uncoupled :] = 0
    information = root @ root.swapaxes(1, 2)
    information[:, range(size - uncoupled, size), range(size - uncoupled, size)] = 1e-7
    return information, rng.normal(0, 3, (7, size, 2)), rng.uniform(0.1, 5, (7, 2, size))


def random_pattern(rng, tiles, frames, rings):
    """Input of `pattern_bias`: how the subtraction of a pattern changes the specimen."""
    directions = rng.normal(size=(2, 7))
    strength, power = rng.uniform(0, 1 / np.sqrt(frames), (frames, rings)), rng.uniform(0, 100, (tiles, rings))
    displacement = rng.normal(0, 8, (tiles, frames, 2))
    return displacement, directions / np.hypot(*directions), strength, power, 0.8 / frames, 96


def stored(kernels, values):
    """Spectra on the device as these kernels store them: in 32 bits on the CPU, for exact comparisons."""
    if on_cpu(kernels):
        return values.copy()
    room = kernels.empty_spectra(values.shape)
    room[...] = kernels.to_device(values)
    return room


def close(found, expected, tolerance=1e-5):
    """Checks that the rms difference is small, relative to the rms of the expected values."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    assert np.sqrt(np.mean((found - expected) ** 2)) <= tolerance * np.sqrt(np.mean(expected**2))


def ring_mask(band):
    """Coefficients (2m+1, m+1) that belong to a ring."""
    return np.round(np.hypot(np.arange(-band, band + 1)[:, None], np.arange(band + 1))) <= band


def in_band(spectra):
    """Spectra (p, 2m+1, m+1) without what lies beyond the last ring."""
    return spectra * ring_mask(spectra.shape[-1] - 1)
