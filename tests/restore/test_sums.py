"""Finished sums against the same gathered frames, transformed and weighted one by one in float64."""

import numpy as np
import pytest
from exact import blur_weights, combined, damage_weights
from scipy import ndimage

import restframe
from restframe.restore import dose
from restframe.restore.placement import make_placement
from restframe.track.field import MotionField

T, H, W = 6, 70, 94
PIXEL = 0.9


def movie(seed=1):
    """A specimen with all frequencies in it, (t, h, w) uint8 counts."""
    rng = np.random.default_rng(seed)
    scene = 6 + 2 * ndimage.gaussian_filter(rng.normal(size=(H, W)), 1) * 3
    return rng.poisson(np.maximum(scene, 0), (T, H, W)).astype(np.uint8)


def field(seed=2):
    """Motion of some pixels, with a local part."""
    rng = np.random.default_rng(seed)
    modes = ((0, 0), (1, 0), (0, 1), (1, 1))
    size = np.array([3, 0.1, 0.1, 0.05])[:, None, None]
    return MotionField(modes, rng.normal(size=(4, T, 2)) * size, (H, W)).relative_to(T // 2)


def corrected(frames, **choices):
    choices = {"find_defects": False, "pixel_size": PIXEL, "threads": 2, "field": field()} | choices
    return restframe.correct(frames, **choices)


def close(image, exact, tolerance=1e-3):
    assert image.shape == exact.shape and image.dtype == np.float32
    assert np.sqrt(np.mean((image - exact) ** 2)) < tolerance * exact.std()


ODD = np.arange(T) % 2 == 0
PARTS = {"sum": np.ones(T), "odd": ODD.astype(float), "even": 1.0 - ODD}


@pytest.mark.parametrize("bin", [1, 1.5])
@pytest.mark.parametrize("magnification", [(1, 1, 0), (1.02, 0.99, 25)])
def test_plain_sums(bin, magnification):
    frames = movie()
    place = make_placement((H, W), magnification=magnification)
    exact = combined(frames, field(), place, bin, lambda size: np.ones((T, 1, 1)), PARTS)
    result = corrected(frames, bin=bin, magnification=magnification, split=True)
    for name, image in exact.items():
        close(getattr(result, name), image)
    assert result.dose_weighted is None


@pytest.mark.parametrize("bin", [1, 1.5])
@pytest.mark.parametrize("magnification", [(1, 1, 0), (1.02, 0.99, 25)])
def test_dose_weighted_sums(bin, magnification):
    frames = movie()
    place = make_placement((H, W), magnification=magnification)
    accumulated = 2.5 + 3.0 * (np.arange(T) + 1)
    chosen = (accumulated >= 6) & (accumulated <= 12)
    parts = {"dose_weighted": np.ones(T), "dose_weighted_range": chosen.astype(float), "odd": ODD, "even": ~ODD}

    def weights(size):
        w = damage_weights(accumulated, PIXEL / max(magnification[:2]), 200, size)
        return w / np.sqrt((w**2).sum(0))

    exact = combined(frames, field(), place, bin, weights, parts)
    choices = {"frame_dose": 3.0, "initial_dose": 2.5, "voltage": 200, "sum_range": (6, 12), "split": True}
    result = corrected(frames, bin=bin, magnification=magnification, **choices)
    for name, image in exact.items():
        close(getattr(result, name), image)


@pytest.mark.parametrize("dose", [0, 1.5])
def test_odd_and_even_add_up_to_the_sum(dose):
    result = corrected(movie(), frame_dose=dose, split=True, bin=1.25)
    total = result.dose_weighted if dose else result.sum
    assert np.abs(result.odd + result.even - total).max() < 1e-4 * total.std()


@pytest.mark.parametrize(("range_", "frames"), [((3, 8), [0]), ((8, 12), [1, 2]), ((7.1, 13), [1, 2, 3])])
def test_doses_of_thrown_frames_and_before_the_movie_count(range_, frames):
    """The used frames have received 7, 9, 11 and 13 e/A² when they end; those in the range are in _DWS."""
    movie_ = (np.arange(T)[:, None, None] + np.random.default_rng(1).poisson(4, (T, H, W))).astype(np.uint8)
    result = corrected(
        movie_, field=MotionField.at_rest(4, (H, W)), frame_dose=2.0, initial_dose=1.0, throw=2, sum_range=range_
    )
    expected = movie_[2:][frames].sum(0).mean()
    assert result.dose_weighted_range.mean() == pytest.approx(expected, rel=1e-3)
    assert result.dose_weighted.mean() == pytest.approx(movie_[2:].sum(0).mean(), rel=1e-3)


@pytest.mark.parametrize("bin", [1, 1.5])
@pytest.mark.parametrize("magnification", [(1, 1, 0), (1.02, 0.99, 25)])
def test_sums_against_blur(bin, magnification):
    """Frames of unequal length; the motion during each is that of the parabola through it and its neighbours."""
    raw, place = 1 + np.arange(T) % 2, make_placement((H, W), magnification=magnification)
    pieces = np.random.default_rng(3).binomial(movie().repeat(raw, 0), 1 / raw.repeat(raw)[:, None, None])
    pieces = pieces.astype(np.uint8)
    frames = np.add.reduceat(pieces, np.r_[0, raw.cumsum()[:-1]])
    middle, at = raw.cumsum() - raw / 2, field().global_displacement()
    moved = []
    for t in range(T):
        near = slice(min(max(t - 1, 0), T - 3), min(max(t - 1, 0), T - 3) + 3)
        slope = [2 * a * middle[t] + b for a, b, _ in np.polyfit(middle[near], at[near], 2).T]
        moved.append(np.array(slope) * raw[t])
    accumulated = 2.0 * raw.cumsum()

    def weights(size):
        w = damage_weights(accumulated, PIXEL / max(magnification[:2]), 300, size)
        return w / np.sqrt((w**2).sum(0))

    def blur(size):
        return blur_weights(np.array(moved), place, size)

    def ones(size):
        return np.ones((T, size.padded[0], size.padded[1] // 2 + 1))

    rows = tuple(restframe.settings.Row(int(n), int(n), 2.0) for n in raw)
    choices = {
        "bin": bin,
        "magnification": magnification,
        "integration": rows,
        "intraframe_motion": True,
        "split": True,
    }
    result = corrected(pieces, **choices)
    close(result.sum, combined(frames, field(), place, bin, ones, {"sum": np.ones(T)}, blur)["sum"])
    parts = {"dose_weighted": np.ones(T), "odd": ODD.astype(float), "even": 1.0 - ODD}
    for name, image in combined(frames, field(), place, bin, weights, parts, blur).items():
        close(getattr(result, name), image)


def test_blur_weights_leave_the_noise_as_it_is():
    """Flat, in all directions, though the weights are far from that; of a movie that moves along x."""
    moving = MotionField(((0, 0),), np.array([[[5.0 * t, 0.3] for t in range(T)]]), (H, W)).relative_to(0)
    noise = np.random.default_rng(5).poisson(30, (T, H, W)).astype(np.uint8)
    plain, result = (corrected(noise, field=moving, intraframe_motion=d).sum[10:60, 40:84] for d in (False, True))
    power, expected = (np.abs(np.fft.rfft2(v - v.mean())[1:, 1:]) ** 2 for v in (result, plain))
    assert np.corrcoef(plain.ravel(), result.ravel())[0, 1] < 0.999
    for part in np.array_split(np.arange(power.shape[1] - 1), 4):
        assert power[:, part].mean() == pytest.approx(expected.mean(), rel=0.15)


def test_without_motion_blur_weights_change_nothing():
    rest = MotionField.at_rest(T, (H, W))
    plain, result = (corrected(movie(), field=rest, frame_dose=2.0, intraframe_motion=d) for d in (False, True))
    for name in ("sum", "dose_weighted"):
        close(getattr(result, name), getattr(plain, name), 2e-4)


@pytest.mark.parametrize("bin", [1, 1.5])
@pytest.mark.parametrize("group", [1, 4])
def test_stack(bin, group):
    """Each image is the sum of its frames, as exact as other sums; frames that are read again make no difference."""
    frames, place, taken = movie(), make_placement((H, W)), []
    result = corrected(frames, bin=bin, stack_group=group, frame_dose=1.0, stack=taken.extend)
    assert len(taken) == -(-T // group)
    for n, image in enumerate(taken):
        part = (np.arange(T) // group == n).astype(float)
        close(image, combined(frames, field(), place, bin, lambda size, w=part: w[:, None, None], {"one": part})["one"])
    alone = corrected(frames, bin=bin, frame_dose=1.0)
    assert np.array_equal(alone.sum, result.sum) and np.array_equal(alone.dose_weighted, result.dose_weighted)


def test_a_stack_of_all_frames_is_the_sum():
    taken = []
    result = corrected(movie(), stack_group=T, stack=taken.extend)
    assert len(taken) == 1
    close(taken[0], result.sum, 1e-5)


def test_a_stack_does_not_keep_its_images():
    """They are made when they are asked for."""
    made = []

    def take(images):
        made.append(next(images))
        raise KeyError

    with pytest.raises(KeyError):
        corrected(movie(), stack=take)
    assert len(made) == 1


def test_whole_frame_sum():
    place, whole = make_placement((H, W)), field()
    whole = MotionField(whole.modes[:1], whole.amplitudes[:1], (H, W))
    exact = combined(movie(), whole, place, 1.5, lambda size: np.ones((T, 1, 1)), {"sum": np.ones(T)})
    result = corrected(movie(), bin=1.5, global_sum=True, frame_dose=1.0)
    close(result.global_sum, exact["sum"])
    assert np.array_equal(result.sum, corrected(movie(), bin=1.5, frame_dose=1.0).sum)
    assert corrected(movie()).global_sum is None


def test_not_aligned_is_the_plain_sum():
    said = []
    result = corrected(movie(), field=None, align=False, frame_dose=1.0, split=True, report=said.append)
    close(result.sum, movie().sum(0))
    close(result.odd, movie()[ODD].sum(0))
    assert result.dose_weighted is None and result.patches is None
    assert not any("shift" in line for line in said)


def test_a_crop_is_the_middle_of_the_whole():
    whole, part = corrected(movie()), corrected(movie(), crop=(61, 50))
    assert part.sum.shape == (50, 60)
    middle = whole.sum[10:60, 17:77]
    # samples beyond the crop are real ones, so only the transfer's average differs
    assert np.sqrt(np.mean((part.sum - middle) ** 2)) < 1e-2 * middle.std()
    assert np.allclose(corrected(movie(), crop=(94, 0)).sum, whole.sum, atol=1e-6)


@pytest.mark.parametrize("crop", [(96, 0), (0, 71), (1, 0)])
def test_a_crop_beyond_the_frame_is_refused(crop):
    with pytest.raises(restframe.errors.SettingsError, match=rf"crop=\({crop[0]}, {crop[1]}\): .*94 x 70"):
        corrected(movie(), crop=crop)


def test_frames_of_different_sums_have_their_own_images():
    """Each frame is added to about half of the images then, and the weights are as exact."""
    t = 40
    accumulated = 1.2 * (np.arange(t) + 1)
    within = ((accumulated >= 3) & (accumulated <= 25)).astype(float)
    parts = {"dose_weighted": np.ones(t), "dose_weighted_range": within}
    sums = dose.unweighted_sums(t, {"sum": np.ones(t)}) + dose.dose_weighted_sums(accumulated, 1.0, 300, parts)
    plan = dose.make_plan(sums)
    assert ((plan.coefficients != 0).sum(0) <= 6).all()
    assert len(plan.coefficients) <= 11
    for s in sums:
        error = np.linalg.norm(plan.combinations[s.name] @ plan.coefficients - s.weights, axis=1)
        assert (error <= 1.01e-4 * np.linalg.norm(s.weights, axis=1)).all()
    assert (np.abs(plan.combinations["sum"]).max(0) > 0).sum() == 2
