"""Displacements with an error: the coherent part of a frame, and what the likelihood makes of it."""

from types import SimpleNamespace

import numpy as np
import pytest
from plain import plain_windows

from restframe.kernels.reference import Reference
from restframe.track.alignment import align_tiles
from restframe.track.blurred import attenuate_blurred_frames_in_place, blur_position_error, uncertain_ways
from restframe.track.fit import MAX_POSITION_SD, position_variance_after
from restframe.track.likelihood import SignalModel, log_likelihood, make_likelihood
from restframe.track.problem import FieldModel, Problem, TileData
from restframe.track.rings import RingGeometry, ring_geometry
from restframe.track.spectrum import Spectrum, estimate_spectrum
from restframe.track.tiles import Tiles

reference = Reference()

SIZE, BAND = 32, 12


def tiles_of(spectra):
    """Tiles from complex spectra (p, t, 2m+1, m+1)."""
    tile_count, frame_count = spectra.shape[:2]
    re, im = (np.ascontiguousarray(part, np.float32) for part in (spectra.real, spectra.imag))
    return Tiles(
        re, im, SIZE, np.zeros((tile_count, 2)), np.zeros((frame_count, 2)), 1, plain_windows(SIZE, tile_count)
    )


def noise(generator, *shape):
    """Complex noise of power one."""
    return (generator.normal(size=shape) + 1j * generator.normal(size=shape)) / np.sqrt(2)


def at_rest(tiles, spread, amplitude):
    """Tiles aligned with zero displacement, and their rings."""
    rings = ring_geometry(BAND)
    still = np.zeros((*spread.shape, 2))
    return align_tiles(reference, tiles, rings, amplitude, still, spread), rings


def test_coherence_is_the_mean_over_random_displacements():
    generator = np.random.default_rng(1)
    spread = np.array([[0.0, 0.5, 2.0]])
    wave_numbers = 2 * np.pi * np.arange(BAND + 1) / SIZE
    displacement = generator.normal(size=(200_000, 1)) * np.sqrt(spread)
    expected = np.exp(1j * wave_numbers * displacement[:, :, None]).mean(0).real
    amplitude = generator.uniform(0.5, 1, (3, BAND + 1))
    aligned, _ = at_rest(tiles_of(noise(generator, 1, 3, 2 * BAND + 1, BAND + 1)), spread, amplitude)
    np.testing.assert_allclose(aligned.coherent_power[0] / amplitude**2, expected, atol=0.01)
    coherent_power = aligned.coherent_power
    every = coherent_power, coherent_power**2, coherent_power**2 / amplitude**2
    np.testing.assert_allclose(aligned.frame_sums, [one.sum(1) for one in every], rtol=1e-12)


@pytest.mark.parametrize("faded", [0.0, 1.5])
def test_signal_and_noise_are_estimated_at_any_coherence(faded):
    """Tiles with known powers and no motion, whose positions are taken to have a variance."""
    generator = np.random.default_rng(2)
    tile_count, frame_count, signal, power = 200, 6, 0.3, 2.0
    shape = 2 * BAND + 1, BAND + 1
    amplitude = np.repeat(generator.uniform(0.5, 1, (frame_count, 1)), BAND + 1, 1)
    frame_amplitude = amplitude[:, :1, None]
    frames = frame_amplitude * np.sqrt(signal) * noise(generator, tile_count, 1, *shape) + np.sqrt(power) * noise(
        generator, tile_count, frame_count, *shape
    )
    spread = faded * generator.uniform(0, 1, (tile_count, frame_count))
    aligned, rings = at_rest(tiles_of(frame_amplitude * frames), spread, amplitude)
    computed = estimate_spectrum(aligned, rings.count)
    count = rings.count
    used = count > 20
    assert np.average(computed.signal[used], weights=count[used]) == pytest.approx(signal, rel=0.06)
    np.testing.assert_allclose(computed.noise[used], power, rtol=0.06)


