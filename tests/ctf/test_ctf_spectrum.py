"""Polar bins against a loop over all coefficients."""

import numpy as np
import pytest

from restframe.ctf.spectrum import (
    AXIS_COEFFICIENTS,
    SECTORS,
    axis_windows,
    polar_spectrum,
    spectrum_of_amplitudes,
    tile_spectra,
)


def coefficients_one_by_one(image, pixel_size, max_frequency):
    """Sum of the powers and number of coefficients by ring and sector, of an image without a window."""
    height, width = image.shape
    transform = np.fft.fft2(image - image.mean())
    total, count = np.zeros((2, int(max_frequency * max(image.shape) * pixel_size) + 1, SECTORS))
    for row in range(height):
        for column in range(width // 2):
            y = (row if row < height // 2 else row - height) / (height * pixel_size)
            x = column / (width * pixel_size)
            ring = round(np.hypot(x, y) * max(image.shape) * pixel_size)
            on_axis = column < AXIS_COEFFICIENTS or min(row, height - row) < AXIS_COEFFICIENTS
            if on_axis or ring >= len(total):
                continue
            sector = int(np.floor(np.arctan2(y, x) / np.pi * SECTORS)) % SECTORS
            total[ring, sector] += abs(transform[row, column]) ** 2 / image.size
            count[ring, sector] += 1
    return total, count


def test_bins_hold_the_coefficients(monkeypatch):
    monkeypatch.setattr("restframe.ctf.spectrum.edge_window", lambda length: np.ones(length, np.float32))
    image = np.random.default_rng(1).standard_normal((48, 64)).astype(np.float32)
    total, count = coefficients_one_by_one(image, 1.3, 0.3)
    spectrum = polar_spectrum(image, 1.3, 0.3)
    np.testing.assert_array_equal(spectrum.count, count)
    np.testing.assert_allclose(spectrum.power * spectrum.count, total, rtol=1e-4, atol=1e-5)
    assert spectrum.angle[0] == pytest.approx(np.pi / SECTORS / 2)


def test_white_noise_has_power_one_and_counts_its_coefficients():
    image = 3 * np.random.default_rng(2).standard_normal((512, 512)).astype(np.float32)
    spectrum = polar_spectrum(image, 1.0, 0.49)
    total = spectrum.count.sum()
    assert (spectrum.power * spectrum.count).sum() / total == pytest.approx(9, rel=0.02)
    assert total == pytest.approx(512**2 / 2 * np.pi / 4 * 0.98**2, rel=0.06)
    variance = np.sum(spectrum.count * (spectrum.power / 9 - 1) ** 2) / np.sum(spectrum.count > 0)
    assert variance == pytest.approx(1, rel=0.05)


def test_lattices_and_pixels_that_are_not_finite_do_no_harm():
    image = np.random.default_rng(3).standard_normal((256, 256)).astype(np.float32)
    x = np.arange(256)
    with_spots = image + 0.5 * np.cos(2 * np.pi * (40 * x[None, :] + 30 * x[:, None]) / 256).astype(np.float32)
    clean, spotted = (polar_spectrum(one, 1.0, 0.4) for one in (image, with_spots))
    ring = 50
    assert spotted.count.sum() < clean.count.sum()
    assert np.average(spotted.power[ring], weights=spotted.count[ring]) < 1.5
    with_spots[3, 4] = np.nan
    assert np.isfinite(polar_spectrum(with_spots, 1.0, 0.4).power).all()


@pytest.mark.parametrize("length", [100, 130, 200, 330, 1000])
def test_squares_of_the_windows_add_up_to_one(length):
    total = np.zeros(length)
    for window in axis_windows(length, 100):
        total[window.start : window.start + 100] += window.values.astype(float) ** 2
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_windows_know_what_they_blur():
    window = axis_windows(400, 100)[2]
    squared = window.values.astype(float) ** 2
    lagged = np.sum(window.values[:-20].astype(float) * window.values[20:]) / squared.sum()
    assert window.coherence(np.array([20.0, -20.0, 0.0, 300.0])) == pytest.approx([lagged, lagged, 1, 0])
    wave = abs(np.sum(squared * np.exp(0.05j * np.arange(100)))) / squared.sum()
    assert window.mean_wave(np.array([0.05, 0.0])) == pytest.approx([wave, 1], abs=2e-3)


def test_windows_know_where_pairs_of_pixels_are():
    window = axis_windows(400, 100)[0]  # at the edge: not symmetric
    lag = 30
    weights = window.values[:-lag].astype(float) * window.values[lag:]
    middles = np.arange(100 - lag) + lag / 2
    mean = np.average(middles, weights=weights)
    assert window.centre + window.centre_shift(np.array([lag]))[0] == pytest.approx(mean, abs=0.01)
    assert window.centre_shift(np.array([0.0]))[0] == 0
    wave = abs(np.sum(weights * np.exp(0.02j * middles))) / weights.sum()
    assert window.mean_wave(np.array([0.02]), np.array([lag])) == pytest.approx([wave], abs=3e-3)


def test_tiles_count_the_coefficients_of_the_image_once():
    image = np.random.default_rng(4).standard_normal((384, 512)).astype(np.float32)
    tiles = tile_spectra(image, 1.5, 0.3, 128)
    whole = polar_spectrum(image, 1.5, 0.3)
    assert sum(tile.spectrum.count.sum() for tile in tiles) == pytest.approx(whole.count.sum(), rel=0.07)
    assert sum(tile.x for tile in tiles) == pytest.approx(0, abs=1e-3)
    mean = sum((tile.spectrum.power * tile.spectrum.count).sum() for tile in tiles)
    assert mean / sum(tile.spectrum.count.sum() for tile in tiles) == pytest.approx(1, rel=0.03)


def test_a_given_amplitude_spectrum_is_read_like_an_image():
    image = np.random.default_rng(5).standard_normal((256, 256)).astype(np.float32)
    averaged = np.mean(
        [np.abs(np.fft.fft2(part)) ** 2 for part in image.reshape(4, 64, 4, 64).swapaxes(1, 2).reshape(16, 64, 64)], 0
    )
    spectrum = spectrum_of_amplitudes(np.fft.fftshift(np.sqrt(averaged)), 1.0, 0.45)
    assert np.average(spectrum.power, weights=spectrum.count) == pytest.approx(64**2, rel=0.05)
    assert spectrum.count.sum() == pytest.approx(256**2 / 2 * np.pi / 4 * 0.9**2, rel=0.2)
