"""The most probable path of frames that say little alone."""

import numpy as np
import pytest

from restframe.detector.binned import LEVELS_PER_DEVIATION, BinnedFrames
from restframe.kernels.cpu import Cpu
from restframe.track.path import JUMP, STEP, best_path, most_probable_path
from restframe.track.whole_frame import CLEAR, estimate_coarse_shifts, low_frequency_band

cpu = Cpu(2)


def every_path(gain, around, centre):
    """The best path by trying all of them."""
    t, n, _ = gain.shape
    places = np.array([(x, y) for y in range(n) for x in range(n)])
    best, found = -np.inf, None
    for index in np.ndindex(*(len(places),) * t):
        at = places[list(index)]
        where = centre + around[at]
        price = np.minimum(0.5 * (np.diff(where, axis=0) ** 2).sum(1) / STEP**2, JUMP).sum()
        value = gain[np.arange(t), at[:, 1], at[:, 0]].sum() - price
        if value > best:
            best, found = value, where
    return found


@pytest.mark.parametrize("seed", range(6))
def test_no_path_is_better(seed):
    rng = np.random.default_rng(seed)
    around = np.array([-6.0, 0.0, 6.0])
    gain, centre = rng.normal(0, 8, (4, 3, 3)), rng.normal(0, 4, (4, 2))
    np.testing.assert_allclose(best_path(gain, around, centre), every_path(gain, around, centre))


@pytest.mark.parametrize("seed", range(3))
def test_frames_too_weak_for_themselves(seed):
    """A specimen whose frames have no clear peak of their own: the path is within a few pixels all the same."""
    rng = np.random.default_rng(seed)
    t, h, w = 30, 256, 240
    ky, kx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)
    radius = np.hypot(ky, kx)
    specimen = np.fft.rfft2(rng.normal(size=(h, w))) * 0.7 * np.exp(-((radius / 0.04) ** 2))
    true = np.cumsum(rng.normal(0, 1.5, (t, 2)), 0)
    true[t // 2 :] += (9.0, -7.0)  # a jump
    turns = np.exp(-2j * np.pi * (true[:, 0, None, None] * kx + true[:, 1, None, None] * ky))
    frames = [np.fft.irfft2(specimen * p, s=(h, w)) + rng.normal(size=(h, w)) for p in turns]
    small = BinnedFrames(np.array(frames, np.float32) * LEVELS_PER_DEVIATION, 1)
    band = low_frequency_band(cpu, small, 128)
    coarse, clear = estimate_coarse_shifts(cpu, band, (h, w), 500.0, 8, 0.1, False)
    assert clear.min() < CLEAR

    def error(track):
        e = track - true
        return np.sqrt(((e - np.median(e, 0)) ** 2).sum(1).mean())

    assert error(most_probable_path(cpu, band, (h, w), coarse)) < 2.5 < 5 < error(coarse)
