"""The fixed pattern is estimated and no longer correlates when subtracted; what moves remains."""

import numpy as np
import pytest
from plain import plain_windows

from restframe.detector.binned import LEVELS_PER_DEVIATION, BinnedFrames
from restframe.kernels.cpu import Cpu
from restframe.kernels.reference import Reference
from restframe.track.alignment import align_tiles
from restframe.track.likelihood import SignalModel, likelihood_gradient, make_likelihood
from restframe.track.low_band import LowBand
from restframe.track.pattern import (
    FixedPattern,
    PatternBias,
    estimate_fixed_pattern,
    subtract_pattern_from_band,
    subtract_pattern_from_tiles_in_place,
    without_moving_specimen,
)
from restframe.track.rings import ring_geometry
from restframe.track.spectrum import estimate_spectrum
from restframe.track.tiles import TileLayout, Tiles, make_tiles_and_release_frames

cpu = Cpu(2)
reference = Reference()

EXPOSURES = {"even": np.ones(12), "uneven": np.repeat([1.0, 3.0], 6)}


def frames_with(power: float, exposure=EXPOSURES["even"], shape=(200, 230), seed: int = 1) -> BinnedFrames:
    """Noise of power one and a pattern whose power in the sum is ``power`` times the noise's."""
    generator = np.random.default_rng(seed)
    frame_count = len(exposure)
    fixed = (
        generator.normal(size=shape) * np.sqrt(power / frame_count) * np.sqrt(exposure / exposure.mean())[:, None, None]
    )
    stack = np.rint((generator.normal(size=(frame_count, *shape)) + fixed) * LEVELS_PER_DEVIATION)
    return BinnedFrames(np.clip(stack, -127, 127).astype(np.int8), 1)


