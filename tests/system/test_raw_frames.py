"""EER movies and integration files through the command, on movies whose motion is known."""

from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from types import SimpleNamespace

import mrcfile
import numpy as np
import pytest
import tifffile

from restframe.cli.main import main
from restframe.movie.events import CODINGS, Coding
from restframe.simulate.eer import electrons, write_eer

FRAMES, RAW, HEIGHT, WIDTH = 6, 4, 384, 448
DRIFT = np.array([[0, 0], [2, 1], [3, 2], [4, 2], [4, 3], [5, 3]])  # px of the content from fraction to fraction, x, y


def restframe(*words, folder):
    """Run the command in ``folder``."""
    out, err = StringIO(), StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err):
        code = main([*map(str, words), "-Gpu", "-1"])
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())


def fractions():
    """A strong specimen that drifts as a whole, counts of at most 4 a pixel, (t, h, w) uint8."""
    rng = np.random.default_rng(7)
    scene = np.full((HEIGHT + 40, WIDTH + 40), 0.6)
    for y, x in zip(rng.integers(0, HEIGHT + 34, 500), rng.integers(0, WIDTH + 34, 500), strict=True):
        scene[y : y + 5, x : x + 5] += 0.9
    frames = [scene[20 - dy : 20 - dy + HEIGHT, 20 - dx : 20 - dx + WIDTH] for dx, dy in DRIFT]
    return np.minimum(rng.poisson(frames), RAW).astype(np.uint8)


def raw_frames(counts):
    """The same electrons in four raw frames each, (t, h, w)."""
    rng = np.random.default_rng(8)
    out = np.zeros((len(counts), RAW, *counts.shape[1:]), np.uint8)
    for i in range(len(counts)):
        for _ in range(RAW):
            left = counts[i] - out[i].sum(0)
            where = rng.integers(0, RAW, left.shape)
            for k in range(RAW):
                out[i, k] += (left > 0) & (where == k)
        out[i, 0] += counts[i] - out[i].sum(0).astype(np.uint8)
    return out.reshape(-1, *counts.shape[1:])


@pytest.fixture(scope="module")
def movies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("movies")
    counts = fractions()
    raw = raw_frames(counts)
    assert (raw.reshape(FRAMES, RAW, HEIGHT, WIDTH).sum(1) == counts).all()
    with mrcfile.new(folder / "sums.mrc", data=counts) as mrc:
        mrc.set_image_stack()
    with mrcfile.new(folder / "raw.mrc", data=raw) as mrc:
        mrc.set_image_stack()
    tifffile.imwrite(folder / "raw.tif", raw[:, ::-1], compression="lzw", photometric="minisblack")
    rng = np.random.default_rng(9)
    for compression, coding in (*CODINGS.items(), (65002, Coding(7, 1, 1))):
        frames = [data for i in range(FRAMES) for data in electrons(counts[i], RAW, coding, rng)]
        write_eer(folder / f"{compression}.eer", (HEIGHT, WIDTH), frames, compression, coding)
    (folder / "fractions.txt").write_text(f"{FRAMES * RAW} {RAW} 0.25")
    return folder


@pytest.fixture(scope="module")
def truth(movies, tmp_path_factory):
    """The run on ready sums: (images, table of shifts)."""
    folder = tmp_path_factory.mktemp("truth")
    done = restframe(
        "-InMrc", movies / "sums.mrc", "-OutMrc", "o.mrc", "-PixSize", 1, "-FmDose", 1, "-SplitSum", 1, folder=folder
    )
    assert done.returncode == 0 and done.stderr == ""
    found = np.array([line.split()[-2:] for line in done.stdout.splitlines() if "shift:" in line], float)
    np.testing.assert_allclose(found, -DRIFT, atol=0.15)
    return {p.name: mrcfile.read(p) for p in folder.glob("*.mrc")}, table(done)


