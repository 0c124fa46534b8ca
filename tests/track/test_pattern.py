"""What is fixed on the detector is found, and no longer correlates; what moves stays."""

import numpy as np
import pytest

from restframe.detector.small import STEPS, SmallFrames
from restframe.kernels import cpu
from restframe.track.pattern import fraction, pattern_power, take_off_band, take_off_tiles
from restframe.track.tiles import make_tiles


def frames_with(power: float, t: int = 12, shape=(200, 230), seed: int = 1) -> SmallFrames:
    """Noise of power one and a pattern whose power in the sum is ``power`` times the noise's."""
    rng = np.random.default_rng(seed)
    fixed = rng.normal(size=shape) * np.sqrt(power / t)
    stack = np.rint((rng.normal(size=(t, *shape)) + fixed) * STEPS)
    return SmallFrames(np.clip(stack, -127, 127).astype(np.int8), 1)


@pytest.mark.parametrize("power", [0.0, 0.3, 3.0])
def test_its_power_is_found(power):
    assert pattern_power(cpu, frames_with(power)) == pytest.approx(power, rel=0.05, abs=0.05)


def test_frames_do_not_correlate_any_more():
    small = frames_with(2.0)
    t = small.n_frames
    bands = np.fft.rfft2(np.stack([small.frame(i) for i in range(t)])).astype(np.complex64)

    def correlation(f):
        """Mean over pairs of frames, of their power."""
        f = f[:, 1:, 1:-1]
        own = (np.abs(f) ** 2).sum(0).mean()
        return ((np.abs(f.sum(0)) ** 2).mean() - own) / (own * (t - 1))

    before, after = correlation(bands), correlation(take_off_band(bands, pattern_power(cpu, small)))
    assert before == pytest.approx(2 / t / (1 + 2 / t), rel=0.1)
    assert abs(after) < 0.02 * before


def test_tiles_that_follow_the_specimen():
    small = frames_with(2.0)
    t = small.n_frames
    offsets = np.random.default_rng(2).integers(-6, 7, (t, 2))
    tiles = make_tiles(cpu, small, offsets, 64, 0.25, 20, 1)

    def at_detector():
        """Power of the sum of the frames, put back to where the detector saw them, over the sum of their powers."""
        steps = np.broadcast_to(-2 * np.pi / tiles.size * offsets, (len(tiles.re), t, 2)).astype(np.float32)
        re, im, own = cpu.align(tiles.re, tiles.im, steps, np.zeros(steps.shape[:2], np.float32))
        return float((re**2 + im**2)[:, 3:].sum() / own[:, 3:].sum())

    before = at_detector()
    take_off_tiles(cpu, tiles, pattern_power(cpu, small))
    assert before > 2.3  # 3 if the windows of all frames lay at the same place
    assert at_detector() == pytest.approx(1, abs=0.15)


def test_what_is_smooth_on_the_detector_does_not_leak():
    small = frames_with(0.0, shape=(490, 512))
    smooth = np.rint(STEPS * 0.5 * np.cos(np.pi * np.arange(512) / 512)).astype(np.int8)  # half of the noise's sd
    pattern = SmallFrames(np.clip(small.stack + smooth, -127, 127), 1)
    t, still = small.n_frames, np.zeros((small.n_frames, 2), int)

    def together(small) -> float:
        """Power of the sum of the frames over the sum of their powers, along the axes, where a taper leaks."""
        tiles = make_tiles(cpu, small, still, 64, 0.25, 20, 1)
        steps = np.zeros((len(tiles.re), t, 2), np.float32)
        re, im, own = cpu.align(tiles.re, tiles.im, steps, steps[..., 0])
        power = re**2 + im**2
        return float((power[:, 23:, 0].sum() + power[:, 20, 3:].sum()) / (own[:, 23:, 0].sum() + own[:, 20, 3:].sum()))

    assert together(pattern) == pytest.approx(together(small), abs=0.15)  # 1.2 more where means are left


def test_little_is_left_alone():
    assert fraction(0.0, 10) == 0
    band = np.ones((4, 3, 3), np.complex64)
    assert take_off_band(band, 0.01) is band
