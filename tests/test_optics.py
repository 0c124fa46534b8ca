"""Laws of electron optics and damage, against tables and against slow sums."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from restframe.optics import (
    CtfParameters,
    critical_dose,
    ctf,
    dose_tolerance,
    interaction_parameter,
    mean_remaining_amplitude,
    remaining_amplitude,
    wavelength,
)


def test_electron_constants():
    assert wavelength(300) == pytest.approx(0.019687, rel=1e-4)  # the tables' 1.9687 pm
    assert wavelength(200) == pytest.approx(0.025079, rel=1e-4)
    assert interaction_parameter(300) == pytest.approx(6.526e-4, rel=1e-3)  # rad / (V A)


def test_matter_is_dark_and_the_ctf_first_vanishes_where_it_should():
    assert ctf(0.0, 0.0, CtfParameters(300, 12000)) == pytest.approx(-0.07)
    # without Cs and amplitude contrast, χ = π at k = 1 / sqrt(λ Δf)
    zero = 1 / np.sqrt(wavelength(300) * 12000)
    ideal = CtfParameters(300, 12000, spherical_aberration=0.0, amplitude_contrast=0.0)
    assert ctf(zero, 0.0, ideal) == pytest.approx(0, abs=1e-12)


def test_astigmatism_turns_with_its_angle():
    zero = 1 / np.sqrt(wavelength(300) * (12000 + 75))
    along = zero * np.cos(np.deg2rad(30)), zero * np.sin(np.deg2rad(30))
    astigmatic = CtfParameters(300, 12000, 150, 30, spherical_aberration=0.0, amplitude_contrast=0.0)
    assert ctf(*along, astigmatic) == pytest.approx(0, abs=1e-12)


def test_spherical_aberration_shifts_the_phase():
    """χ = π λ Δf k² - π/2 Cs λ³ k⁴ is zero where k² = 2 Δf / (Cs λ²)."""
    frequency = np.sqrt(2 * 12000 / (2.7e7 * wavelength(300) ** 2))
    assert ctf(frequency, 0.0, CtfParameters(300, 12000)) == pytest.approx(-0.07)


def test_the_critical_dose_at_300_kv():
    """Grant and Grigorieff 2015."""
    assert critical_dose(0.2, 300) == pytest.approx(0.24499 * 0.2**-1.6649 + 2.8141, rel=1e-12)
    assert critical_dose(0.2, 300) == pytest.approx(6.3857, abs=1e-3)
    assert np.isinf(critical_dose(0.0, 300))


@pytest.mark.parametrize(
    ("voltage", "expected"),
    [(300, 1.0), (250, 0.9), (200, 0.8), (100, 1 / 1.57), (150, (0.8 + 1 / 1.57) / 2), (120, 0.669554), (80, 0.604331)],
)
def test_lower_voltages_damage_more(voltage, expected):
    assert dose_tolerance(voltage) == pytest.approx(expected, abs=1e-5)
    assert critical_dose(0.2, voltage) == pytest.approx(expected * critical_dose(0.2, 300), rel=1e-5)


@pytest.mark.parametrize("voltage", [79.9, 301, 0, float("nan")])
def test_voltages_at_which_nothing_is_known(voltage):
    with pytest.raises(ValueError, match="from 80 to 300 kV"):
        critical_dose(0.1, voltage)


@pytest.mark.parametrize("frequency", [1e-3, 0.1, 0.3])
def test_damage_during_an_exposure_is_its_mean(frequency):
    doses = np.linspace(3.0, 7.0, 20_001)
    (amplitudes,) = remaining_amplitude(np.array([frequency]), doses, 300)
    assert_allclose(amplitudes, np.exp(-doses / (2 * critical_dose(frequency, 300))))
    slow = np.trapezoid(amplitudes, doses) / 4
    assert mean_remaining_amplitude(np.array([frequency]), 3.0, 7.0, 300)[0] == pytest.approx(slow, rel=1e-8)


def test_nothing_is_lost_at_zero_frequency():
    assert mean_remaining_amplitude(np.array([0.0]), 10.0, 20.0, 300)[0] == 1.0
    assert remaining_amplitude(np.array([0.0]), np.array([50.0]), 300)[0, 0] == 1.0