def table(done):
    return [line for line in done.stdout.splitlines() if line.startswith("...... Frame")]


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("-InEer", "65000.eer"), ("-InEer", "65001.eer"), ("-InMrc", "65002.eer"), ("-InTiff", "65001.eer"),
        ("-InTiff", "raw.tif"), ("-InMrc", "raw.mrc"),
    ],
)  # fmt: skip
def test_raw_frames_give_what_their_sums_give(movies, truth, tmp_path, flag, name):
    """Dose weighting comes from the file's third column alone; every image and number is the same."""
    words = [flag, movies / name, "-FmIntFile", movies / "fractions.txt", "-OutMrc", "o.mrc", "-PixSize", 1]
    done = restframe(*words, "-SplitSum", 1, folder=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "Fractions: 6, each the sum of 4 of the 24 raw frames used." in done.stdout
    assert table(done) == truth[1]
    images = {p.name: mrcfile.read(p) for p in tmp_path.glob("*.mrc")}
    assert images.keys() == truth[0].keys() == {"o.mrc", "o_DW.mrc", "o_DWS.mrc", "o_ODD.mrc", "o_EVN.mrc"}
    for key, image in images.items():
        np.testing.assert_array_equal(image, truth[0][key], err_msg=key)


def test_finer_sampling_doubles_the_size(movies, truth, tmp_path):
    words = ["-InEer", movies / "65001.eer", "-EerSampling", 2, "-FmIntFile", movies / "fractions.txt"]
    done = restframe(*words, "-OutMrc", "o.mrc", "-PixSize", 0.5, "-FtBin", 2, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    image = mrcfile.open(tmp_path / "o.mrc")
    assert image.data.shape == (HEIGHT, WIDTH) and image.voxel_size.x == 1
    # the shifts are twice as long, and the bin holds the mean of four pixels
    found = np.array([line.split()[-2:] for line in table(done)], float)
    np.testing.assert_allclose(found, -2 * DRIFT, atol=0.3)
    assert np.corrcoef(4 * image.data.ravel(), truth[0]["o.mrc"].ravel())[0, 1] > 0.6


def test_without_a_file_fractions_are_chosen_and_said(movies, tmp_path):
    done = restframe("-InEer", movies / "65001.eer", "-OutMrc", "o.mrc", folder=tmp_path)
    assert done.returncode == 0 and "Movie: EER, 448 x 384 pixels, 24 frames" in done.stdout
    assert len(table(done)) == 24  # of so few raw frames each is one


def test_damaged_frames(movies, tmp_path):
    raw = bytearray((movies / "65001.eer").read_bytes())
    with tifffile.TiffFile(movies / "65001.eer") as file:
        strips = [page.dataoffsets[0] for page in file.pages]
    raw[strips[9] + 50 : strips[9] + 450] = bytes(400)
    (tmp_path / "one.eer").write_bytes(raw)
    words = ["-FmIntFile", movies / "fractions.txt", "-PixSize", 1, "-OutMrc", "o.mrc"]
    done = restframe("-InEer", "one.eer", *words, folder=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert "Warning: one.eer: frame 10 is damaged" in done.stdout
    assert "Warning: 1 of 24 raw frames are damaged and left out. Their dose is counted." in done.stdout
    (tmp_path / "o.mrc").unlink()
    for strip in strips[::3]:
        raw[strip + 50 : strip + 450] = bytes(400)
    (tmp_path / "many.eer").write_bytes(raw)
    done = restframe("-InEer", "many.eer", *words, folder=tmp_path)
    assert done.returncode == 3 and "too many" in done.stderr and not (tmp_path / "o.mrc").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["-FmIntFile", "none.txt"], 3, "-FmIntFile none.txt cannot be read"),
        (["-FmIntFile", "bad.txt"], 6, "bad.txt, line 2: 'four'"),
        (["-FmIntFile", "good.txt", "-kV", "400"], 6, "-kV 400"),
        (["-Throw", "30"], 6, "leave none of the movie's 24 frames"),
        (["-EerSampling", "5"], 6, "-EerSampling 5"),
    ],
)
def test_wrong_input_is_named(movies, tmp_path, words, code, message):
    (tmp_path / "bad.txt").write_text("24 4\nfour\n")
    (tmp_path / "good.txt").write_text("24 4 0.1\n")
    done = restframe("-InEer", movies / "65001.eer", "-OutMrc", "o.mrc", *words, folder=tmp_path)
    assert done.returncode == code and message in done.stderr and not list(tmp_path.glob("*.mrc"))


def test_sampling_of_another_format_is_said(movies, tmp_path):
    done = restframe("-InMrc", movies / "sums.mrc", "-EerSampling", 2, "-OutMrc", "o.mrc", folder=tmp_path)
    assert done.returncode == 0 and "-EerSampling 2 has no effect on a MRC movie" in done.stdout