def test_information_is_the_expected_curvature():
    """Compared with differences of L along the displacement of one frame, as a mean over many tiles."""
    generator = np.random.default_rng(3)
    tile_count, frame_count, signal = 1500, 3, 2.0
    shape = 2 * BAND + 1, BAND + 1
    frames = np.sqrt(signal) * noise(generator, tile_count, 1, *shape) + noise(
        generator, tile_count, frame_count, *shape
    )
    tiles, spread = tiles_of(frames), np.tile([0.2, 0.0, 1.0], (tile_count, 1))
    ones = np.ones((frame_count, BAND + 1))
    aligned, rings = at_rest(tiles, spread, ones)
    spectrum = Spectrum(np.ones(BAND + 1), np.full(BAND + 1, signal), np.ones(tile_count))
    likelihood = make_likelihood(aligned, tiles, rings, spectrum, SignalModel(ones))

    def value(step):
        displacement = np.zeros((tile_count, frame_count, 2))
        displacement[:, 2, 0] = step
        return log_likelihood(reference, likelihood, align_tiles(reference, tiles, rings, ones, displacement, spread))

    curvature = -(value(0.05) - 2 * value(0.0) + value(-0.05)) / 0.05**2
    assert curvature == pytest.approx(likelihood.information[:, 2, 2].sum(), rel=0.03)
    assert (
        np.abs(likelihood.information.sum(2)).max() < 1e-9 * likelihood.information.max()
    )  # all frames together say nothing


def test_a_long_step_makes_positions_uncertain():
    step = np.zeros((2, 3, 2))
    step[1] = [[-1, 0], [0, 0], [1, 0]]
    step[0, 2] = 60
    spread = position_variance_after(step, 0.2)
    np.testing.assert_allclose(spread[1], [0.52, 0.02, 0.52])
    assert spread[0].max() == MAX_POSITION_SD**2


def test_blurred_frames_count_by_their_remaining_signal():
    generator = np.random.default_rng(4)
    tile_count, frame_count = 2, 3
    spectra = noise(generator, tile_count, frame_count, 2 * BAND + 1, BAND + 1)
    tiles = tiles_of(spectra)
    rings = ring_geometry(BAND)
    data = TileData(tiles, rings, SignalModel(np.ones((frame_count, BAND + 1))))
    moved = np.array([[0.0, 0.0], [5.0, 0.0], [3.0, -4.0]])
    blurred = attenuate_blurred_frames_in_place(reference, data, moved)
    # what moves evenly by v during a frame is the mean of many still ones
    aligned = np.linspace(-0.5, 0.5, 2001)[:, None] * moved[2]
    frequency_y, frequency_x = np.arange(-BAND, BAND + 1)[:, None], np.arange(BAND + 1)
    remaining = np.mean(
        [np.cos(2 * np.pi / SIZE * (frequency_x * gradient_x + frequency_y * y)) for gradient_x, y in aligned], axis=0
    )
    np.testing.assert_allclose(tiles.real[1, 2], spectra.real[1, 2] * remaining, atol=2e-3)
    for f, expected in ((0, 1.0), (2, np.sqrt((rings.weight * remaining**2)[rings.index == 9].sum() / rings.count[9]))):
        assert blurred.signal.amplitude[f, 9] == pytest.approx(expected, rel=2e-3)
    np.testing.assert_array_equal(blurred.signal.amplitude[:, :3], 1)  # no ring is used there


def test_position_error_of_blurred_frames():
    """Compared with a uniform distribution over the tile's way beside the global motion, in the only blurred frame."""
    generator, frame_count, tile_count, rings = np.random.default_rng(6), 6, 40, BAND + 1
    none, ones, groups = (
        np.zeros((tile_count, frame_count, 2 * BAND + 1, BAND + 1)),
        np.ones((frame_count, rings)),
        (tuple(range(frame_count)),) * 2,
    )
    gradient_x = generator.uniform(-1, 1, tile_count)
    gradient_x -= gradient_x.mean()
    blurred = ones.copy()
    blurred[2] = 0.5  # three quarters of its power are lost
    unused = np.ones(rings)
    data = TileData(tiles_of(none), RingGeometry(unused, unused, unused), SignalModel(blurred))
    model = FieldModel(
        ((0, 0), (1, 0)), np.stack([np.ones(tile_count), gradient_x]), np.arange(frame_count), 0, *groups
    )
    amplitudes = np.zeros((2, frame_count, 2))
    amplitudes[0, :, 1] = 7 * np.arange(frame_count) ** 2  # the whole frame's does not count
    amplitudes[1, :, 0] = 3 * np.arange(frame_count)
    fit = SimpleNamespace(
        problem=Problem(data, model),
        coefficients=model.coefficients(amplitudes),
        likelihood=SimpleNamespace(weights=np.ones((tile_count, rings))),
    )
    on_the_way = 3 * gradient_x[:, None] * generator.uniform(-0.5, 0.5, (tile_count, 100_000))
    computed = blur_position_error(uncertain_ways(fit, ones, np.ones(frame_count)))
    assert computed == pytest.approx(np.sqrt(0.75 * (on_the_way**2).mean() / frame_count), rel=0.01)
    assert blur_position_error(uncertain_ways(fit, blurred, np.ones(frame_count))) == 0
