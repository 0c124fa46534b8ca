"""Displacements that are known only so well: what of a frame lines up, and what the likelihood makes of it."""

from types import SimpleNamespace

import numpy as np
import pytest
from plain import plain_windows

from restframe.kernels.reference import Reference
from restframe.track import likelihood as lk
from restframe.track.blurred import attenuate_blurred_frames, blur_position_error
from restframe.track.fit import MOST_UNSURE, Problem, spread_after
from restframe.track.prior import TimeAxis
from restframe.track.tiles import Tiles

reference = Reference()

SIZE, BAND = 32, 12


def tiles_of(spectra):
    """Tiles from complex spectra (p, t, 2m+1, m+1)."""
    p, t = spectra.shape[:2]
    re, im = (np.ascontiguousarray(part, np.float32) for part in (spectra.real, spectra.imag))
    return Tiles(re, im, SIZE, np.zeros((p, 2)), np.zeros((t, 2)), 1, plain_windows(SIZE, p))


def noise(rng, *shape):
    """Complex, of power one."""
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)


def at_rest(tiles, spread, amplitude):
    """The tiles as they are, which move by nothing; and what sums over rings need."""
    ring, weight = lk.ring_index(tiles), lk.half_plane(tiles)
    count = np.bincount(ring[ring >= 0], weight[ring >= 0], BAND + 1)
    still = np.zeros((*spread.shape, 2))
    return lk.aligned(reference, tiles, still, spread, amplitude, ring, weight), ring, weight, count


def test_fading_is_what_random_displacements_leave():
    rng = np.random.default_rng(1)
    spread = np.array([[0.0, 0.5, 2.0]])
    k = 2 * np.pi * np.arange(BAND + 1) / SIZE
    u = rng.normal(size=(200_000, 1)) * np.sqrt(spread)
    expected = np.exp(1j * k * u[:, :, None]).mean(0).real
    amplitude = rng.uniform(0.5, 1, (3, BAND + 1))
    at, *_ = at_rest(tiles_of(noise(rng, 1, 3, 2 * BAND + 1, BAND + 1)), spread, amplitude)
    np.testing.assert_allclose(at.b[0] / amplitude**2, expected, atol=0.01)
    every = at.b, at.b**2, at.b**2 / amplitude**2
    np.testing.assert_allclose(at.sums, [one.sum(1) for one in every], rtol=1e-12)


@pytest.mark.parametrize("faded", [0.0, 1.5])
def test_signal_and_noise_are_found_whatever_has_faded(faded):
    """Tiles of a model with known powers, at rest, that are believed to be sure only to a variance."""
    rng = np.random.default_rng(2)
    p, t, signal, power = 200, 6, 0.3, 2.0
    shape = 2 * BAND + 1, BAND + 1
    amplitude = np.repeat(rng.uniform(0.5, 1, (t, 1)), BAND + 1, 1)
    a = amplitude[:, :1, None]
    frames = a * np.sqrt(signal) * noise(rng, p, 1, *shape) + np.sqrt(power) * noise(rng, p, t, *shape)
    spread = faded * rng.uniform(0, 1, (p, t))
    at, _, _, count = at_rest(tiles_of(a * frames), spread, amplitude)
    found = lk.estimate_spectrum(at, count)
    used = count > 20
    assert np.average(found.signal[used], weights=count[used]) == pytest.approx(signal, rel=0.06)
    np.testing.assert_allclose(found.noise[used], power, rtol=0.06)


def test_information_is_the_expected_curvature():
    """Of L at the true displacements, by differences along one frame, mean over many tiles."""
    rng = np.random.default_rng(3)
    p, t, signal = 1500, 3, 2.0
    shape = 2 * BAND + 1, BAND + 1
    frames = np.sqrt(signal) * noise(rng, p, 1, *shape) + noise(rng, p, t, *shape)
    tiles, spread = tiles_of(frames), np.tile([0.2, 0.0, 1.0], (p, 1))
    ones = np.ones((t, BAND + 1))
    at, ring, weight, count = at_rest(tiles, spread, ones)
    spectrum = lk.Spectrum(np.ones(BAND + 1), np.full(BAND + 1, signal), np.ones(p))
    like = lk.make_likelihood(at, tiles, spectrum, ones, ring, weight, count)

    def value(step):
        u = np.zeros((p, t, 2))
        u[:, 2, 0] = step
        return lk.value(reference, like, lk.aligned(reference, tiles, u, spread, ones, ring, weight))

    curvature = -(value(0.05) - 2 * value(0.0) + value(-0.05)) / 0.05**2
    assert curvature == pytest.approx(like.information[:, 2, 2].sum(), rel=0.03)
    assert np.abs(like.information.sum(2)).max() < 1e-9 * like.information.max()  # all frames together say nothing


