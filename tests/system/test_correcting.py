"""The command on movies whose motion is known: what its flags do to the pixels and to the tracks."""

import subprocess
import sys

import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from restframe.measures import fourier_crop

T, H, W = 6, 300, 340
DRIFT = np.array([[0, 0], [2, 1], [3, 2], [4, 2], [4, 3], [5, 3]])  # px of the content, x and y


def scene(seed=7):
    """Particles on an even ground, with room around: (H + 40, W + 40)."""
    rng = np.random.default_rng(seed)
    out = np.full((H + 40, W + 40), 4.0)
    for y, x in zip(rng.integers(0, H + 34, 500), rng.integers(0, W + 34, 500), strict=True):
        out[y : y + 5, x : x + 5] += 6
    return out


def frames_of(picture, drift=DRIFT):
    return [picture[20 - dy : 20 - dy + H, 20 - dx : 20 - dx + W] for dx, dy in drift]


def write(path, frames):
    with mrcfile.new(path, data=np.asarray(frames).astype(np.int16)) as mrc:
        mrc.set_image_stack()


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """(path, counts)"""
    counts = np.random.default_rng(3).poisson(frames_of(scene()))
    path = tmp_path_factory.mktemp("movie") / "movie.mrc"
    write(path, counts)
    return path, counts


def restframe(*words, folder):
    command = [sys.executable, "-m", "restframe", *map(str, words), "-OutMrc", "sum.mrc", "-Gpu", "-1"]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def image(folder, name="sum.mrc"):
    with mrcfile.open(folder / name) as mrc:
        return mrc.data.astype(float), float(mrc.voxel_size.x)


def agreement(a, b):
    """Correlation of two images, their noise smoothed."""
    a, b = (ndimage.gaussian_filter(v - v.mean(), 1) for v in (a, b))
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


@pytest.mark.parametrize("bin", [1.3, 2, 2.72])
def test_ftbin(movie, tmp_path, bin):
    path, counts = movie
    restframe("-InMrc", path, "-FtBin", bin, "-PixSize", 1.1, folder=tmp_path)
    binned, pixel = image(tmp_path)
    expected = tuple(2 * (int(n / bin) // 2) for n in (H, W))
    assert binned.shape == expected
    assert pixel == pytest.approx(1.1 * bin, rel=1e-6)
    # a binned pixel is the mean of those it covers
    assert binned.mean() == pytest.approx(counts.sum(0).mean(), rel=2e-3)


@pytest.mark.parametrize("bin", [1.3, 2])
def test_ftbin_leaves_nothing_beyond_the_new_nyquist_frequency(tmp_path, bin):
    """A wave below it stays, one above it is gone instead of folding back."""
    y, x = np.mgrid[: H + 40, : W + 40]
    kept, gone = 0.4 / bin, 0.6 / bin  # cycles a pixel
    picture = scene() + 2 * np.cos(2 * np.pi * kept * x) + 2 * np.cos(2 * np.pi * gone * y)
    write(tmp_path / "movie.mrc", np.round(30 * np.array(frames_of(picture, DRIFT[:1].repeat(3, 0)))))
    restframe("-InMrc", tmp_path / "movie.mrc", "-FtBin", bin, folder=tmp_path)
    binned, _ = image(tmp_path)
    h, w = binned.shape

    def amplitude(cycles, n, axis):
        """Of a wave along an axis, in the middle of the image."""
        window = np.hanning(n)
        wave = window * np.exp(-2j * np.pi * cycles * np.arange(n)) / window.sum()
        return 2 * abs(np.tensordot(binned - binned.mean(), wave, (axis, 0)).mean()) / (3 * 30)

    assert amplitude(kept * W / w, w, 1) == pytest.approx(2, rel=0.1)
    assert amplitude(1 - gone * H / h, h, 0) < 0.02


def test_mag_in_the_image_and_in_the_header(movie, tmp_path):
    """The movie as seen through a microscope that magnifies less along 30 degrees (MotionCor's sense of the angle)."""
    major, minor, angle = 1.02, 0.99, 30.0
    a = np.deg2rad(angle)
    axis = np.array([-np.sin(a), np.cos(a)])  # y, x: from x towards the smaller rows
    grow = np.eye(2) + (major / minor - 1) * np.outer(axis, axis)
    centre = np.array([H / 2, W / 2])
    # affine_transform: output at r comes from matrix r + offset; here r is on the detector
    distorted = [
        ndimage.affine_transform(f, grow, centre - grow @ centre, order=3, mode="nearest") for f in frames_of(scene())
    ]
    write(tmp_path / "movie.mrc", np.random.default_rng(4).poisson(np.maximum(distorted, 0)))
    words = ("-InMrc", tmp_path / "movie.mrc", "-FmRef", 0, "-PixSize", 1.1, "-FtBin", 1.25)
    said = restframe(*words, "-Mag", f"{major},{minor},{angle}", folder=tmp_path)
    assert "Mag stretch: 1.030  -30.000" in said.splitlines()
    found, pixel = image(tmp_path)
    assert pixel == pytest.approx(1.1 * 1.25 / 1.02, rel=1e-6)
    true = fourier_crop(frames_of(scene())[0], found.shape)
    inside = (slice(20, -20), slice(20, -20))
    right = agreement(found[inside], true[inside])
    assert right > 0.9
    restframe(*words, "-Mag", major, minor, -angle, folder=tmp_path)
    assert agreement(image(tmp_path)[0][inside], true[inside]) < 0.8 * right
    plain = restframe(*words, "-Mag", "1.000001 1 45", folder=tmp_path)
    assert "Mag stretch" not in plain
    assert agreement(image(tmp_path)[0][inside], true[inside]) < 0.8 * right


def test_crop(movie, tmp_path):
    path, _ = movie
    restframe("-InMrc", path, folder=tmp_path)
    whole, _ = image(tmp_path)
    restframe("-InMrc", path, "-Crop", "201 160", folder=tmp_path)
    part, _ = image(tmp_path)
    assert part.shape == (160, 200)
    assert np.abs(part - whole[70:230, 70:270]).std() < 0.02 * part.std()
