"""The matched filter against a sum over bins for every place of a small grid."""

import numpy as np
import pytest

from restframe.ctf.bins import fit_noise, make_bins
from restframe.ctf.model import CtfShape, Microscope, phase
from restframe.ctf.search import SearchRange, astigmatism_grid, search, within
from restframe.ctf.spectrum import polar_spectrum
from restframe.optics import CtfParameters
from restframe.simulate.ice_images import IceImage, simulate_ice

MICROSCOPE = Microscope(300, 2.7, 0.07)
WHERE = SearchRange(8000.0, 20000.0, 800.0)


@pytest.fixture(scope="module")
def spectrum():
    image = simulate_ice(IceImage(512, 1.2, CtfParameters(300, 13000, 500, 40), 1.0, 100.0, seed=1))
    return polar_spectrum(image, 1.2, 1 / 3)


def brute_force(spectrum, where, step):
    """The highest matched filter over a grid of defocus and astigmatism, from all bins."""
    bins = make_bins(spectrum, where.min_frequency)
    excess = bins.count * (bins.power * np.exp(-bins.noise_basis @ fit_noise(bins, bins.noise_basis)) - 1)
    weight = np.exp(-60.0 * bins.squared_frequency)
    best = (-np.inf, None)
    for magnitude, double_angle in astigmatism_grid(where.max_astigmatism, 4 * step):
        first, second = magnitude * np.cos(double_angle), magnitude * np.sin(double_angle)
        for defocus in np.arange(where.min_defocus, where.max_defocus, step):
            chi = phase(MICROSCOPE, CtfShape(defocus, first, second), bins.squared_frequency, bins.angle)
            height = -np.sum(weight * excess * np.cos(2 * chi)) / np.sqrt(np.sum(bins.count * weight**2) / 2)
            best = max(best, (height, (defocus, first, second)), key=lambda one: one[0])
    return best


def test_the_search_finds_what_a_brute_force_search_finds(spectrum):
    bins = make_bins(spectrum, WHERE.min_frequency)
    candidates = search(spectrum, bins, fit_noise(bins, bins.noise_basis), MICROSCOPE, WHERE)
    height, (defocus, _, _) = brute_force(spectrum, WHERE, 100.0)
    assert candidates[0].height == pytest.approx(height, rel=0.1)
    assert candidates[0].shape.defocus == pytest.approx(defocus, abs=200)
    assert candidates[0].shape.defocus == pytest.approx(13000, abs=200)
    ranks = [one.rank for one in candidates]
    assert ranks == sorted(ranks, reverse=True)
    defoci = sorted(one.shape.defocus for one in candidates)
    assert min(np.diff(defoci)) > 100


def test_the_astigmatism_grid_covers_a_disc():
    grid = astigmatism_grid(1000.0, 200.0)
    places = np.array([[size * np.cos(angle), size * np.sin(angle)] for size, angle in grid])
    wanted = np.random.default_rng(1).uniform(-700, 700, (500, 2))
    distance = np.hypot(*(wanted[:, None] - places[None]).T).min(0)
    assert distance.max() < 150
    assert astigmatism_grid(0.0, 100.0) == [(0.0, 0.0)]


def test_phase_shifts_are_known_up_to_half_a_turn():
    values = within(np.array([0.1, 3.3, -3.0, 7.0]), (0.0, np.pi))
    assert ((values > -1e-9) & (values < np.pi)).all()
    np.testing.assert_allclose(np.sin(values - [0.1, 3.3, -3.0, 7.0]), 0, atol=1e-9)
