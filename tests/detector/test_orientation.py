import numpy as np
import pytest

from restframe.detector.orientation import TURNS, better_orientation, combined_turn, correlations, reorient


def pattern(rng, shape=(200, 230), sd=0.05):
    """A gain with dead pixels and columns, and seams that are the same from both sides."""
    gain = np.clip(rng.normal(1, sd, shape), 0.3, 3).astype(np.float32)
    gain[rng.random(shape) < 2e-4] = 0
    gain[shape[0] // 2 - 1 : shape[0] // 2 + 1] *= 1.5
    gain[:, 31] = 0
    return gain


def counts(rng, gain, dose, turn=(0, 0), factor=1):
    """A plain sum of ``dose`` counts a pixel of the gain, with edges and hot pixels in it."""
    lies = np.kron(reorient(gain, *turn), np.ones((factor, factor), np.float32))
    light = np.full(lies.shape, dose / factor**2)
    for _ in range(20):
        y, x = (rng.integers(0, n - 20) for n in light.shape)
        light[y : y + 20, x : x + 20] *= 0.5
    total = rng.poisson(light / np.where(lies > 0, lies, 1)).astype(np.float32)
    total[lies == 0] = 0
    total[rng.integers(0, len(total), 20), rng.integers(0, total.shape[1], 20)] = 5000
    return total


def test_all_twelve_are_eight():
    image = np.random.default_rng(0).random((5, 7))
    seen = {reorient(image, *turn).tobytes() for turn in TURNS}
    assert len(seen) == 8
    assert {reorient(image, rot, flip).tobytes() for rot in range(4) for flip in range(3)} == seen
    for rot, flip, *then in [(r, f, *t) for r in range(4) for f in range(3) for t in TURNS]:
        goal = reorient(reorient(image, rot, flip), *then)
        np.testing.assert_array_equal(reorient(image, *combined_turn((rot, flip), tuple(then))), goal)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize(("dose", "factor"), [(60, 1), (30, 2), (20, 4)])
@pytest.mark.parametrize("shape", [(200, 230), (300, 300), (517, 410)])
def test_the_turn_is_found(turn, dose, factor, shape):
    rng = np.random.default_rng(1)
    gain = pattern(rng, shape)
    total = counts(rng, gain, dose, turn, factor)
    found = better_orientation(total, gain)
    if turn == (0, 0):
        assert found is None
    else:
        assert found is not None and found.turn == turn and found.unturned < 0.4 * found.correlation
    by_turn, chance = correlations(total, gain)
    assert max(by_turn, key=by_turn.get) == turn and by_turn[turn] > 10 * chance
    assert len(by_turn) == (8 if shape[0] == shape[1] else 4)


@pytest.mark.parametrize("turn", [(0, 0), (0, 1), (2, 1)])
def test_no_false_alarm(turn):
    """Of movies that are corrected already, hold next to nothing, or whose gain tells nothing."""
    rng = np.random.default_rng(2)
    gain = pattern(rng, (300, 300))
    lies = reorient(gain, *turn)
    for dose in (0.01, 0.3, 40):
        corrected = counts(rng, gain, dose, turn) * lies
        assert better_orientation(corrected, gain) is None
    assert better_orientation(counts(rng, gain, 0.02, turn), gain) is None
    assert better_orientation(np.zeros((300, 300), np.float32), gain) is None
    assert better_orientation(counts(rng, gain, 40, turn), np.ones((300, 300), np.float32)) is None
    assert better_orientation(counts(rng, gain, 40), pattern(rng, (100, 100))) is None


def test_chance_is_what_is_said():
    rng = np.random.default_rng(4)
    found = [correlations(rng.poisson(5, (150, 150)).astype("f4"), pattern(rng, (150, 150), 0.1)) for _ in range(20)]
    spread = np.std([value for by_turn, _ in found for value in by_turn.values()])
    assert 0.7 < spread / found[0][1] < 1.3


def test_advice_counts_from_the_file():
    gain = pattern(np.random.default_rng(5))
    total = counts(np.random.default_rng(6), gain, 60, (2, 1))
    better = better_orientation(total, reorient(gain, 2, 2))
    assert better is not None
    assert better.advice(2, 2).startswith(
        "Warning: the gain reference would fit the movie better with rot_gain=2 flip_gain=1: correlation with the "
    )
