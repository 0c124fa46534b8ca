"""What is fixed on the detector is found, and no longer correlates; what moves stays."""

import numpy as np
import pytest
from plain import plain_windows

from restframe.detector.binned import LEVELS_PER_DEVIATION, BinnedFrames
from restframe.kernels.cpu import Cpu
from restframe.kernels.reference import Reference
from restframe.track import likelihood as lk
from restframe.track.pattern import (
    FixedPattern,
    PatternBias,
    estimate_fixed_pattern,
    subtract_pattern_from_band,
    subtract_pattern_from_tiles,
)
from restframe.track.tiles import Tiles, make_tiles

cpu = Cpu(2)
reference = Reference()

EXPOSURES = {"even": np.ones(12), "uneven": np.repeat([1.0, 3.0], 6)}


def frames_with(power: float, exposure=EXPOSURES["even"], shape=(200, 230), seed: int = 1) -> BinnedFrames:
    """Noise of power one and a pattern whose power in the sum is ``power`` times the noise's."""
    rng = np.random.default_rng(seed)
    t = len(exposure)
    fixed = rng.normal(size=shape) * np.sqrt(power / t) * np.sqrt(exposure / exposure.mean())[:, None, None]
    stack = np.rint((rng.normal(size=(t, *shape)) + fixed) * LEVELS_PER_DEVIATION)
    return BinnedFrames(np.clip(stack, -127, 127).astype(np.int8), 1)


@pytest.mark.parametrize("power", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("exposure", EXPOSURES.values(), ids=EXPOSURES)
def test_its_power_is_found(power, exposure):
    assert estimate_fixed_pattern(cpu, frames_with(power, exposure), exposure).power == pytest.approx(
        power, rel=0.05, abs=0.05
    )


@pytest.mark.parametrize("exposure", EXPOSURES.values(), ids=EXPOSURES)
def test_frames_do_not_correlate_any_more(exposure):
    small = frames_with(2.0, exposure)
    t = small.n_frames
    bands = np.fft.rfft2(np.stack([small.frame(i) for i in range(t)])).astype(np.complex64)

    def correlations(f):
        """Of every frame with each of the others, (t, t)."""
        f = f[:, 1:, 1:-1].reshape(t, -1)
        products = (f @ f.conj().T).real
        own = np.sqrt(np.diagonal(products))
        return products / np.outer(own, own) - np.eye(t)

    before = correlations(bands)
    after = correlations(subtract_pattern_from_band(bands, estimate_fixed_pattern(cpu, small, exposure), small.shape))
    share = 2 / t * exposure / exposure.mean()
    expected = np.sqrt(np.outer(share, share) / np.outer(1 + share, 1 + share)) * (1 - np.eye(t))
    assert np.abs(before - expected).max() < 0.03
    assert np.abs(after).max() < 0.03


@pytest.mark.parametrize("exposure", EXPOSURES.values(), ids=EXPOSURES)
def test_tiles_that_follow_the_specimen(exposure):
    small = frames_with(2.0, exposure)
    t = small.n_frames
    offsets = np.random.default_rng(2).integers(-6, 7, (t, 2))
    tiles = make_tiles(cpu, small, offsets, np.ones((2, 2)), 64, 0.25, 20)

    def at_detector():
        """Power of the sum of the frames, put back to where the detector saw them, over the sum of their powers."""
        steps = np.broadcast_to(-2 * np.pi / tiles.size * offsets, (len(tiles.re), t, 2)).astype(np.float32)
        re, im, own = cpu.align_spectra(tiles.re, tiles.im, steps, np.zeros(steps.shape[:2], np.float32))
        return float((re**2 + im**2)[:, 3:].sum() / own[:, 3:].sum())

    before = at_detector()
    subtract_pattern_from_tiles(cpu, tiles, estimate_fixed_pattern(cpu, small, exposure))
    assert before > 2.2  # 3 if the windows of all frames lay at the same place
    assert at_detector() == pytest.approx(1, abs=0.15)


def test_specimen_that_goes_with_the_pattern_leaves_no_bias():
    """Images that hardly move and a pattern that doesn't, both of known power, as the likelihood sees them."""
    rng = np.random.default_rng(5)
    p, t, size, band = 1000, 6, 32, 12
    pattern = FixedPattern(1.0, np.sqrt(np.linspace(0.6, 1.4, t)))
    h = pattern.strength[:, None, None]
    shape = p, t, 2 * band + 1, band + 1

    def normal(*shape):
        """Complex, of power one."""
        return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)

    amplitude = np.repeat(rng.uniform(0.5, 1, (t, 1)), band + 1, 1)
    u = np.stack([np.linspace(-1.5, 1.5, t), np.linspace(0.5, -0.5, t)], 1) * np.ones((p, 1, 1))
    ky, kx = (2 * np.pi / size * k for k in (np.arange(-band, band + 1)[:, None], np.arange(band + 1)))
    waves = np.exp(-1j * (u[0, :, 0, None, None] * kx + u[0, :, 1, None, None] * ky))
    a = amplitude[:, :1, None]
    fixed = np.sqrt(pattern.power / t) * normal(p, 1, *shape[2:])
    frames = a * normal(p, 1, *shape[2:]) * waves + h * fixed + normal(*shape)
    frames = a * (frames - pattern.part * h * (h * frames).sum(1, keepdims=True))
    re, im = (np.ascontiguousarray(v, np.float32) for v in (frames.real, frames.imag))
    tiles = Tiles(re, im, size, np.zeros((p, 2)), np.zeros((t, 2)), 1, plain_windows(size, p))
    ring, weight = lk.ring_index(tiles), lk.half_plane(tiles)
    count = np.bincount(ring[ring >= 0], weight[ring >= 0], band + 1)
    at = lk.aligned(reference, tiles, u, np.zeros((p, t)), amplitude, ring, weight)
    spectrum = lk.estimate_spectrum(at, count)

    def pull(pattern: FixedPattern | None) -> float:
        """Slope by a motion that is larger than the true one, in standard errors."""
        like = lk.make_likelihood(at, tiles, spectrum, amplitude, ring, weight, count, pattern=pattern)
        outwards = (lk.gradient(reference, like, at) * u).sum((1, 2))
        return outwards.mean() / (outwards.std() / np.sqrt(p))

    assert pull(None) > 10
    assert abs(pull(pattern)) < 3


