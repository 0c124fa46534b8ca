"""Estimates from images with a known CTF; larger sets are measured by benchmarks/ctf.py."""

from dataclasses import replace

import numpy as np
import pytest

import restframe
from restframe.ctf.estimate import CtfRequest, estimate, estimate_from_amplitudes
from restframe.ctf.model import Microscope
from restframe.ctf.search import SearchRange
from restframe.errors import SettingsError
from restframe.optics import CtfParameters, ctf
from restframe.simulate.ice_images import IceImage, simulate_ice

OPTICS = CtfParameters(300, 14000, 600, 30)
RECIPE = IceImage(1024, 1.1, OPTICS, 0.5, 100.0, seed=4)


@pytest.fixture(scope="module")
def image():
    return simulate_ice(RECIPE)


@pytest.fixture(scope="module")
def estimated(image):
    return restframe.estimate_ctf(image, pixel_size=1.1, voltage=300)


def components(ctf):
    double_angle = np.deg2rad(2 * ctf.astigmatism_angle)
    return np.array([ctf.defocus, ctf.astigmatism * np.cos(double_angle), ctf.astigmatism * np.sin(double_angle)])


TRUTH = np.array([14000, 600 * np.cos(np.pi / 3), 600 * np.sin(np.pi / 3)])


def test_values_lie_within_their_errors(estimated):
    assert estimated.found
    errors = [estimated.errors.defocus, estimated.errors.astigmatism, estimated.errors.astigmatism]
    assert (np.abs(components(estimated) - TRUTH) < 3.5 * np.array(errors)).all()
    assert 10 < estimated.errors.defocus < 60 and 30 < estimated.errors.astigmatism < 170
    assert estimated.defocus_u > estimated.defocus_v
    assert np.isnan(estimated.errors.tilt_angle) and np.isnan(estimated.errors.phase_shift)


def test_the_model_is_the_ctf(estimated):
    expected = ctf(np.fft.rfftfreq(40, 1.1)[None, :], np.fft.fftfreq(32, 1.1)[:, None], estimated.parameters())
    np.testing.assert_allclose(estimated.model((32, 40)), expected, atol=1e-9)
    shifted = replace(estimated, phase_shift=90.0, fit=replace(
        estimated.fit, shape=replace(estimated.fit.shape, phase_shift=np.pi / 2)))  # fmt: skip
    np.testing.assert_allclose(shifted.model((32, 40)) ** 2 + estimated.model((32, 40)) ** 2, 1, atol=1e-6)


def test_the_defocus_is_the_same_everywhere_without_tilt(estimated):
    assert estimated.defocus_at(np.zeros((2, 3)), np.zeros((2, 3))).shape == (2, 3)
    np.testing.assert_allclose(estimated.defocus_at(0, 1000), estimated.defocus)


def test_quality(estimated):
    quality = estimated.quality
    assert 3 < quality.fit_resolution < 8 and 3 <= quality.signal_resolution < 8
    assert 0.05 < quality.score < 0.6
    profile = quality.profile
    assert np.average(profile.correlation[: len(profile.correlation) // 5]) > 0.3
    assert quality.ice_ring_density == pytest.approx(
        np.abs(profile.rotational[(profile.frequency >= 0.25) & (profile.frequency <= 0.28)]).sum()
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_has_no_fit(seed):
    noise = np.random.default_rng(seed).standard_normal((512, 512)).astype(np.float32)
    nothing = restframe.estimate_ctf(noise, pixel_size=1.0)
    assert not nothing.found
    assert nothing.quality.score == 0 and np.isinf(nothing.quality.fit_resolution)


def test_an_empty_image_has_no_fit():
    assert not restframe.estimate_ctf(np.zeros((256, 256)), pixel_size=1.0).found
    assert not restframe.estimate_ctf(np.full((256, 300), np.nan), pixel_size=1.0).found


def test_rings_of_ice_and_a_gradient_do_no_harm(image):
    with_ring = simulate_ice(replace(RECIPE, ice_ring=3.0)) + np.linspace(0, 30, 1024, dtype=np.float32)
    ctf = restframe.estimate_ctf(with_ring, pixel_size=1.1)
    assert abs(ctf.defocus - 14000) < 4 * ctf.errors.defocus
    without = restframe.estimate_ctf(image, pixel_size=1.1)
    assert ctf.quality.ice_ring_density > 2 * without.quality.ice_ring_density


def test_a_phase_plate():
    image = simulate_ice(replace(RECIPE, phase_shift=np.deg2rad(80)))
    ctf = restframe.estimate_ctf(image, pixel_size=1.1, phase_shift=(0, 180))
    assert abs(ctf.phase_shift - 80) < 4 * ctf.errors.phase_shift < 40
    assert abs(ctf.defocus - 14000) < 4 * ctf.errors.defocus


def test_thick_ice():
    image = simulate_ice(replace(RECIPE, thickness=1200.0))
    ctf = restframe.estimate_ctf(image, pixel_size=1.1)
    assert abs(ctf.defocus - 14000) < 4 * ctf.errors.defocus


def test_a_tilt_gives_a_plane():
    image = simulate_ice(replace(RECIPE, strength=1.0, tilt=35.0, tilt_axis=70.0))
    ctf = restframe.estimate_ctf(image, pixel_size=1.1, tilt=True)
    assert abs(ctf.tilt_angle - 35) < 4 * ctf.errors.tilt_angle < 20
    assert abs(ctf.tilt_axis - 70) < 4 * ctf.errors.tilt_axis
    x, y = np.array([0, 1023]), np.array([200, 900])
    across = 1.1 * ((y - 511.5) * np.cos(np.deg2rad(70)) - (x - 511.5) * np.sin(np.deg2rad(70)))
    expected = 14000 + np.tan(np.deg2rad(35)) * across
    assert np.abs(ctf.defocus_at(x, y) - expected).max() < 250


def test_a_given_amplitude_spectrum(image):
    parts = image[:1024, :1024].reshape(2, 512, 2, 512).swapaxes(1, 2).reshape(4, 512, 512)
    amplitudes = np.fft.fftshift(np.sqrt(np.mean([np.abs(np.fft.fft2(part)) ** 2 for part in parts], axis=0)))
    ctf = estimate_from_amplitudes(amplitudes, CtfRequest(1.1))
    assert ctf.found and abs(ctf.defocus - 14000) < 5 * ctf.errors.defocus


def test_a_result_brings_its_pixel_size(image):
    class Corrected:
        sum, dose_weighted, pixel_size = np.zeros_like(image), image, 1.1

    ctf = restframe.estimate_ctf(Corrected())
    assert ctf.pixel_size == 1.1 and ctf.found


@pytest.mark.parametrize(
    "choices",
    [{"pixel_size": 0.0}, {"pixel_size": 1.0, "voltage": 0.0}, {"pixel_size": 1.0, "phase_shift": (90, 0)},
     {"pixel_size": 1.0, "amplitude_contrast": 1.5}],
)  # fmt: skip
def test_values_that_cannot_be_used(choices):
    with pytest.raises(SettingsError):
        restframe.estimate_ctf(np.zeros((256, 256)), **choices)


def test_images_that_cannot_be_used():
    with pytest.raises(SettingsError, match="128"):
        restframe.estimate_ctf(np.zeros((100, 300)), pixel_size=1.0)
    with pytest.raises(SettingsError, match="defocus"):
        estimate(np.zeros((300, 300)), CtfRequest(1.0, Microscope(), SearchRange(5000, 4000)))