@pytest.mark.parametrize("power", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("exposure", EXPOSURES.values(), ids=EXPOSURES)
def test_its_power_is_found(power, exposure):
    assert estimate_fixed_pattern(cpu, frames_with(power, exposure), exposure).power == pytest.approx(
        power, rel=0.05, abs=0.05
    )


@pytest.mark.parametrize("exposure", EXPOSURES.values(), ids=EXPOSURES)
def test_frames_do_not_correlate_any_more(exposure):
    binned = frames_with(2.0, exposure)
    frame_count = binned.n_frames
    bands = np.fft.rfft2(np.stack([binned.frame(index) for index in range(frame_count)])).astype(np.complex64)

    def correlations(spectra):
        """Correlation of every frame with each of the others, (t, t)."""
        spectra = spectra[:, 1:, 1:-1].reshape(frame_count, -1)
        products = (spectra @ spectra.conj().T).real
        own = np.sqrt(np.diagonal(products))
        return products / np.outer(own, own) - np.eye(frame_count)

    before = correlations(bands)
    pattern = estimate_fixed_pattern(cpu, binned, exposure)
    after = correlations(subtract_pattern_from_band(LowBand(bands, binned.shape), pattern).spectra)
    share = 2 / frame_count * exposure / exposure.mean()
    expected = np.sqrt(np.outer(share, share) / np.outer(1 + share, 1 + share)) * (1 - np.eye(frame_count))
    assert np.abs(before - expected).max() < 0.03
    assert np.abs(after).max() < 0.03


@pytest.mark.parametrize("exposure", EXPOSURES.values(), ids=EXPOSURES)
def test_tiles_that_follow_the_specimen(exposure):
    binned = frames_with(2.0, exposure)
    frame_count = binned.n_frames
    offsets = np.random.default_rng(2).integers(-6, 7, (frame_count, 2))
    tiles = make_tiles_and_release_frames(cpu, binned, TileLayout(64, 0.25, 20), offsets, np.ones((2, 2)))

    def at_detector():
        """Power of the sum of the frames, shifted back to their place on the detector, over the sum of their powers."""
        steps = np.broadcast_to(-2 * np.pi / tiles.size * offsets, (len(tiles.real), frame_count, 2)).astype(np.float32)
        re, im, own = cpu.align_spectra(tiles.real, tiles.imaginary, steps, np.zeros(steps.shape[:2], np.float32))
        return float((re**2 + im**2)[:, 3:].sum() / own[:, 3:].sum())

    before = at_detector()
    subtract_pattern_from_tiles_in_place(cpu, tiles, estimate_fixed_pattern(cpu, binned, exposure))
    assert before > 2.2  # 3 if the windows of all frames lay at the same place
    assert at_detector() == pytest.approx(1, abs=0.15)


def test_specimen_subtracted_with_the_pattern_leaves_no_bias():
    """Images that move little and a pattern that does not move, both of known power."""
    generator = np.random.default_rng(5)
    tile_count, frame_count, size, band = 1000, 6, 32, 12
    pattern = FixedPattern(1.0, np.sqrt(np.linspace(0.6, 1.4, frame_count)))
    height = pattern.strength[:, None, None]
    shape = tile_count, frame_count, 2 * band + 1, band + 1

    def normal(*shape):
        """Complex, of power one."""
        return (generator.normal(size=shape) + 1j * generator.normal(size=shape)) / np.sqrt(2)

    amplitude = np.repeat(generator.uniform(0.5, 1, (frame_count, 1)), band + 1, 1)
    displacement = np.stack([np.linspace(-1.5, 1.5, frame_count), np.linspace(0.5, -0.5, frame_count)], 1) * np.ones(
        (tile_count, 1, 1)
    )
    frequency_y, frequency_x = (
        2 * np.pi / size * k for k in (np.arange(-band, band + 1)[:, None], np.arange(band + 1))
    )
    waves = np.exp(
        -1j * (displacement[0, :, 0, None, None] * frequency_x + displacement[0, :, 1, None, None] * frequency_y)
    )
    frame_amplitude = amplitude[:, :1, None]
    fixed = np.sqrt(pattern.power / frame_count) * normal(tile_count, 1, *shape[2:])
    frames = frame_amplitude * normal(tile_count, 1, *shape[2:]) * waves + height * fixed + normal(*shape)
    frames = frame_amplitude * (frames - pattern.fraction * height * (height * frames).sum(1, keepdims=True))
    re, im = (np.ascontiguousarray(component, np.float32) for component in (frames.real, frames.imag))
    tiles = Tiles(
        re, im, size, np.zeros((tile_count, 2)), np.zeros((frame_count, 2)), 1, plain_windows(size, tile_count)
    )
    rings = ring_geometry(band)
    aligned = align_tiles(reference, tiles, rings, amplitude, displacement, np.zeros((tile_count, frame_count)))
    spectrum = estimate_spectrum(aligned, rings.count)

    def pull(pattern: FixedPattern | None) -> float:
        """Slope by a motion that is larger than the true one, in standard errors."""
        likelihood = make_likelihood(aligned, tiles, rings, spectrum, SignalModel(amplitude, pattern=pattern))
        outwards = (likelihood_gradient(reference, likelihood, aligned) * displacement).sum((1, 2))
        return outwards.mean() / (outwards.std() / np.sqrt(tile_count))

    assert pull(None) > 10
    assert abs(pull(pattern)) < 3


@pytest.mark.parametrize("kernels", [reference, cpu])
def test_slopes_of_the_pattern_bias(kernels):
    generator = np.random.default_rng(6)
    tile_count, frame_count, rings = 2, 5, 14
    bias = PatternBias(
        FixedPattern(1.0, np.sqrt(np.linspace(0.6, 1.4, frame_count))),
        generator.uniform(0.5, 1, (frame_count, rings)),
        generator.uniform(0, 1, (tile_count, rings)),
        32,
    )
    displacement, step = generator.normal(0, 1.5, (tile_count, frame_count, 2)), 0.02
    value, slopes = bias.evaluate(kernels, displacement)
    for index in ((0, 0, 0), (1, 3, 1), (1, 4, 0)):
        moved = np.zeros_like(displacement)
        moved[index] = step
        rise = bias.evaluate(kernels, displacement + moved)[0] - bias.evaluate(kernels, displacement - moved)[0]
        assert slopes[index] == pytest.approx(rise / (2 * step), rel=0.01)
    assert bias.evaluate(kernels, displacement, with_slopes=False)[0] == pytest.approx(value, rel=1e-6)


def test_what_is_smooth_on_the_detector_does_not_leak():
    binned = frames_with(0.0, shape=(490, 512))
    smooth = np.rint(LEVELS_PER_DEVIATION * 0.5 * np.cos(np.pi * np.arange(512) / 512)).astype(
        np.int8
    )  # half of the noise's sd
    pattern = BinnedFrames(np.clip(binned.stack + smooth, -127, 127), 1)
    frame_count, still = binned.n_frames, np.zeros((binned.n_frames, 2), int)

    def together(binned) -> float:
        """Power of the sum of the frames over the sum of their powers, along the axes, where a taper leaks."""
        tiles = make_tiles_and_release_frames(cpu, binned, TileLayout(64, 0.25, 20), still, np.ones((2, 2)))
        steps = np.zeros((len(tiles.real), frame_count, 2), np.float32)
        re, im, own = cpu.align_spectra(tiles.real, tiles.imaginary, steps, steps[..., 0])
        power = re**2 + im**2
        return float((power[:, 23:, 0].sum() + power[:, 20, 3:].sum()) / (own[:, 23:, 0].sum() + own[:, 20, 3:].sum()))

    assert together(pattern) == pytest.approx(together(binned), abs=0.15)  # 1.2 more where means are left


def test_what_is_smooth_does_not_leak_into_whole_frames():
    binned = frames_with(2.0)
    frame_count, height, width = binned.stack.shape
    wave = LEVELS_PER_DEVIATION * np.cos(
        4 * np.arange(height)[:, None] / height + 9 * np.arange(width) / width
    )  # does not end as it began
    binned = BinnedFrames(np.clip(binned.stack + np.rint(wave), -127, 127).astype(np.int8), 1)
    bands = np.fft.rfft2(np.stack([binned.frame(index) for index in range(frame_count)])).astype(np.complex64)

    def together(spectra) -> float:
        """Power of the sum of the frames over the sum of their powers, at low frequencies."""
        spectra = spectra[:, 1:25, 1:25]
        return float((np.abs(spectra.sum(0)) ** 2).sum() / (np.abs(spectra) ** 2).sum())

    assert together(bands) > 8
    pattern = estimate_fixed_pattern(cpu, binned, np.ones(frame_count))
    without = subtract_pattern_from_band(LowBand(bands, binned.shape), pattern)
    assert together(without.spectra) < 1.5  # 1 without any pattern


def test_a_weak_pattern_is_not_subtracted():
    band = LowBand(np.ones((4, 3, 3), np.complex64), (4, 4))
    assert subtract_pattern_from_band(band, FixedPattern(0.01, np.ones(4))) is band


@pytest.mark.parametrize("travel", [(2.0, 1.0), (0.6, 0.3)])
@pytest.mark.parametrize("power", [0.0, 4.0])
def test_what_moves_is_no_pattern(travel, power):
    """A specimen with detail up to the highest frequency; the pattern that remains is the one that stands still."""
    generator = np.random.default_rng(3)
    frame_count, shape = 20, (440, 256)
    track = (np.arange(frame_count)[:, None] / (frame_count - 1) - 0.5) * np.array(travel)
    ky, kx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    specimen = np.fft.rfft2(generator.normal(size=shape)) * np.exp(-2 * np.hypot(ky, kx))
    frames = frames_with(power, np.ones(frame_count), shape).stack / LEVELS_PER_DEVIATION
    moved = [np.fft.irfft2(specimen * np.exp(-2j * np.pi * (x * kx + y * ky)), s=shape) for x, y in track]
    stack = np.clip(np.rint((frames + moved) * LEVELS_PER_DEVIATION), -127, 127).astype(np.int8)
    binned = BinnedFrames(stack, 1)
    pattern = estimate_fixed_pattern(cpu, binned, np.ones(frame_count))
    assert pattern.power > 0.4
    alone = estimate_fixed_pattern(cpu, frames_with(power, np.ones(frame_count), shape), np.ones(frame_count)).power
    guarded = without_moving_specimen(cpu, binned, pattern, track).power
    assert guarded == pytest.approx(alone, abs=0.15 * pattern.power)
    at_rest = without_moving_specimen(cpu, binned, pattern, 0 * track)
    assert at_rest.power == pattern.power
