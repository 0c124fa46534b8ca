"""-InFmMotion on a movie of few frames that moves far during each: how much of a still movie's signal is kept."""

import mrcfile
import numpy as np
import pytest
import tifffile

import restframe
from restframe.cli.main import main
from restframe.measures import expected_still_ratio, still_ratio
from restframe.simulate.movie import simulate
from restframe.simulate.recipe import Recipe
from restframe.track.field import MotionField

# 9 px of motion during the first frame, 1 px during the last
RECIPE = Recipe(
    shape=(6, 512, 512),
    frame_dose=4.0,
    settle=24.0,
    settle_dose=8.0,
    drift=6.0,
    local_rms=0.0,
    large=60.0,
    small=60.0,
    hot=0.0,
    dead=0.0,
    clusters=0.0,
)
BANDS = ((8.0, 5.0), (5.0, 4.0), (4.0, 3.2))


@pytest.fixture(scope="module")
def movie():
    return simulate(RECIPE)


def true_field(movie):
    at = movie.truth.whole_frame()[None]
    return MotionField(((0, 0),), at, RECIPE.shape[1:]).relative_to(movie.truth.reference)


def test_more_signal_is_kept_with_the_true_motion(movie):
    """Noise and signal are seen apart, so that one small movie tells a few percent."""
    still, counts = movie.still(), movie.still_counts().astype(np.float32)
    electrons = np.array([movie.electrons(t) for t in range(RECIPE.shape[0])])
    ratios = {}
    for during in (False, True):
        choices = {"field": true_field(movie), "intraframe_motion": during, "pixel_size": 1.0, "frame_dose": 4.0}
        found = restframe.correct(movie.counts, gain=movie.gain, find_defects=False, **choices)
        signal = restframe.correct(electrons, find_defects=False, **choices)
        for name in ("sum", "dose_weighted"):
            image, clean = getattr(found, name), getattr(signal, name)
            ratio = expected_still_ratio(clean, image - clean, still, counts - still, 1.0, BANDS, 512)
            ratios[name, during] = np.array(ratio)
    gain = {name: ratios[name, True] / ratios[name, False] for name in ("sum", "dose_weighted")}
    assert gain["sum"] == pytest.approx([1.17, 1.29, 1.32], rel=0.08) and gain["sum"].min() > 1.1
    assert gain["dose_weighted"].min() > 1.5  # dose weights trust the first, blurred frames most
    assert ratios["dose_weighted", True].min() > ratios["sum", True].min()


def test_through_the_command(movie, tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", movie.counts[:, ::-1], photometric="minisblack")
    mrcfile.write(tmp_path / "gain.mrc", movie.gain)
    words = ["-InTiff", "movie.tif", "-Gain", "gain.mrc", "-OutMrc"]
    still, counts = movie.still(), movie.still_counts().astype(np.float32)
    ratios = []
    for name, during in (("without.mrc", "0"), ("with.mrc", "1")):
        paths = [str(tmp_path / w) if "." in w else w for w in (*words, name)]
        more = ["-InFmMotion", during, "-PixSize", "1", "-FmDose", "4", "-SplitSum", "1", "-Gpu", "-1"]
        assert main([*paths, *more]) == 0
        image = mrcfile.read(tmp_path / name.replace(".", "_DW."))
        # in finer bands one small movie's noise is too strong to tell
        ratios += still_ratio(image, still, counts, 1.0, BANDS[:1], 512)
    assert ratios[1] > 1.3 * ratios[0]
    odd, even = (mrcfile.read(tmp_path / f"with_{half}.mrc") for half in ("ODD", "EVN"))
    assert np.abs(odd + even - image).max() < 1e-3 * image.std()


def test_noise_stays_flat(movie):
    """White noise of variance 4 in each of 6 frames: 24 in the sum, 4 in the weighted one, at every frequency."""
    rng = np.random.default_rng(1)
    h, w = RECIPE.shape[1:]
    radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]) / 0.5
    ring = np.minimum((radius * 10).astype(int), 9)
    used = (radius > 0.02) & (radius < 1)
    power = {"sum": np.zeros(10), "dose_weighted": np.zeros(10)}
    for _ in range(3):
        choices = {"field": true_field(movie), "intraframe_motion": True, "pixel_size": 1.0, "frame_dose": 4.0}
        result = restframe.correct(rng.poisson(4, RECIPE.shape).astype(np.float32), find_defects=False, **choices)
        for name in power:
            spectrum = np.abs(np.fft.rfft2(getattr(result, name))) ** 2 / (h * w) / 3
            power[name] += np.bincount(ring[used], spectrum[used], 10) / np.bincount(ring[used])
    for name, variance in (("sum", 24), ("dose_weighted", 4)):
        flat = power[name] / variance  # a little below one: what lies off the frame is filled without noise
        np.testing.assert_allclose(flat[:9], 0.99, atol=0.03)
        np.testing.assert_allclose(flat[9], 1.04, atol=0.05)  # the mean transfer errs there, with so few frames
