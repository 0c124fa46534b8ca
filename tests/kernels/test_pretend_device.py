"""Only the kernels know where arrays lie: movies are corrected on a device that refuses host arrays, as a GPU does."""

import numpy as np
import pytest
from pretend_device import DeviceArray, pretend_device
from scipy import ndimage

import restframe
import restframe.session
from restframe.track import standing

IMAGES = ("sum", "dose_weighted", "dose_weighted_range", "odd", "even", "global_sum", "power_spectrum")
BASIC = {"patches": (3, 3), "pixel_size": 1.1, "frame_dose": 1.2}
EVERY_SUM = {"split": True, "global_sum": True, "bin": 1.37, "crop": (300, 280), "magnification": (1.01, 0.99, 33.0)}


def moving(rate=1.2, frame_count=12, side=320, seed=1):
    """Counts (t, h, w) uint8 and the gain that corrects them; with a hot block, a cold band and a dead corner."""
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(side + 40, side + 40)), 3)
    image = 1 + 0.15 * image / image.std()
    gain = rng.normal(1, 0.05, (side, side)).clip(0.5, 2).astype(np.float32)
    rows, columns = np.mgrid[:side, :side]
    counts = np.empty((frame_count, side, side), np.uint8)
    for frame in range(frame_count):
        moved = 6 * frame / frame_count * (1 + columns / side)
        positions = rows + 20 + moved, columns + 20 - moved
        expected = ndimage.map_coordinates(image, positions, order=1) * rate / gain
        expected[60:90, 100:130] *= 2
        expected[:, 200:208] *= 0.7
        counts[frame] = rng.poisson(expected)
    counts[:, 5, 7], counts[3, 90, 80], counts[:, 300:, 300:] = 60, 250, 0
    return counts, gain


CASES = {
    "plain": {},
    "every sum": EVERY_SUM,
    "motion within frames": {"intraframe_motion": True, "patches": (1, 1)},
    "grouped frames, weights by B-factor": {"group": (2, 3), "weights": "bfactor", "phase_only": True},
    "no search for defects": {"find_defects": False},
    "CTF": {"spherical_aberration": 2.7, "power_spectrum": True, "patches": (1, 1)},
    "weak": {"rate": 0.05, "frame_count": 10},
    "wrong gain": {"without_gain": True},
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_movie(case, monkeypatch):
    choices = BASIC | CASES[case]
    recipe = {name: choices.pop(name) for name in ("rate", "frame_count") if name in choices}
    counts, gain = moving(**recipe)
    if not choices.pop("without_gain", False):
        choices |= {"gain": gain, "dark": np.full(gain.shape, 0.01, np.float32)}
    expected = restframe.correct(counts, **choices)
    device = pretend_device()
    monkeypatch.setattr(restframe.session, "make_kernels", lambda machine: device)
    result = restframe.correct(counts, **choices)
    assert {"gather", "tile_spectra", "shift_gradient"} <= device.calls
    for name in IMAGES:
        image, other = getattr(result, name), getattr(expected, name)
        assert (image is None) == (other is None)
        if image is not None:
            assert isinstance(image, np.ndarray)
            np.testing.assert_array_equal(image, other)


def test_places_that_stand_still(monkeypatch):
    """The search for them goes through all of its steps."""
    monkeypatch.setattr(standing, "may_be_held", lambda evidence: True)
    monkeypatch.setattr(standing, "SEED_DEVIATIONS", (-100.0, -100.0))
    looks = []
    evidence = standing.local_evidence
    monkeypatch.setattr(standing, "local_evidence", lambda *given: looks.append(given) or evidence(*given))
    counts, gain = moving()
    device = pretend_device()
    monkeypatch.setattr(restframe.session, "make_kernels", lambda machine: device)
    assert restframe.measure_motion(counts, gain=gain, **BASIC).report.stated_error > 0
    assert len(looks) > 2


def test_the_device_refuses_what_a_gpu_refuses():
    there, here = DeviceArray(np.arange(3.0)), np.arange(3.0)
    for wrong in (
        lambda: there + here,
        lambda: here * there,
        lambda: np.exp(there) - here,
        lambda: np.asarray(there),
        lambda: ndimage.gaussian_filter(there, 1),
        lambda: np.stack([there, here]),
        lambda: pretend_device().standard_deviation(here),
        lambda: pretend_device().irfft2(here, (2, 2)),
    ):
        with pytest.raises(TypeError):
            wrong()
    assert float((2 * there + np.float32(1)).sum()) == 9
    assert isinstance(np.exp(there), DeviceArray) and isinstance(there.sum(), DeviceArray)
