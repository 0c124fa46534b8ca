"""The model against the optics of the simulation, and against the mean over slabs."""

import numpy as np
import pytest

from restframe.ctf.model import CtfShape, Microscope, SignalStrength, thickness_envelope, transfer
from restframe.optics import CtfParameters, ctf


def test_the_transfer_is_the_square_of_the_ctf():
    parameters = CtfParameters(200, 15000, 600, 25, 2.0, 0.1)
    double_angle = np.deg2rad(50)
    shape = CtfShape(15000, 600 * np.cos(double_angle), 600 * np.sin(double_angle))
    generator = np.random.default_rng(1)
    frequency_x, frequency_y = generator.uniform(-0.3, 0.3, (2, 200))
    squared, angle = frequency_x**2 + frequency_y**2, np.arctan2(frequency_y, frequency_x)
    expected = ctf(frequency_x, frequency_y, parameters) ** 2
    np.testing.assert_allclose(transfer(Microscope(200, 2.0, 0.1), shape, squared, angle), expected, atol=1e-9)


def test_a_phase_shift_adds_to_the_phase():
    microscope, squared = Microscope(), np.linspace(0.001, 0.1, 50)
    quarter = transfer(microscope, CtfShape(10000, phase_shift=np.pi / 2), squared, 0.0)
    np.testing.assert_allclose(quarter, 1 - transfer(microscope, CtfShape(10000), squared, 0.0), atol=1e-9)


def test_thick_ice_is_the_mean_over_thin_slabs():
    microscope, squared, thickness = Microscope(), np.linspace(0.001, 0.1, 50), 1200.0
    heights = (np.arange(400) + 0.5) / 400 * thickness - thickness / 2
    mean = np.mean([transfer(microscope, CtfShape(15000 + height), squared, 0.3) for height in heights], axis=0)
    thick = transfer(microscope, CtfShape(15000, squared_thickness=thickness**2), squared, 0.3)
    np.testing.assert_allclose(thick, mean, atol=1e-5)
    first_node = 1 / (microscope.wavelength * thickness)
    assert thickness_envelope(microscope, thickness**2, np.array([first_node]))[0] == pytest.approx(0, abs=1e-9)


def test_the_signal_falls_with_its_b_factor():
    signal = SignalStrength(np.log(0.5), 100.0)
    np.testing.assert_allclose(signal(np.array([0.0, 0.04])), [0.5, 0.5 * np.exp(-2)])
