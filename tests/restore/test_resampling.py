"""What is left of a specimen's finest waves after one resampling, and whether white noise stays white."""

import importlib.util
from pathlib import Path

import numpy as np

_SOURCE = Path(__file__).parents[2] / "benchmarks" / "resampling.py"
_spec = importlib.util.spec_from_file_location("resampling", _SOURCE)
resampling = importlib.util.module_from_spec(_spec)


def test_waves_keep_their_height_and_noise_its_power(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "resampling", resampling)
    _spec.loader.exec_module(resampling)
    waves = np.concatenate([resampling.axis_and_random(f, 1, 3) for f in (0.5, 0.75, 0.9)])
    found = resampling.resample(waves, 6, (250, 262), 5)
    by_band = (found.kept * found.flatness[[5] * 3 + [7] * 3 + [9] * 3]).reshape(3, 3)  # height alone, squared
    assert (by_band[:2] > 0.99).all(), by_band
    assert (by_band[2] > 0.97).all(), by_band
    assert (by_band < 1.03).all()  # the transfer is right on the average of the image, not in each part of it
    # a ring of so small an image is known to 2 %
    np.testing.assert_allclose(found.flatness[1:], 1, atol=0.06)
    np.testing.assert_allclose(np.mean(found.flatness[4:]), 1, atol=0.02)