def test_a_long_step_is_doubted():
    step = np.zeros((2, 3, 2))
    step[1] = [[-1, 0], [0, 0], [1, 0]]
    step[0, 2] = 60
    spread = spread_after(step, 0.2)
    np.testing.assert_allclose(spread[1], [0.52, 0.02, 0.52])
    assert spread[0].max() == MOST_UNSURE**2


def test_blurred_frames_count_by_what_is_left():
    rng = np.random.default_rng(4)
    p, t = 2, 3
    spectra = noise(rng, p, t, 2 * BAND + 1, BAND + 1)
    tiles = tiles_of(spectra)
    ring, weight = lk.ring_index(tiles), lk.half_plane(tiles)
    count = np.bincount(ring[ring >= 0], weight[ring >= 0], BAND + 1)
    ones, groups = np.ones((t, BAND + 1)), (tuple(range(t)),) * 2
    problem = Problem(
        tiles, ((0, 0),), np.ones((1, p)), groups, TimeAxis(), ones, ring, weight, count, count, np.arange(t), 0
    )
    moved = np.array([[0.0, 0.0], [5.0, 0.0], [3.0, -4.0]])
    blurred = attenuate_blurred_frames(reference, problem, moved)
    # what moves evenly by v during a frame is the mean of many still ones
    at = np.linspace(-0.5, 0.5, 2001)[:, None] * moved[2]
    ky, kx = np.arange(-BAND, BAND + 1)[:, None], np.arange(BAND + 1)
    left = np.mean([np.cos(2 * np.pi / SIZE * (kx * x + ky * y)) for x, y in at], axis=0)
    np.testing.assert_allclose(tiles.re[1, 2], spectra.real[1, 2] * left, atol=2e-3)
    for f, expected in ((0, 1.0), (2, np.sqrt((weight * left**2)[ring == 9].sum() / count[9]))):
        assert blurred.amplitude[f, 9] == pytest.approx(expected, rel=2e-3)
    np.testing.assert_array_equal(blurred.amplitude[:, :3], 1)  # no ring is used there


def test_what_is_not_known_of_blurred_frames():
    """Of a uniform distribution over the way that a tile goes beside the whole frame's, in the one frame that blurs."""
    rng, t, p, rings = np.random.default_rng(6), 6, 40, BAND + 1
    none, ones, groups = np.zeros((p, t, 2 * BAND + 1, BAND + 1)), np.ones((t, rings)), (tuple(range(t)),) * 2
    x = rng.uniform(-1, 1, p)
    x -= x.mean()
    blurred = ones.copy()
    blurred[2] = 0.5  # three quarters of its power are lost
    problem = Problem(
        tiles_of(none), ((0, 0), (1, 0)), np.stack([np.ones(p), x]), groups, TimeAxis(), blurred, *[np.ones(rings)] * 4,
        np.arange(t), 0,
    )  # fmt: skip
    amplitudes = np.zeros((2, t, 2))
    amplitudes[0, :, 1] = 7 * np.arange(t) ** 2  # the whole frame's does not count
    amplitudes[1, :, 0] = 3 * np.arange(t)
    result = SimpleNamespace(x=problem.coefficients(amplitudes), likelihood=SimpleNamespace(w=np.ones((p, rings))))
    on_the_way = 3 * x[:, None] * rng.uniform(-0.5, 0.5, (p, 100_000))
    found = blur_position_error(problem, result, ones, np.ones(t))
    assert found == pytest.approx(np.sqrt(0.75 * (on_the_way**2).mean() / t), rel=0.01)
    assert blur_position_error(problem, result, blurred, np.ones(t)) == 0
