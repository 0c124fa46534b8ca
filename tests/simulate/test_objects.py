"""Objects of the detector stand still and change nothing else; objects of the specimen move with it."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from restframe.measures import _register
from restframe.simulate import PRESETS, Recipe, Truth, simulate, write
from restframe.simulate.motion import Term
from restframe.simulate.recipe import DetectorObjects, SpecimenObjects
from restframe.simulate.specimen_objects import make_moving_objects

SIDE = 320  # pixels
PLAIN = Recipe(kind="plain", shape=(4, SIDE, SIDE), pixel_size=1.5, frame_dose=4.0, large=20.0, small=0.0)


def with_detector_objects(**objects):
    choices = {"count_type": objects.pop("count_type", "uint8")}
    return simulate(replace(PLAIN, detector_objects=DetectorObjects(**objects), **choices))


def uniform_truth(*displacements):
    """Motion of the whole frame, the same everywhere: (x, y) in pixels of each frame."""
    amplitudes = np.array([displacements], float)
    return Truth((Term(0, 0),), amplitudes, np.zeros_like(amplitudes), (SIDE, SIDE), 0)


def moving(truth, margin=40, **objects):
    frames = truth.n_frames
    recipe = replace(PLAIN, shape=(frames, SIDE, SIDE), specimen_objects=SpecimenObjects(**objects))
    canvas = SIDE + 2 * margin
    return make_moving_objects(recipe, truth, (margin, margin), (canvas, canvas))


@pytest.fixture(scope="module")
def plain_counts():
    return simulate(PLAIN).counts


@pytest.mark.parametrize(
    ("objects", "inside"),
    [({"clusters": 5}, (28, 0.5)), ({"bands": 2}, None), ({"blocks": 2}, None), ({"gaps": True}, (65535, 0))],
)
def test_unlisted_defects_are_the_only_change(plain_counts, objects, inside):
    movie = with_detector_objects(**objects, count_type="uint16" if "gaps" in objects else "uint8")
    counts, mask = movie.counts, movie.standing.defect_mask((SIDE, SIDE))
    assert 0 < mask.sum() < 0.4 * mask.size
    assert_array_equal(counts[:, ~mask], plain_counts[:, ~mask])
    assert len(movie.unlisted_defects)
    if inside:
        mean, tolerance = inside
        assert counts[:, mask].mean() == pytest.approx(mean, abs=tolerance)
    else:
        assert set(np.unique(counts[:, mask])) <= {0, 255}
        assert (counts[:, mask] == counts[0, mask]).all()


@pytest.mark.parametrize(
    "objects",
    [{"beam_radius": 0.5}, {"dust": 4}, {"scratches": 2}, {"quadrant_gain": 0.9}],
    ids=lambda one: next(iter(one)),
)
def test_dimmed_places_count_a_fraction_of_the_electrons(plain_counts, objects):
    movie = with_detector_objects(**objects)
    counts, transmission = movie.counts, movie.standing.transmission
    assert_array_equal(counts[:, transmission == 1], plain_counts[:, transmission == 1])
    assert (counts <= plain_counts).all()
    expected = (transmission * plain_counts.mean(0))[transmission < 1].mean()
    assert counts[:, transmission < 1].mean() == pytest.approx(expected, rel=0.02)


def test_the_light_ends_at_the_edge_of_the_beam(plain_counts):
    counts = with_detector_objects(beam_radius=0.4).counts
    assert counts[:, :20, :20].max() == 0
    middle = np.s_[:, 140:180, 140:180]
    assert_allclose(counts[middle].mean(), plain_counts[middle].mean(), rtol=1e-3)


def test_a_fixed_texture_is_the_same_in_every_frame(plain_counts):
    movie = with_detector_objects(texture_area=0.25, texture_contrast=(0.4, 0.4))
    counts, replaced = movie.counts, np.isfinite(movie.standing.texture)
    assert replaced.mean() == pytest.approx(0.2, abs=0.06)
    assert_array_equal(counts[:, ~replaced], plain_counts[:, ~replaced])
    corrected = counts * movie.gain
    first, last = corrected[0][replaced], corrected[3][replaced]
    # signal 0.4² of the mean squared, noise 1 / mean: correlation 0.16 / (0.16 + 1 / 9)
    assert np.corrcoef(first, last)[0, 1] == pytest.approx(0.59, abs=0.06)
    assert first.mean() == pytest.approx(9, rel=0.03)


def test_beads_are_where_the_specimen_is():
    truth = uniform_truth((0, 0), (7.3, -4.6))
    objects = moving(truth, beads=40.0, bead_diameter=(12.0, 30.0))
    rest, moved = objects.brightness(0), objects.brightness(1)
    assert rest.min() < 0.35 and rest.max() == 1
    shadow = 1 - rest
    spectra = [np.fft.rfft2(image) for image in (1 - moved, shadow)]
    assert_allclose(_register(spectra[0] * spectra[1].conj()), (7.3, -4.6), atol=0.1)
    covered = objects.bead_coverage(0) > 0.3
    assert (rest[covered] < 0.85).all() and (rest[objects.bead_coverage(0) == 0] == 1).all()


def test_bright_beads_are_bright():
    brightness = moving(uniform_truth((0, 0)), bright_beads=200.0).brightness(0)
    assert brightness.min() == 1 and 20 < brightness.max() < 120


@pytest.mark.parametrize(
    "objects",
    [{"ice_texture": 0.03}, {"lattice": 0.3}, {"carbon_transmission": 0.75}, {"detail": 0.2}],
    ids=lambda one: next(iter(one)),
)
def test_whole_pixels_of_motion_only_shift_the_image(objects):
    made = moving(uniform_truth((0, 0), (5, -3)), **objects)
    rest, moved = made.brightness(0), made.brightness(1)
    assert rest.std() > 0.02
    inner = moved[20:-20, 20:-20]
    assert_allclose(inner, rest[23:-17, 15:-25], atol=2e-3)


def test_detail_at_the_highest_frequency_survives_motion_by_a_fraction_of_a_pixel():
    made = moving(uniform_truth((0, 0), (0.5, 0.0)), detail=0.1)
    power = [abs(np.fft.rfft2(made.brightness(frame)))[:20, -40:-2].mean() for frame in (0, 1)]
    assert power[1] == pytest.approx(power[0], rel=0.03)


def test_texture_follows_local_motion():
    amplitudes = np.zeros((1, 2, 2))
    amplitudes[0, 1] = 12.0, 0.0  # x grows by 12 pixels across the frame
    truth = Truth((Term(1, 0),), amplitudes, np.zeros_like(amplitudes), (SIDE, SIDE), 0)
    made = moving(truth, ice_texture=0.05, ice_grain=4.0)
    rest, moved = made.brightness(0), made.brightness(1)
    for left in (40, 216):
        columns = slice(left, left + 64)
        window = np.hanning(SIDE)[:, None] * np.hanning(64)[None]
        images = [(image[:, columns] - 1) * window for image in (moved, rest)]
        spectra = [np.fft.rfft2(np.pad(image, ((0, 0), (128, 128)))) for image in images]
        shift = _register(spectra[0] * spectra[1].conj())
        assert_allclose(shift, truth(left + 31.5, 160.0, 1), atol=0.25)


def test_motion_during_a_frame_blurs():
    sharp, blurred = uniform_truth((0, 0)), uniform_truth((0, 0))
    blurred = replace(blurred, travel=np.array([[[6.0, 0.0]]]))
    sharp_image, image = (moving(truth, detail=0.1).brightness(0) for truth in (sharp, blurred))
    assert image.std() < 0.8 * sharp_image.std()
    assert_allclose(moving(blurred, detail=0.1).brightness(0, moving=False), sharp_image, atol=1e-5)


def test_the_still_specimen_holds_its_objects_and_not_those_of_the_detector():
    recipe = replace(PLAIN, specimen_objects=SpecimenObjects(beads=40.0), detector_objects=DetectorObjects(blocks=3))
    movie, plain = simulate(recipe), simulate(PLAIN)
    ratio = movie.still() / plain.still()
    assert_allclose(ratio, movie.moving.brightness(None), rtol=1e-4)
    assert ratio.min() < 0.5


def test_unlisted_defects_are_written(tmp_path):
    movie = with_detector_objects(blocks=2)
    write(replace(movie, recipe=replace(movie.recipe, shape=(1, SIDE, SIDE))), tmp_path)
    assert_array_equal(np.loadtxt(tmp_path / "unlisted_defects.txt", dtype=int), movie.unlisted_defects)


@pytest.mark.parametrize("kind", ["clusters", "beads", "carbonedge", "brightbeads"])
def test_the_same_recipe_gives_the_same_bytes(kind):
    recipe = replace(PRESETS[kind], shape=(2, 200, 220))
    first, again = simulate(recipe), simulate(recipe)
    assert_array_equal(first.frame(1), again.counts[1])
    assert first.counts.dtype == recipe.count_type
