"""-FmRef, -Throw, -Trunc and the flags of the search, on a movie whose drift is known."""

import subprocess
import sys

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

T, H, W = 6, 320, 352
DRIFT = np.array([[0, 0], [3, -2], [5, -3], [6, -4], [7, -4], [7, -5]])  # px of the content, x and y


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """(path, what each frame shows without noise, counts)"""
    rng = np.random.default_rng(7)
    scene = np.full((H + 40, W + 40), 4.0)
    for y, x in zip(rng.integers(0, H + 34, 500), rng.integers(0, W + 34, 500), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    frames = np.array([scene[20 - dy : 20 - dy + H, 20 - dx : 20 - dx + W] for dx, dy in DRIFT])
    counts = rng.poisson(frames).astype(np.int16)
    path = tmp_path_factory.mktemp("movie") / "movie.mrc"
    with mrcfile.new(path, data=counts) as mrc:
        mrc.set_image_stack()
    return path, frames, counts


def restframe(movie, text, folder):
    words = ["-InMrc", str(movie[0]), "-OutMrc", "sum.mrc", "-LogDir", ".", "-Gpu", "-1", *text.split()]
    command = [sys.executable, "-m", "restframe", *words]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    return mrcfile.read(folder / "sum.mrc"), np.loadtxt(folder / "movie-Full.log")


def agreement(a, b):
    a, b = (ndimage.gaussian_filter(np.asarray(v, float), 1)[20:-20, 20:-20] for v in (a, b))
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize(("reference", "shown"), [(0, 0), (2, 2), (5, 5), (-1, 3), (99, 5)])
def test_the_sum_shows_the_reference_frame(movie, tmp_path, reference, shown):
    image, table = restframe(movie, f"-FmRef {reference}", tmp_path)
    agreements = [agreement(image, frame) for frame in movie[1]]
    assert np.argmax(agreements) == shown and agreements[shown] > 0.9
    # shifts are relative to the first frame whatever the reference is
    assert np.array_equal(table[0], [1, 0, 0])
    assert np.abs(table[:, 1:] + DRIFT).max() < 0.1


def test_the_reference_counts_used_frames(movie, tmp_path):
    image, _ = restframe(movie, "-Throw 2 -FmRef 1", tmp_path)
    agreements = [agreement(image, frame) for frame in movie[1]]
    assert agreements[3] > 0.9 and agreements[1] < agreements[3]


@pytest.mark.parametrize(("throw", "trunc"), [(2, 0), (0, 2), (1, 2)])
def test_frames_that_are_left_out_are_in_no_pixel(movie, tmp_path, throw, trunc):
    image, table = restframe(movie, f"-Throw {throw} -Trunc {trunc}", tmp_path)
    used = slice(throw, T - trunc)
    assert list(table[:, 0]) == list(range(1, T - throw - trunc + 1))
    assert np.abs(table[:, 1:] + DRIFT[used] - DRIFT[throw]).max() < 0.1
    assert image.mean() == pytest.approx(movie[2][used].sum(0).mean(), rel=2e-3)
    # frame by frame, noise tells: the sum holds that of the used ones and of no other
    middle = throw + (T - throw - trunc) // 2
    for t in range(T):
        noise = movie[2][t] - movie[1][t]
        dx, dy = DRIFT[middle] - DRIFT[t]
        moved = np.roll(noise, (dy, dx), (0, 1))
        found = np.corrcoef(moved[20:-20, 20:-20].ravel(), image[20:-20, 20:-20].ravel())[0, 1]
        assert (found > 0.15) == (throw <= t < T - trunc)


@pytest.mark.parametrize(
    "text",
    ["-Iter 1", "-Iter 50 -Tol 0.01", "-Tol 0.5", "-Bft 150", "-Bft 1000,50", "-PhaseOnly 1", "--weights bfactor"],
)
def test_the_search_finds_the_drift_however_it_is_steered(movie, tmp_path, text):
    _, table = restframe(movie, text, tmp_path)
    error = table[:, 1:] + DRIFT
    error -= error.mean(0)
    assert np.sqrt((error**2).sum(1).mean()) < 0.08
