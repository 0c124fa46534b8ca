"""Thumbnails and power spectra: orientation, contrast, rings, sizes, and damage."""

from types import SimpleNamespace

import imagecodecs
import numpy as np
import pytest

from restframe.output.pictures import (
    grey_values,
    jpeg_writer,
    make_pictures,
    mean_power_spectrum,
    ring_means,
    ring_numbers,
    thumbnail,
)


def result_of(image, **others):
    return SimpleNamespace(**{"sum": image, "dose_weighted": None, "uncorrected_tiles": None, **others})


def test_a_thumbnail_shows_the_image_upright_and_keeps_its_proportions():
    image = np.random.default_rng(1).normal(size=(900, 1300)).astype(np.float32)
    image[:300, :400] += 20
    pixels = thumbnail(image)
    assert pixels.shape == (300, 433) and pixels.dtype == np.uint8
    assert pixels[:95, :130].min() > 150 > pixels[110:, 150:].max()


@pytest.mark.parametrize("shape", [(40, 50), (1, 1), (33, 700), (513, 512)])
def test_any_size(shape):
    image = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    assert max(thumbnail(image).shape) <= 512
    if min(shape) > 1:
        thumb, spectrum = make_pictures(result_of(image)).pictures
        assert spectrum.pixels.shape[0] == spectrum.pixels.shape[1] <= 512
        assert min(thumb.pixels.shape) >= 1


def test_contrast_ignores_outliers_and_nan():
    values = np.random.default_rng(3).normal(size=(100, 100))
    usual = grey_values(values, (0.5, 99.5))
    values[5, 5], values[7, 7] = 1e9, np.nan
    unusual = grey_values(values, (0.5, 99.5))
    assert unusual[5, 5] == 255 and unusual[7, 7] == 0
    assert np.abs(unusual.astype(int) - usual)[20:].max() <= 12
    assert np.isin(grey_values(np.full((4, 4), np.nan), (0.5, 99.5)), 0).all()
    assert len(np.unique(grey_values(np.full((4, 4), 3.0), (0.5, 99.5)))) == 1


def test_a_wave_is_a_point_of_the_spectrum_at_its_frequency():
    rows, columns = np.mgrid[:1024, :1024]
    wave = np.cos(2 * np.pi * (rows * 64 + columns * 128) / 512).astype(np.float32)
    power = mean_power_spectrum(wave + np.random.default_rng(4).normal(size=wave.shape).astype(np.float32))
    assert np.unravel_index(power.argmax(), power.shape) in [(64, 128)]
    picture = make_pictures(result_of(wave)).pictures[1].pixels.astype(int)
    assert picture[256 + 64, 256 + 128] == picture[256 - 64, 256 - 128] == 255
    assert picture[256 + 64, 256 - 128] < 255


def test_white_noise_has_the_power_of_the_window():
    noise = np.random.default_rng(5).normal(size=(2048, 2048)).astype(np.float32)
    power = mean_power_spectrum(noise)
    window_power = (np.hanning(512) ** 2).sum() ** 2
    means = ring_means(power, ring_numbers(power.shape))
    assert means[20:200] == pytest.approx(np.full(180, window_power), rel=0.2)


def test_the_dose_weighted_sum_is_shown_where_there_is_one():
    image = np.random.default_rng(6).normal(size=(64, 64)).astype(np.float32)
    result = result_of(image, dose_weighted=image)
    assert [(one.kind, one.image) for one in make_pictures(result).pictures] == [
        ("thumbnail", "dose_weighted"),
        ("spectrum", "sum"),
    ]


def test_files_show_row_0_at_the_bottom(tmp_path):
    pixels = np.zeros((60, 80), np.uint8)
    pixels[:20] = 250
    jpeg_writer(pixels)(tmp_path / "a.jpg")
    shown = imagecodecs.jpeg8_decode((tmp_path / "a.jpg").read_bytes())
    assert shown.shape == (60, 80) and shown[45:].min() > 200 > 50 > shown[:30].max()


@pytest.mark.parametrize("bin_factor", [1, 2])
def test_noise_has_the_same_power_before_and_after(bin_factor):
    """White noise that is only binned: both curves are the same, each up to its own Nyquist frequency."""
    size = 1024
    image = 40 + np.random.default_rng(7).normal(size=(size, size)).astype(np.float32)
    corrected = image.reshape(size // bin_factor, bin_factor, -1, bin_factor).mean((1, 3))
    if bin_factor > 1:  # blocks would also weaken high frequencies
        corrected = 40 + np.random.default_rng(8).normal(0, 1 / bin_factor, corrected.shape).astype(np.float32)
    tiles = image[:512, :512][None] / image.mean() - 1
    settings = SimpleNamespace(sums=SimpleNamespace(bin=bin_factor))
    pictures = make_pictures(result_of(corrected, uncorrected_tiles=tiles.astype(np.float16), settings=settings))
    before, after = pictures.log_power_before, pictures.log_power
    assert len(before) == len(after) == 257
    assert before[20:].mean() == pytest.approx(after[20:].mean(), abs=0.03)
