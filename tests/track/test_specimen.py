"""Where the specimen is seen to be, on frames of which that is known."""

import numpy as np
import pytest
from scipy import ndimage

from restframe.kernels.cpu import Cpu
from restframe.kernels.reference import Reference
from restframe.track.specimen import local_power, specimen_weight_map

cpu = Cpu(2)
reference = Reference()

SHAPE, PIXEL = (256, 384), 4.0  # A


def frames(rng, where: np.ndarray, strength: float, track: np.ndarray) -> np.ndarray:
    """Spectra (t, h, w'+1) of a specimen of power ``strength`` times ``where`` at low frequencies, moved, in noise of
    power one.
    """
    ky, kx = np.fft.fftfreq(SHAPE[0])[:, None], np.fft.rfftfreq(SHAPE[1])
    low = (np.hypot(ky, kx) < 0.25) & (np.hypot(ky, kx) > 0.03)
    image = np.sqrt(where) * np.fft.irfft2(np.fft.rfft2(rng.normal(size=SHAPE)) * low, SHAPE) * np.sqrt(strength)
    waves = np.exp(-2j * np.pi * (track[:, 0, None, None] * kx + track[:, 1, None, None] * ky))
    return (np.fft.rfft2(image) * waves + np.fft.rfft2(rng.normal(size=(len(track), *SHAPE)))).astype(np.complex64)


def islands(rng) -> np.ndarray:
    """Half of the frame, in pieces as large as particles; nothing between."""
    smooth = ndimage.gaussian_filter(rng.normal(size=SHAPE), 30, mode="wrap")
    return np.where(smooth > 0, 2.0, 0.0)


def test_is_found_where_it_is():
    rng = np.random.default_rng(1)
    where, track = islands(rng), rng.normal(0, 4, (20, 2))
    weight = specimen_weight_map(cpu, frames(rng, where, 0.05, track), SHAPE, track, PIXEL)
    assert weight.shape == SHAPE and weight.min() > 0
    inside, outside = (ndimage.binary_erosion(m, iterations=20) for m in (where > 0, where == 0))
    assert weight[inside].mean() > 4 * weight[outside].mean()
    lost = specimen_weight_map(cpu, frames(rng, where, 0.05, track), SHAPE, np.zeros_like(track), PIXEL)
    assert np.ptp(lost) < np.ptp(weight)  # only frames at rest show it


def test_is_the_same_everywhere_where_nothing_is_seen():
    rng = np.random.default_rng(2)
    track = np.zeros((20, 2))
    assert np.ptp(specimen_weight_map(cpu, frames(rng, islands(rng), 0.0, track), SHAPE, track, PIXEL)) < 1e-6
    even = specimen_weight_map(cpu, frames(rng, np.ones(SHAPE), 0.05, track), SHAPE, track, PIXEL)
    assert even.std() < 0.25 * even.mean()


def test_strong_signal_counts_the_same_everywhere():
    """What is a hundred times stronger than noise tells no more where it is twice as strong."""
    rng, track = np.random.default_rng(3), np.zeros((20, 2))
    where = islands(rng) + 0.5
    weak, strong = (specimen_weight_map(cpu, frames(rng, where, s, track), SHAPE, track, PIXEL) for s in (0.05, 20))
    assert np.std(strong) / np.mean(strong) < 0.2 * np.std(weak) / np.mean(weak)


def test_nothing_left_of_a_ring():
    """All that lies near the axes may have gone with what is fixed on the detector."""
    rng = np.random.default_rng(4)
    where, track = islands(rng), np.zeros((20, 2))
    band = frames(rng, where, 0.05, track)
    band[:, :12] = band[:, -12:] = band[:, :, :12] = 0
    weight = specimen_weight_map(cpu, band, SHAPE, track, PIXEL)
    assert np.isfinite(weight).all() and weight[where > 1].mean() > 2 * weight[where < 1].mean()


@pytest.mark.parametrize("kernels", [cpu, reference])
def test_local_power(kernels):
    rng, near = np.random.default_rng(5), 4.0
    image = ndimage.gaussian_filter(rng.normal(size=(300, 64, 90)), (0, 1.5, 1.5), mode="wrap")
    spectra = np.fft.rfft2(image).astype(np.complex64)
    found, _ = local_power(kernels, spectra[0].copy(), image.shape[1:], near)
    np.testing.assert_allclose(found, ndimage.gaussian_filter(image[0] ** 2, near, mode="wrap"), rtol=1e-3)
    each = [local_power(kernels, s.copy(), image.shape[1:], near) for s in spectra]
    spread = np.mean([(power - np.mean([p.mean() for p, _ in each])) ** 2 for power, _ in each])
    assert np.mean([c for _, c in each]) == pytest.approx(spread, rel=0.1)
