"""The posterior of the path through frames without clear peaks."""

import numpy as np
import pytest

from restframe.detector.binned import LEVELS_PER_DEVIATION, BinnedFrames
from restframe.kernels.cpu import Cpu
from restframe.track.coarse import CLEAR_HEIGHT, CoarseSearch, estimate_coarse_shifts, is_ambiguous
from restframe.track.low_band import low_frequency_band
from restframe.track.path import JUMP_PROBABILITY, likelihood_scales, path_posterior, path_probability, step_probability

cpu = Cpu(2)
SEARCH = CoarseSearch(500.0, 8, 0.1)


def probability_of_all_paths(surfaces, grid, centre, step_variances, reference):
    """Sums over every path."""
    frame_count, grid_count, _ = surfaces.shape
    places = [(row, column) for row in range(grid_count) for column in range(grid_count)]
    probability = np.zeros_like(surfaces)
    steps = [step_probability(centre[i + 1] - centre[i], grid, step_variances[i]) for i in range(frame_count - 1)]
    for index in np.ndindex(*(len(places),) * frame_count):
        path = [places[i] for i in index]
        if path[reference] != (grid_count // 2, grid_count // 2):
            continue
        weight = np.exp(sum(surfaces[frame][place] for frame, place in enumerate(path) if frame != reference))
        for (step_x, step_y), old, new in zip(steps, path[:-1], path[1:], strict=True):
            by_step = step_y[new[0], old[0]] * step_x[new[1], old[1]]
            weight *= (1 - JUMP_PROBABILITY) * by_step + JUMP_PROBABILITY / grid_count**2
        for frame, place in enumerate(path):
            probability[frame][place] += weight
    return probability / probability.sum((1, 2), keepdims=True)


@pytest.mark.parametrize("variances", [(9.0, 30.0, 4.0), (0.5, 2.0, 30.0)])
def test_probabilities_are_those_of_all_paths(variances):
    generator = np.random.default_rng(1)
    grid = np.array([-6.0, 0.0, 6.0])
    arguments = generator.normal(0, 3, (4, 3, 3)), grid, generator.normal(0, 4, (4, 2)), np.array(variances), 2
    np.testing.assert_allclose(path_probability(*arguments), probability_of_all_paths(*arguments), atol=1e-12)


def movie_band(image_spectrum, track, noise, generator, shape=(256, 240)):
    """The low band of frames with an image that moves along ``track`` and white noise."""
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    frames = [
        np.fft.irfft2(image_spectrum * np.exp(-2j * np.pi * (x * kx + y * ky)), s=shape)
        + noise * generator.normal(size=shape)
        for x, y in track
    ]
    return low_frequency_band(cpu, BinnedFrames(np.array(frames, np.float32) * LEVELS_PER_DEVIATION, 1), 128)


def rms_error(track, true_track):
    deviation = track - true_track
    return np.sqrt(((deviation - deviation.mean(0)) ** 2).sum(1).mean())


def weak_image(generator, shape=(256, 240)):
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
    return np.fft.rfft2(generator.normal(size=shape)) * 0.7 * np.exp(-((radius / 0.04) ** 2))


@pytest.mark.parametrize("seed", range(3))
def test_frames_without_clear_peaks(seed):
    """The path is within a few pixels although single frames have no clear peak."""
    generator = np.random.default_rng(seed)
    track = np.cumsum(generator.normal(0, 1.5, (30, 2)), 0)
    track[15:] += (9.0, -7.0)  # a jump
    band = movie_band(weak_image(generator), track, 1.0, generator)
    coarse, peak_heights = estimate_coarse_shifts(cpu, band, SEARCH)
    assert peak_heights.min() < CLEAR_HEIGHT
    posterior = path_posterior(cpu, band, np.full(29, 2.25), 15)
    assert rms_error(posterior.mean, track) < 2.5 < 5 < rms_error(coarse, track)


def test_noise_is_left_at_rest():
    generator = np.random.default_rng(4)
    band = movie_band(np.zeros((256, 121)), np.zeros((20, 2)), 1.0, generator)
    posterior = path_posterior(cpu, band, np.full(19, 0.5), 10)
    assert np.abs(posterior.mean).max() < 1.0 < np.sqrt(posterior.variance.max())


@pytest.mark.parametrize("drift", [4.0, 8.0, 12.0])
def test_of_equal_peaks_the_nearest_counts(drift):
    """A hexagonal lattice fits itself after every lattice vector, 20 pixels."""
    generator = np.random.default_rng(2)
    shape = 256, 240
    rows, columns = np.indices(shape)
    angles = np.pi * np.arange(3) / 3 + 0.2
    wave_number = 2 * np.pi / (20 * np.sqrt(3) / 2)
    image = sum(np.cos(wave_number * (np.cos(a) * columns + np.sin(a) * rows)) for a in angles)
    track = (np.arange(12)[:, None] / 11 - 0.5) * drift * np.array([0.8, 0.6])
    band = movie_band(np.fft.rfft2(0.3 * image), track, 1.0, generator)
    coarse, _ = estimate_coarse_shifts(cpu, band, SEARCH)
    assert is_ambiguous(cpu, band, coarse, SEARCH.bfactor)
    assert rms_error(path_posterior(cpu, band, np.full(11, 4.0), 6).mean, track) < 0.5
    assert not is_ambiguous(cpu, movie_band(weak_image(generator), track, 0.3, generator), track, SEARCH.bfactor)


def test_likelihoods_are_not_sharper_than_the_grid():
    """The factor leaves 1 between the highest point of a surface and the corner of its cell, or does nothing."""
    grid = np.arange(-6.0, 6.5, 1.0)
    distance = (grid[:, None] - 1.2) ** 2 + (grid + 0.7) ** 2
    surfaces = np.stack([-0.5 * precision * distance for precision in (0.1, 1.0, 40.0, 2e4)])
    scales = likelihood_scales(surfaces)
    np.testing.assert_allclose(scales, [1, 1, 0.1, 2e-4], rtol=1e-9)
    at_the_edge = -0.5 * 40 * ((grid[:, None] - 6) ** 2 + (grid + 6) ** 2)
    np.testing.assert_allclose(likelihood_scales(at_the_edge[None]), [0.1], rtol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_strong_crystals_move_least_whatever_their_angle(seed):
    """Points of a coarse grid near wrong peaks can fit better than those near the right one."""
    generator = np.random.default_rng(seed)
    shape = 256, 240
    rows, columns = np.indices(shape)
    angles = np.pi * np.arange(3) / 3 + generator.uniform(0, np.pi / 3)
    wave_number = 2 * np.pi / (20 * np.sqrt(3) / 2)
    image = sum(np.cos(wave_number * (np.cos(angle) * columns + np.sin(angle) * rows)) for angle in angles)
    direction = generator.uniform(0, 2 * np.pi)
    track = (np.arange(12)[:, None] / 11 - 0.5) * 8 * np.array([np.cos(direction), np.sin(direction)])
    band = movie_band(np.fft.rfft2(image), track, 0.3, generator)
    posterior = path_posterior(cpu, band, np.full(11, 3.5), 6)
    assert rms_error(posterior.mean, track) < 0.1
    assert posterior.variance.max() < 0.05
