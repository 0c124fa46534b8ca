"""The map of the specimen, on frames where it is known."""

import numpy as np
import pytest
from scipy import ndimage

from restframe.kernels.cpu import Cpu
from restframe.kernels.reference import Reference
from restframe.track.low_band import LowBand
from restframe.track.specimen import local_power, specimen_weight_map, sum_aligned

cpu = Cpu(2)
reference = Reference()

SHAPE, PIXEL = (256, 384), 4.0  # A


def frames(generator, specimen: np.ndarray, strength: float, track: np.ndarray) -> LowBand:
    """Spectra of a specimen of power ``strength`` times ``specimen`` at low frequencies, moved, in noise of
    power one.
    """
    frequency_y, frequency_x = np.fft.fftfreq(SHAPE[0])[:, None], np.fft.rfftfreq(SHAPE[1])
    low_pass = (np.hypot(frequency_y, frequency_x) < 0.25) & (np.hypot(frequency_y, frequency_x) > 0.03)
    image = (
        np.sqrt(specimen)
        * np.fft.irfft2(np.fft.rfft2(generator.normal(size=SHAPE)) * low_pass, SHAPE)
        * np.sqrt(strength)
    )
    waves = np.exp(-2j * np.pi * (track[:, 0, None, None] * frequency_x + track[:, 1, None, None] * frequency_y))
    spectra = np.fft.rfft2(image) * waves + np.fft.rfft2(generator.normal(size=(len(track), *SHAPE)))
    return LowBand(spectra.astype(np.complex64), SHAPE)


def islands(generator) -> np.ndarray:
    """Half of the frame, in pieces as large as particles; the rest is empty."""
    smooth = ndimage.gaussian_filter(generator.normal(size=SHAPE), 30, mode="wrap")
    return np.where(smooth > 0, 2.0, 0.0)


def weight_map(band: LowBand, track: np.ndarray) -> np.ndarray:
    return specimen_weight_map(cpu, band, sum_aligned(cpu, band, track), PIXEL)


def test_the_map_shows_the_specimen():
    generator = np.random.default_rng(1)
    specimen, track = islands(generator), generator.normal(0, 4, (20, 2))
    weight = weight_map(frames(generator, specimen, 0.05, track), track)
    assert weight.shape == SHAPE and weight.min() > 0
    inside, outside = (ndimage.binary_erosion(m, iterations=20) for m in (specimen > 0, specimen == 0))
    assert weight[inside].mean() > 4 * weight[outside].mean()
    lost = weight_map(frames(generator, specimen, 0.05, track), np.zeros_like(track))
    assert np.ptp(lost) < np.ptp(weight)  # only frames at rest show it


def test_the_map_is_uniform_without_signal():
    generator = np.random.default_rng(2)
    track = np.zeros((20, 2))
    assert np.ptp(weight_map(frames(generator, islands(generator), 0.0, track), track)) < 1e-6
    even = weight_map(frames(generator, np.ones(SHAPE), 0.05, track), track)
    assert even.std() < 0.25 * even.mean()


def test_strong_signal_counts_the_same_everywhere():
    """Where signal is a hundred times stronger than noise, twice the signal says no more about motion."""
    generator, track = np.random.default_rng(3), np.zeros((20, 2))
    specimen = islands(generator) + 0.5
    weak, strong = (weight_map(frames(generator, specimen, s, track), track) for s in (0.05, 20))
    assert np.std(strong) / np.mean(strong) < 0.2 * np.std(weak) / np.mean(weak)


def test_empty_rings():
    """Subtracting a fixed pattern may have removed all coefficients near the axes."""
    generator = np.random.default_rng(4)
    specimen, track = islands(generator), np.zeros((20, 2))
    band = frames(generator, specimen, 0.05, track)
    spectra = band.spectra
    spectra[:, :12] = spectra[:, -12:] = spectra[:, :, :12] = 0
    weight = weight_map(band, track)
    assert np.isfinite(weight).all() and weight[specimen > 1].mean() > 2 * weight[specimen < 1].mean()


@pytest.mark.parametrize("kernels", [cpu, reference])
def test_local_power(kernels):
    generator, radius = np.random.default_rng(5), 4.0
    image = ndimage.gaussian_filter(generator.normal(size=(300, 64, 90)), (0, 1.5, 1.5), mode="wrap")
    spectra = np.fft.rfft2(image).astype(np.complex64)
    computed, _ = local_power(kernels, spectra[0].copy(), image.shape[1:], radius)
    np.testing.assert_allclose(computed, ndimage.gaussian_filter(image[0] ** 2, radius, mode="wrap"), rtol=1e-3)
    each = [local_power(kernels, s.copy(), image.shape[1:], radius) for s in spectra]
    spread = np.mean([(power - np.mean([p.mean() for p, _ in each])) ** 2 for power, _ in each])
    assert np.mean([c for _, c in each]) == pytest.approx(spread, rel=0.1)
