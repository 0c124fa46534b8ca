"""The measures, on images and fields whose quality is known beforehand."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.fft as sfft
from numpy.testing import assert_allclose

from restframe.measures import (
    _register,
    expected_ssnr,
    expected_still_ratio,
    fourier_crop,
    ssnr,
    still_ratio,
    track_error,
)
from restframe.simulate import PRESETS
from restframe.simulate.motion import make_truth
from restframe.track.field import MotionField

BANDS = ((8.0, 5.0), (5.0, 3.2))


def scene(seed=1, shape=(384, 420), noise=2.0):
    """A band-limited truth, and two images of it with their own white noise; SSNR about 1/4 where noise is 2."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=shape)
    return truth, truth + noise * rng.normal(size=shape), truth + noise * rng.normal(size=shape)


def blurred(image, sigma):
    k2 = sfft.fftfreq(image.shape[0])[:, None] ** 2 + sfft.rfftfreq(image.shape[1])[None] ** 2
    return sfft.irfft2(sfft.rfft2(image) * np.exp(-2 * np.pi**2 * sigma**2 * k2), s=image.shape)


def shifted(image, dx, dy):
    ky, kx = sfft.fftfreq(image.shape[0])[:, None], sfft.rfftfreq(image.shape[1])[None]
    return sfft.irfft2(sfft.rfft2(image) * np.exp(-2j * np.pi * (kx * dx + ky * dy)), s=image.shape)


def test_ssnr_is_signal_power_over_noise_power():
    found = [
        ssnr(image, truth, 1.0, BANDS, tile_size=256) for truth, image, _ in (scene(s, (512, 512)) for s in range(4))
    ]
    # one scene tells 5 and 3 % (measured on 30); four, five times that
    assert_allclose(np.mean(found, axis=0), 0.25, rtol=0.12)
    truth, image, _ = scene(shape=(512, 512), noise=0.25)
    assert_allclose(ssnr(image, truth, 1.0, BANDS, tile_size=256), 16, rtol=0.06)


def test_the_still_image_itself_has_ratio_one_and_another_still_one_nearly():
    truth, image, still = scene()
    assert still_ratio(still, truth, still, 1.0, BANDS, tile_size=128) == pytest.approx((1, 1))
    assert_allclose(still_ratio(image, truth, still, 1.0, BANDS, tile_size=128), 1, atol=0.1)


def test_half_the_signal_keeps_a_quarter_of_the_ssnr():
    truth, image, still = scene(shape=(512, 512), noise=0.25)
    weak = 0.5 * truth + (image - truth)
    assert_allclose(still_ratio(weak, truth, still, 1.0, BANDS, tile_size=256), 0.25, rtol=0.1)


def test_blurring_signal_but_not_noise_costs_the_known_factor():
    truth, image, still = scene(shape=(640, 640), noise=0.2)
    band = ((4.4, 4.0),)
    sigma = 0.8
    moved = blurred(truth, sigma) + (image - truth)
    k = (1 / 4.4 + 1 / 4.0) / 2
    expected = np.exp(-2 * np.pi**2 * sigma**2 * k**2) ** 2
    assert_allclose(still_ratio(moved, truth, still, 1.0, band, tile_size=256), expected, rtol=0.12)
    apart = expected_still_ratio(blurred(truth, sigma), image - truth, truth, still - truth, 1.0, band, tile_size=256)
    assert_allclose(apart, expected, rtol=0.05)


@pytest.mark.parametrize("dx, dy", [(0.4, -0.3), (7.3, 4.6), (-11.0, 0.5)])
def test_a_translation_costs_nothing(dx, dy):
    truth, image, still = scene(shape=(512, 512))
    kept = still_ratio(shifted(image, dx, dy), truth, still, 1.0, BANDS, tile_size=256)
    # tiles at the border can't follow: there is no image beyond it
    assert_allclose(kept, still_ratio(image, truth, still, 1.0, BANDS, tile_size=256), rtol=0.06)