@pytest.mark.parametrize("kernels", [reference, cpu])
def test_slopes_of_what_is_put_back(kernels):
    rng = np.random.default_rng(6)
    p, t, rings = 2, 5, 14
    lost = PatternBias(
        FixedPattern(1.0, np.sqrt(np.linspace(0.6, 1.4, t))),
        rng.uniform(0.5, 1, (t, rings)),
        rng.uniform(0, 1, (p, rings)),
        32,
    )
    u, step = rng.normal(0, 1.5, (p, t, 2)), 0.02
    value, slopes = lost.pattern_bias(kernels, u)
    for i in ((0, 0, 0), (1, 3, 1), (1, 4, 0)):
        moved = np.zeros_like(u)
        moved[i] = step
        rise = lost.pattern_bias(kernels, u + moved)[0] - lost.pattern_bias(kernels, u - moved)[0]
        assert slopes[i] == pytest.approx(rise / (2 * step), rel=0.01)
    assert lost.pattern_bias(kernels, u, slopes=False)[0] == pytest.approx(value, rel=1e-6)


def test_what_is_smooth_on_the_detector_does_not_leak():
    small = frames_with(0.0, shape=(490, 512))
    half_deviation = LEVELS_PER_DEVIATION * 0.5
    smooth = np.rint(half_deviation * np.cos(np.pi * np.arange(512) / 512)).astype(np.int8)
    pattern = BinnedFrames(np.clip(small.stack + smooth, -127, 127), 1)
    t, still = small.n_frames, np.zeros((small.n_frames, 2), int)

    def together(small) -> float:
        """Power of the sum of the frames over the sum of their powers, along the axes, where a taper leaks."""
        tiles = make_tiles(cpu, small, still, np.ones((2, 2)), 64, 0.25, 20)
        steps = np.zeros((len(tiles.re), t, 2), np.float32)
        re, im, own = cpu.align_spectra(tiles.re, tiles.im, steps, steps[..., 0])
        power = re**2 + im**2
        return float((power[:, 23:, 0].sum() + power[:, 20, 3:].sum()) / (own[:, 23:, 0].sum() + own[:, 20, 3:].sum()))

    assert together(pattern) == pytest.approx(together(small), abs=0.15)  # 1.2 more where means are left


def test_what_is_smooth_does_not_leak_into_whole_frames():
    small = frames_with(2.0)
    t, h, w = small.stack.shape
    phase = 4 * np.arange(h)[:, None] / h + 9 * np.arange(w) / w  # does not end as it began
    wave = LEVELS_PER_DEVIATION * np.cos(phase)
    small = BinnedFrames(np.clip(small.stack + np.rint(wave), -127, 127).astype(np.int8), 1)
    bands = np.fft.rfft2(np.stack([small.frame(i) for i in range(t)])).astype(np.complex64)

    def together(f) -> float:
        """Power of the sum of the frames over the sum of their powers, at low frequencies."""
        f = f[:, 1:25, 1:25]
        return float((np.abs(f.sum(0)) ** 2).sum() / (np.abs(f) ** 2).sum())

    assert together(bands) > 8
    without = subtract_pattern_from_band(bands, estimate_fixed_pattern(cpu, small, np.ones(t)), small.shape)
    assert together(without) < 1.5  # 1 without any pattern


def test_little_is_left_alone():
    band = np.ones((4, 3, 3), np.complex64)
    assert subtract_pattern_from_band(band, FixedPattern(0.01, np.ones(4)), (4, 4)) is band
