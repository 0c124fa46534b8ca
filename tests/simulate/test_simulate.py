"""The physics of simulated movies, each against something that can be worked out by other means."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.fft as sfft
from numpy.testing import assert_allclose, assert_array_equal

from restframe.measures import _register
from restframe.simulate import PRESETS, Truth, simulate
from restframe.simulate.camera import draw_counts, make_camera
from restframe.simulate.motion import Term, make_truth
from restframe.simulate.specimen import Species, project_atoms, project_specimen, random_rotations, shifted_images

SMALL = replace(PRESETS["falcon"], shape=(6, 200, 230), frame_dose=4.0, large=60.0, small=120.0)


def cloud(seed: int, n: int = 300) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)) * 8


def test_rotations_are_rotations():
    turns = random_rotations(np.random.default_rng(1), 20)
    assert_allclose(turns @ turns.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (20, 3, 3)), atol=1e-12)
    assert_allclose(np.linalg.det(turns), 1)


def test_projected_potential_holds_all_atoms():
    spectra = project_atoms(cloud(1, 500), random_rotations(np.random.default_rng(2), 3), 1.3, 40.0)
    # the integral over the plane: 110 - 83 V A³ an atom
    assert_allclose(spectra[:, 0, 0].real * 1.3**2, 500 * 27.0, rtol=1e-5)


def test_a_box_moves_as_its_fourier_series_says():
    spectra = project_atoms(cloud(3), random_rotations(np.random.default_rng(4), 1), 1.0, 40.0)
    box = spectra.shape[1]
    shift = np.array([[3.37, -1.81]])
    image = shifted_images(spectra, shift, np.zeros((1, 2)))[0]
    # one sample, by the slow sum over all frequencies
    k = np.fft.fftfreq(box)
    full = np.fft.fft2(sfft.irfft2(spectra[0].astype(np.complex128), s=(box, box)))
    for y, x in ((box // 2, box // 2), (box // 2 - 3, box // 2 + 5)):
        at = np.exp(2j * np.pi * (k[:, None] * (y + 1.81) + k[None] * (x - 3.37)))
        assert image[y, x] == pytest.approx((full * at).sum().real / box**2, rel=2e-4, abs=1e-3 * float(image.std()))


def test_blur_is_the_mean_of_the_positions_passed():
    spectra = project_atoms(cloud(5), random_rotations(np.random.default_rng(6), 1), 1.0, 40.0)
    travel = np.array([[2.5, -1.5]])
    steps = (np.arange(400) + 0.5) / 400 - 0.5
    passed = np.mean([shifted_images(spectra, s * travel, np.zeros((1, 2)))[0] for s in steps], axis=0)
    blurred = shifted_images(spectra, np.zeros((1, 2)), travel)[0]
    assert_allclose(blurred, passed, atol=1e-4 * passed.max())


def test_a_particle_on_the_canvas_is_moved_exactly_across_whole_pixels_and_its_edge():
    spectra = project_atoms(cloud(7), random_rotations(np.random.default_rng(8), 1), 1.0, 40.0)
    canvas = (180, 162)
    species = (Species(np.array([100.3]), np.array([70.6]), np.zeros(1), spectra),)

    def at(dx, dy):
        return project_specimen(species, canvas, (0, 0), lambda x, y, z: (np.array([[dx, dy]]), np.zeros((1, 2))))

    ky, kx = np.fft.fftfreq(canvas[0])[:, None], np.fft.rfftfreq(canvas[1])[None]
    for dx, dy in ((0.45, -0.3), (13.7, 5.2), (60.25, -80.75)):
        turned = np.fft.rfft2(at(0, 0)) * np.exp(-2j * np.pi * (kx * dx + ky * dy))
        expected = np.fft.irfft2(turned, s=canvas)
        assert_allclose(at(dx, dy), expected, atol=2e-3 * expected.max())


def test_what_rests_at_x_is_found_at_x_plus_truth():
    truth = Truth((Term(0, 0),), np.array([[[2.3, -1.6], [0, 0], [-3.4, 4.1]]]), np.zeros((1, 3, 2)), (200, 230), 1)
    movie = replace(simulate(replace(SMALL, shape=(3, 200, 230), astigmatism=0.0)), truth=truth)
    rest = movie.electrons(1)[:, :200]
    window = np.hanning(200)[:, None] * np.hanning(200)[None]
    for t in (0, 2):
        frame = movie.electrons(t)[:, :200]
        here, there = (sfft.rfft2((a - a.mean()) * window) for a in (frame, rest))
        assert_allclose(_register(here * there.conj()), truth.amplitudes[0, t], atol=0.05)


def test_mean_variance_and_ceiling_of_counts():
    counts = draw_counts(np.full((600, 500), 1.7, np.float32), (1, 2))
    assert counts.dtype == np.uint8
    assert counts.mean() == pytest.approx(1.7, abs=5 * np.sqrt(1.7 / counts.size))
    assert counts.var() == pytest.approx(1.7, rel=0.02)
    assert draw_counts(np.full((4, 4), 1000.0), (1,)).tolist() == [[255] * 4] * 4


def test_the_gain_makes_the_mean_flat_and_defects_are_where_they_are_said_to_be():
    recipe = replace(SMALL, kind="noise", large=0.0, small=0.0, hot=60 * 30, dead=200 * 30, clusters=60.0)
    movie = simulate(recipe)
    mean = movie.camera.expected_counts(movie.electrons(0)) * movie.gain
    bad = np.zeros(mean.shape, bool)
    for x, y, w, h in movie.defects:
        bad[y : y + h, x : x + w] = True
    assert len(movie.defects) > 20 and 20 < bad.sum() < 500
    assert_allclose(mean[~bad], 4.0, rtol=1e-5)
    assert np.abs(mean[bad] - 4.0).min() > 0.5
    camera = make_camera(recipe)
    assert (1 / camera.gain).mean() == pytest.approx(1, abs=1e-3)
    assert 0.07 < (1 / camera.gain).std() < 0.15


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_others():
    first, again, other = simulate(SMALL), simulate(SMALL), simulate(replace(SMALL, seed=2))
    assert_array_equal(first.frame(3), again.frame(3))
    assert_array_equal(first.counts[3], again.frame(3))  # frames can be made in any order
    assert (first.frame(3) != other.frame(3)).mean() > 0.3
    assert (first.frame(3) != first.frame(4)).mean() > 0.3


def test_a_still_specimen_is_the_sum_of_its_frames():
    movie = simulate(SMALL)
    nothing = np.zeros_like(movie.truth.amplitudes)
    rest = replace(movie, truth=replace(movie.truth, amplitudes=nothing, travel=nothing))
    total = sum(rest.electrons(t) for t in range(6))
    assert_allclose(movie.still(), total, rtol=2e-5)
    assert movie.still().std() / movie.still().mean() > 0.01  # there is something to see


def test_the_still_image_can_stand_as_in_any_frame():
    movie = simulate(SMALL)
    assert_allclose(movie.still(movie.truth.reference), movie.still(), rtol=1e-6)
    assert np.abs(movie.still(0) - movie.still()).max() > 0.05


@pytest.mark.parametrize("kind", PRESETS)
def test_the_truth_of_every_kind(kind):
    recipe = replace(PRESETS[kind], shape=(PRESETS[kind].shape[0], 128, 160))
    truth = make_truth(recipe)
    n = recipe.shape[0]
    assert truth.reference == n // 2
    x, y = truth.positions(16)
    assert np.abs(truth(x, y, n // 2)).max() == 0
    assert truth(x, y).shape == (n, 16, 16, 2)
    assert_array_equal(truth(x, y)[0], truth(x, y, 0))
    first = truth.relative_to(0)
    assert_allclose(first(x, y), truth(x, y) - truth(x, y, 0), atol=1e-12)
    assert_allclose(truth.whole_frame(), truth(*truth.positions(96)).mean(axis=(1, 2)), atol=1e-12)


def test_a_falcon_movie_moves_as_much_as_it_should():
    recipe = replace(PRESETS["falcon"], pixel_size=0.5)
    u = make_truth(recipe)(*make_truth(recipe).positions()) * 0.5
    u = u - u.mean(axis=0)
    local = u - u.mean(axis=(1, 2), keepdims=True)
    assert np.sqrt((local**2).sum(-1).mean()) == pytest.approx(1.2, rel=1e-6)
    assert 1.7 < np.sqrt((u**2).sum(-1).mean()) < 2.9


def test_travel_and_mean_positions_belong_together():
    """Without steps between frames, a frame's end is the next one's beginning; mean position lies between them."""
    recipe = replace(PRESETS["early"], shape=(400, 64, 64), frame_dose=0.05)
    truth = make_truth(recipe)
    ends = np.cumsum(truth.travel, axis=1)
    middle = ends - truth.travel / 2
    moved_by_mean = np.diff(truth.amplitudes, axis=1)
    assert_allclose(moved_by_mean, np.diff(middle, axis=1), atol=1e-3 * np.abs(truth.travel).max())


def test_a_bubble_pushes_outwards():
    recipe = replace(PRESETS["bubble"], shape=(10, 500, 500), local_rms=0.0, settle=0.0, drift=0.0, walk=0.0)
    truth = make_truth(recipe).relative_to(0)
    x, y = truth.positions(50)
    u = truth(x, y, 9)
    fastest = np.hypot(u[..., 0], u[..., 1])
    assert fastest.max() == pytest.approx(8 * (np.exp(-0.6 / 12) - np.exp(-11.4 / 12)), rel=0.05)
    divergence = np.gradient(u[..., 0], axis=1) + np.gradient(u[..., 1], axis=0)
    centre = np.unravel_index(divergence.argmax(), divergence.shape)
    assert fastest[centre] < 0.3 * fastest.max()


def test_a_wrong_gain_is_handed_out_on_purpose():
    movie = simulate(replace(SMALL, gain_upside_down=True))
    assert_array_equal(movie.gain[::-1], movie.camera.gain)


def test_height_and_tilt_change_focus_and_motion():
    recipe = replace(SMALL, small=0.0, thickness=600.0, swing=0.5, seed=3)
    thick = simulate(recipe)
    (kind,) = thick.species
    assert 100 < np.abs(kind.z).max() <= 300
    turn = np.hypot(*(thick.swing[-1] - thick.swing[0]))  # pixels for each A of height
    left = np.exp(-recipe.frame_dose * np.array([0.5, recipe.shape[0] - 0.5]) / recipe.settle_dose)
    mean = np.sinh(recipe.frame_dose / recipe.settle_dose / 2) / (recipe.frame_dose / recipe.settle_dose / 2)
    assert turn == pytest.approx(np.deg2rad(0.5) * mean * (left[0] - left[1]), rel=1e-6)
    assert_allclose(thick.swing[recipe.shape[0] // 2], 0)
    # a tilted specimen's defocus is the mean one in the middle, and rises towards larger x
    tilted = simulate(replace(SMALL, tilt=45.0, seed=3))
    defocus = {d: np.concatenate([s.x for s in part]).mean() for part, d in tilted._species_by_defocus}
    for d, x in defocus.items():
        assert x - (SMALL.shape[2] - 1) / 2 == pytest.approx(d - SMALL.defocus, abs=125)
    assert len(defocus) > 1
