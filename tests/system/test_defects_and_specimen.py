"""What stands still is the camera's and does not hold the motion; what moves is the specimen's and stays."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from restframe import correct
from restframe.measures import track_error
from restframe.simulate import PRESETS, simulate

SHAPE = 12, 768, 768


@pytest.fixture(scope="module")
def simulated():
    recipe = replace(PRESETS["demo"], shape=SHAPE, seed=5, pixel_size=1.5, frame_dose=4.0)
    movie = simulate(recipe)
    return movie, movie.counts


def corrected(simulated, counts, **choices):
    recipe = simulated[0].recipe
    known = {"gain": simulated[0].gain, "pixel_size": recipe.pixel_size, "frame_dose": recipe.frame_dose}
    return correct(counts, patches=(5, 5), **{**known, **choices})


def error(simulated, result):
    return track_error(result.field, simulated[0].truth, simulated[0].recipe.pixel_size).total


@pytest.fixture(scope="module")
def clean_error(simulated):
    return error(simulated, corrected(simulated, simulated[1]))


def poisson(rate, shape, seed=1):
    return np.minimum(np.random.default_rng(seed).poisson(rate, shape), 255)


def dead_columns(counts):
    counts[:, :, 400:412] = 0


def saturated_columns(counts):
    counts[:, :, 400:416] = 255


def saturated_block(counts):
    counts[:, 300:340, 500:540] = 255


def hot_block(counts):
    counts[:, 300:340, 500:540] = poisson(3 * counts.mean(), (len(counts), 40, 40))


def hot_clusters(counts):
    for row, column, side in ((100, 600, 5), (400, 200, 7), (650, 500, 4)):
        counts[:, row : row + side, column : column + side] = poisson(4 * counts.mean() + 1, (len(counts), side, side))


def weak_band(counts):
    counts[:, :, 300:308] = np.random.default_rng(2).binomial(counts[:, :, 300:308], 0.8)


def quadrant(counts):
    counts[:, :384, :384] = np.random.default_rng(2).binomial(counts[:, :384, :384], 0.9)


@pytest.mark.parametrize(
    "spoil", [dead_columns, saturated_columns, saturated_block, hot_block, hot_clusters, weak_band, quadrant]
)
def test_unlisted_defects_do_not_hold_the_motion(simulated, clean_error, spoil):
    counts = simulated[1].copy()
    spoil(counts)
    changed = (counts != simulated[1]).any(0)
    result = corrected(simulated, counts)
    assert error(simulated, result) < 1.2 * clean_error
    filled = np.zeros(SHAPE[1:], bool)
    filled[result.bad_pixels[:, 1], result.bad_pixels[:, 0]] = True
    if spoil not in (weak_band, quadrant):
        assert filled[changed].mean() > 0.9
        assert filled[~changed].mean() < 0.01


def test_frames_of_sixteen_bits_with_gaps_of_all_ones(simulated):
    counts = simulated[1].astype(np.uint16)
    counts[:, 370:408] = 65535
    counts[:, :, 380:392] = 65535
    result = corrected(simulated, counts)
    gaps = (counts == 65535).all(0).astype(np.uint8)
    assert error(simulated, result) < 1.1 * error(simulated, corrected(simulated, counts, defect_map=gaps))
    inside = result.sum[375:400, 100:300].mean() / result.sum[100:300, 100:300].mean()
    assert inside == pytest.approx(1, abs=0.05)


def disk_coverage(x, y, diameter):
    """Share of each pixel under round beads at x, y (n,)."""
    rows, columns = np.indices(SHAPE[1:])
    coverage = np.zeros(SHAPE[1:])
    for centre_x, centre_y, width in zip(x, y, diameter, strict=True):
        part = slice(int(centre_y) - 10, int(centre_y) + 11), slice(int(centre_x) - 10, int(centre_x) + 11)
        distance = np.hypot(columns[part] - centre_x, rows[part] - centre_y)
        coverage[part] = np.maximum(coverage[part], np.clip(width / 2 - distance + 0.5, 0, 1))
    return coverage


@pytest.mark.parametrize("transmission", [0.15, 0.3])
def test_beads_that_move_are_no_defects(simulated, transmission):
    generator = np.random.default_rng(8)
    x, y, diameter = generator.uniform(30, 738, 25), generator.uniform(30, 738, 25), generator.uniform(4, 12, 25)
    counts, covered = simulated[1].copy(), np.zeros(SHAPE[1:], bool)
    for frame, image in enumerate(counts):
        moved = simulated[0].truth(x, y, frame)
        coverage = disk_coverage(x + moved[:, 0], y + moved[:, 1], diameter)
        covered |= coverage > 0.3
        image[:] = generator.binomial(image, 1 - coverage * (1 - transmission))
    result = corrected(simulated, counts)
    bad = np.zeros(SHAPE[1:], bool)
    bad[result.bad_pixels[:, 1], result.bad_pixels[:, 0]] = True
    assert bad[covered].mean() <= 0.01


def test_the_edge_of_the_beam_is_left_in_the_sum(simulated, clean_error):
    rows, columns = np.indices(SHAPE[1:])
    lit = 1 / (1 + np.exp((np.hypot(rows - 384, columns - 384) - 470) / 5))
    counts = np.random.default_rng(3).binomial(simulated[1], lit).astype(np.uint8)
    lines = []
    result = corrected(simulated, counts, report=lines.append)
    assert any("Light on the detector is uneven" in line for line in lines)
    assert result.sum[:20, :20].mean() < 0.02 * result.sum[300:400, 300:400].mean()
    truth, (x, y) = simulated[0].truth, simulated[0].truth.positions()
    inside = np.hypot(x - 384, y - 384) < 440
    difference = (result.field(x, y) - truth(x, y))[:, inside] * simulated[0].recipe.pixel_size
    difference -= difference.mean(0)
    assert np.sqrt((difference**2).sum(-1).mean()) < 1.3 * clean_error


def test_nothing_is_looked_for_where_that_is_turned_off(simulated):
    counts = simulated[1].copy()
    dead_columns(counts)
    assert not len(corrected(simulated, counts, find_defects=False).bad_pixels)


def with_fixed_texture(counts, contrast, seed=4, side=118):
    """A tenth of the area shows a texture that does not move; counts stay Poisson counts of the same mean."""
    generator = np.random.default_rng(seed)
    pattern = gaussian_filter(generator.normal(size=SHAPE[1:]), 1.5)
    rate = counts.mean() * np.clip(1 + contrast * pattern / pattern.std(), 0.05, None)
    replaced, counts = np.zeros(SHAPE[1:], bool), counts.copy()
    for row, column in ((40, 60), (60, 500), (330, 300), (600, 90)):
        replaced[row : row + side, column : column + side] = True
    counts[:, replaced] = np.minimum(generator.poisson(rate[replaced], (len(counts), replaced.sum())), 255)
    return counts, replaced


@pytest.mark.parametrize("contrast", [0.05, 0.2])
def test_a_texture_that_stands_still_does_not_hold_the_motion(simulated, clean_error, contrast):
    counts, replaced = with_fixed_texture(simulated[1], contrast)
    lines = []
    result = corrected(simulated, counts, report=lines.append)
    assert error(simulated, result) < 1.2 * clean_error  # 2.5 to 4 where nothing is left out
    assert any("stand still while the rest moves" in line for line in lines)
    listed = np.zeros(SHAPE[1:], bool)
    for x, y, width, height in result.motion_report.standing_places:
        listed[y : y + height, x : x + width] = True
    assert listed[replaced].mean() > 0.7
    assert listed[~replaced].mean() < 0.2  # rectangles around places are larger than the places


def test_no_place_of_a_common_movie_stands_still(simulated):
    assert corrected(simulated, simulated[1]).motion_report.standing_places == ()