@pytest.mark.parametrize("dx, dy", [(0.0, 0.0), (0.37, -0.21), (5.5, -8.49)])
def test_registration_finds_a_displacement_exactly(dx, dy):
    truth = blurred(np.random.default_rng(3).normal(size=(96, 96)), 1.5)
    cross = sfft.rfft2(shifted(truth, dx, dy)) * sfft.rfft2(truth).conj()
    assert_allclose(_register(cross), (dx, dy), atol=1e-6)


def test_an_odd_column_may_be_missing():
    truth, image, still = scene(shape=(301, 333))
    full = still_ratio(image, truth, still, 1.0, BANDS, tile_size=128)
    cut = still_ratio(image[:, :-1], truth, still, 1.0, BANDS, tile_size=128)
    assert_allclose(cut, full, rtol=0.1)


def test_a_binned_image_is_compared_below_its_own_nyquist():
    truth, image, still = scene(shape=(512, 512))
    small = fourier_crop(image, (256, 256))
    low, high = still_ratio(small, truth, still, 1.0, ((8.0, 5.0), (3.5, 3.0)), tile_size=256)
    assert low == pytest.approx(still_ratio(image, truth, still, 1.0, ((8.0, 5.0),), tile_size=256)[0], rel=0.1)
    assert np.isnan(high)


def test_an_image_larger_than_its_truth_is_refused():
    with pytest.raises(ValueError, match="larger"):
        ssnr(np.zeros((80, 80)), np.zeros((64, 64)), 1.0)


@pytest.mark.parametrize("shape", [(30, 42), (31, 41)])
def test_fourier_cropping_keeps_what_fits(shape):
    y, x = np.mgrid[:62, :84]
    wave = 3 + np.cos(2 * np.pi * (5 * x / 84 + 3 * y / 62))
    y, x = np.mgrid[: shape[0], : shape[1]]
    expected = 3 + np.cos(2 * np.pi * (5 * x / shape[1] + 3 * y / shape[0]))
    assert_allclose(fourier_crop(wave, shape), expected, atol=1e-5)


def truth_and_field():
    truth = make_truth(replace(PRESETS["falcon"], shape=(8, 300, 400), local_rms=0.0))
    whole = MotionField(((0, 0), (1, 0)), np.stack([truth.whole_frame(), np.zeros((8, 2))]), (300, 400))
    return truth, whole


def test_the_true_motion_has_no_error_wherever_it_rests():
    truth, field = truth_and_field()
    for same in (truth, truth.relative_to(0), field, field.relative_to(3)):
        assert track_error(same, truth, 1.3).total == pytest.approx(0, abs=1e-10)


def test_known_errors_are_found_and_told_apart():
    truth, field = truth_and_field()
    swing = np.resize([1.0, -1.0], 8)
    common = replace(field, amplitudes=field.amplitudes + np.stack([np.outer(swing, [0.3, 0.4]), np.zeros((8, 2))]))
    error = track_error(common, truth, 2.0)
    assert (error.total, error.whole_frame, error.local) == pytest.approx((1.0, 1.0, 0.0), abs=1e-10)
    local = replace(field, amplitudes=field.amplitudes + np.stack([np.zeros((8, 2)), np.outer(swing, [0.3, 0.4])]))
    error = track_error(local, truth, 2.0, across=200)
    # the first Legendre product has rms 1/sqrt(3) over the frame
    assert (error.total, error.whole_frame, error.local) == pytest.approx((3**-0.5, 0.0, 3**-0.5), abs=1e-4)


def test_fields_of_different_length_are_refused():
    truth, field = truth_and_field()
    with pytest.raises(ValueError, match="frames"):
        track_error(replace(field, amplitudes=field.amplitudes[:, :-1]), truth, 1.0)


def test_without_a_specimen_there_is_no_ratio_and_no_warning(recwarn):
    image = scene()[1]
    nothing = np.zeros_like(image)
    assert np.isnan(ssnr(image, nothing, 1.0, BANDS, tile_size=128)).all()
    assert np.isnan(expected_ssnr(nothing, image, nothing, 1.0, BANDS, tile_size=128)).all()
    assert not recwarn.list
