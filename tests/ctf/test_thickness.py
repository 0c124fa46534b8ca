"""The fit averaged over the thickness of the ice."""

from dataclasses import replace

import numpy as np
import pytest

from restframe.ctf.bins import expected_power, make_bins
from restframe.ctf.fit import averaged
from restframe.ctf.model import CtfShape, Microscope, SignalStrength
from restframe.ctf.refine import Fit, Freedom, refine
from restframe.ctf.search import SearchRange
from restframe.ctf.spectrum import polar_spectrum
from restframe.ctf.thickness import WeightedFit, fits_by_thickness

MICROSCOPE = Microscope(300, 2.7, 0.07)
TRUTH, SIGNAL = CtfShape(12000, 300, -200, squared_thickness=1400.0**2), SignalStrength(1.0, 80.0)


@pytest.fixture(scope="module")
def fits():
    """From the expected power of thick ice, without noise, for a start that takes it for thin."""
    image = np.random.default_rng(1).standard_normal((512, 512)).astype(np.float32)
    bins = make_bins(polar_spectrum(image, 1.2, 0.33), 1 / 30)
    power = expected_power(bins, MICROSCOPE, TRUTH, SIGNAL, np.zeros(bins.noise_basis.shape[1]))
    bins = replace(bins, power=power)
    thin = replace(TRUTH, squared_thickness=300.0**2)
    start = refine(bins, MICROSCOPE, thin, SIGNAL, Freedom(thickness=False))
    return start, fits_by_thickness(bins, MICROSCOPE, start, Freedom())


def test_the_thickness_that_made_the_power_is_the_most_likely_one(fits):
    start, weighted = fits
    best = max(weighted, key=lambda one: one.log_probability).fit
    assert best.gain > start.gain + 3
    assert abs(np.sqrt(best.shape.squared_thickness) - 1400) <= 300  # a step of the grid
    mean = averaged(weighted, SearchRange())
    assert mean.shape.defocus == pytest.approx(12000, abs=0.5 * mean.error("defocus"))
    assert mean.error("defocus") >= best.error("defocus") * 0.9


def test_unlikely_thicknesses_are_left_out(fits):
    _, weighted = fits
    gains = [one.fit.gain for one in weighted]
    thicknesses = [float(np.sqrt(one.fit.shape.squared_thickness)) for one in weighted]
    assert len(set(thicknesses)) == len(thicknesses) > 2
    assert 3300.0 not in thicknesses and max(gains) - min(gains) < 12


def test_phase_shifts_at_both_ends_of_the_range_are_neighbours():
    def fit(phase_shift):
        return Fit(CtfShape(12000, phase_shift=phase_shift), SIGNAL, np.zeros(9), 20.0, np.eye(7))

    ends = [WeightedFit(fit(0.05), 0.0), WeightedFit(fit(np.pi - 0.07), 0.0)]
    mean = averaged(ends, SearchRange(phase_shift=(0.0, np.pi)))
    assert abs(np.sin(mean.shape.phase_shift + 0.01)) < 1e-9
    assert np.sqrt(mean.covariance[3, 3] - np.eye(7)[3, 3] / (1 - 4 / 20)) == pytest.approx(0.06, abs=1e-6)
