"""The most probable path through frames without significant peaks."""

import numpy as np
import pytest

from restframe.detector.binned import LEVELS_PER_DEVIATION, BinnedFrames
from restframe.kernels.cpu import Cpu
from restframe.track.coarse import CoarseSearch, estimate_coarse_shifts
from restframe.track.low_band import low_frequency_band
from restframe.track.path import JUMP_PENALTY, STEP_SD, best_path, most_probable_path
from restframe.track.peaks import SIGNIFICANT_HEIGHT

cpu = Cpu(2)


def every_path(surfaces, grid, centre):
    """The best path by trying all of them."""
    frame_count, grid_count, _ = surfaces.shape
    places = np.array([(x, y) for y in range(grid_count) for x in range(grid_count)])
    best, best_positions = -np.inf, None
    for index in np.ndindex(*(len(places),) * frame_count):
        chosen = places[list(index)]
        positions = centre + grid[chosen]
        price = np.minimum(0.5 * (np.diff(positions, axis=0) ** 2).sum(1) / STEP_SD**2, JUMP_PENALTY).sum()
        value = surfaces[np.arange(frame_count), chosen[:, 1], chosen[:, 0]].sum() - price
        if value > best:
            best, best_positions = value, positions
    return best_positions


@pytest.mark.parametrize("seed", range(6))
def test_no_path_is_better(seed):
    generator = np.random.default_rng(seed)
    grid = np.array([-6.0, 0.0, 6.0])
    surfaces, centre = generator.normal(0, 8, (4, 3, 3)), generator.normal(0, 4, (4, 2))
    np.testing.assert_allclose(best_path(surfaces, grid, centre), every_path(surfaces, grid, centre))


@pytest.mark.parametrize("seed", range(3))
def test_frames_without_significant_peaks(seed):
    """The path is within a few pixels although single frames have no significant peak."""
    generator = np.random.default_rng(seed)
    frame_count, height, width = 30, 256, 240
    frequency_y, frequency_x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    radius = np.hypot(frequency_y, frequency_x)
    specimen = np.fft.rfft2(generator.normal(size=(height, width))) * 0.7 * np.exp(-((radius / 0.04) ** 2))
    true_track = np.cumsum(generator.normal(0, 1.5, (frame_count, 2)), 0)
    true_track[frame_count // 2 :] += (9.0, -7.0)  # a jump
    turns = np.exp(
        -2j * np.pi * (true_track[:, 0, None, None] * frequency_x + true_track[:, 1, None, None] * frequency_y)
    )
    frames = [np.fft.irfft2(specimen * p, s=(height, width)) + generator.normal(size=(height, width)) for p in turns]
    binned = BinnedFrames(np.array(frames, np.float32) * LEVELS_PER_DEVIATION, 1)
    band = low_frequency_band(cpu, binned, 128)
    coarse, peak_heights = estimate_coarse_shifts(cpu, band, CoarseSearch(500.0, 8, 0.1))
    assert peak_heights.min() < SIGNIFICANT_HEIGHT

    def error(track):
        deviation = track - true_track
        return np.sqrt(((deviation - np.median(deviation, 0)) ** 2).sum(1).mean())

    assert error(most_probable_path(cpu, band, coarse)) < 2.5 < 5 < error(coarse)
