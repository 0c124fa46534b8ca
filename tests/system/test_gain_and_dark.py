"""Gain and dark through the command: the pixels of the sum, in all twelve orientations."""

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import mrcfile
import numpy as np
import pytest
import tifffile

from restframe.cli.main import main
from restframe.movie import open_movie
from restframe.movie.events import CODINGS
from restframe.session import correct
from restframe.simulate.eer import electrons, write_eer

SHAPE = (176, 208)
ORIENTATIONS = [(rot, flip) for rot in range(4) for flip in range(3)]


def restframe(*words):
    """(exit code, stdout, stderr)"""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*map(str, words), "-Gpu", "-1"])
    return code, out.getvalue(), err.getvalue()


def picture():
    """What fell on the camera: different on every side, and with noise, among which no pixel is taken for a bad one."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    mean = 1000 + 3 * x + 2 * y + 100 * np.sin(x / 19) * np.sin(y / 31 + 1)
    return mean + 35 * np.random.default_rng(0).standard_normal(SHAPE, np.float32).clip(-3, 3)


def as_the_camera_has_it(image, rot, flip):
    """The reference file that, turned by these flags as the manual says, is ``image``."""
    image = (image, image[::-1], image[:, ::-1])[flip]  # undone last first
    return np.ascontiguousarray(np.rot90(image, rot))


def same(path, corrected):
    """The sum is that of a movie which was corrected beforehand, pixel by pixel."""
    expected = correct(corrected[None].astype(np.float32)).sum
    np.testing.assert_allclose(mrcfile.read(path), expected, rtol=1e-4)
    assert np.corrcoef(expected.ravel(), corrected.ravel())[0, 1] > 0.99


def save_movie(folder, kind, frame):
    """One frame: nothing moves, so the sum is the corrected frame."""
    if kind == "mrc":
        with mrcfile.new(folder / "m.mrc", data=frame[None].astype(np.float32), overwrite=True) as mrc:
            mrc.set_image_stack()
        return "-InMrc", folder / "m.mrc"
    tifffile.imwrite(folder / "m.tif", frame[::-1].astype(np.float32), photometric="minisblack")
    return "-InTiff", folder / "m.tif"


def save_reference(path, image):
    if path.suffix == ".mrc":
        mrcfile.write(path, image.astype(np.float32), overwrite=True)
    else:
        tifffile.imwrite(path, image[::-1].astype(np.float32), photometric="minisblack")
    return path


@pytest.fixture(scope="module")
def references():
    rng = np.random.default_rng(1)
    return rng.uniform(0.5, 2, SHAPE).astype(np.float32), rng.uniform(0, 300, SHAPE).astype(np.float32)


@pytest.mark.parametrize(("rot", "flip"), ORIENTATIONS)
@pytest.mark.parametrize(("kind", "suffix"), [("mrc", ".mrc"), ("tiff", ".tif"), ("tiff", ".mrc")])
def test_every_orientation(tmp_path, references, kind, suffix, rot, flip):
    """Of gain and dark, on movies of both formats."""
    gain, dark = references
    flag, movie = save_movie(tmp_path, kind, picture() / gain + dark)
    g = save_reference(tmp_path / f"gain{suffix}", as_the_camera_has_it(gain, rot, flip))
    d = save_reference(tmp_path / "dark.mrc", as_the_camera_has_it(dark, rot, flip))
    out = tmp_path / "o.mrc"
    words = [flag, movie, "-Gain", g, "-Dark", d, "-RotGain", rot, "-FlipGain", flip, "-OutMrc", out]
    code, said, wrong = restframe(*words)
    assert (code, wrong) == (0, "") and "would fit the movie better" not in said
    same(out, picture())


@pytest.mark.parametrize("kind", ["mrc", "tiff"])
def test_the_reciprocal_and_a_dark_alone(tmp_path, references, kind):
    gain, dark = references
    flag, movie = save_movie(tmp_path, kind, picture() / gain)
    g = save_reference(tmp_path / "gain.mrc", 1 / gain)
    code, _, _ = restframe(flag, movie, "-Gain", g, "-InvGain", 1, "-OutMrc", tmp_path / "o.mrc")
    same(tmp_path / "o.mrc", picture())
    save_movie(tmp_path, kind, picture() + dark)
    d = save_reference(tmp_path / "dark.mrc", as_the_camera_has_it(dark, 3, 1))
    code, said, _ = restframe(flag, movie, "-Dark", d, "-RotGain", 3, "-FlipGain", 1, "-OutMrc", tmp_path / "o.mrc")
    assert code == 0 and "\nWarning: Gain ref not found.\n" in said
    same(tmp_path / "o.mrc", picture())


def test_a_dark_is_that_of_a_raw_frame(tmp_path, references):
    """Three raw frames are summed to one: three times the dark."""
    gain, dark = references
    frame = np.round(picture() / gain + dark)
    with mrcfile.new(tmp_path / "m.mrc", data=np.repeat(frame[None], 3, 0).astype(np.uint16)) as mrc:
        mrc.set_image_stack()
    (tmp_path / "rows.txt").write_text("3 3")
    words = ["-InMrc", tmp_path / "m.mrc", "-Gain", save_reference(tmp_path / "g.mrc", gain), "-OutMrc"]
    words += [
        tmp_path / "o.mrc",
        "-Dark",
        save_reference(tmp_path / "d.mrc", dark),
        "-FmIntFile",
        tmp_path / "rows.txt",
    ]
    assert restframe(*words)[0] == 0
    same(tmp_path / "o.mrc", 3 * (frame - dark) * gain)


def test_a_dark_that_does_not_fit_is_left_out_in_motioncor2s_words(tmp_path, references):
    flag, movie = save_movie(tmp_path, "tiff", picture() / references[0])
    g = save_reference(tmp_path / "gain.mrc", references[0])
    d = save_reference(tmp_path / "dark.mrc", references[1][:100, :100])
    code, said, _ = restframe(flag, movie, "-Gain", g, "-Dark", d, "-OutMrc", tmp_path / "o.mrc")
    words = "\nWarning: The sizes of Dark and gain references do not match.\n   Dark reference has been removed.\n"
    assert code == 0 and words in said
    same(tmp_path / "o.mrc", picture())


@pytest.mark.parametrize("given", [False, True])
def test_the_gain_in_the_movies_header(tmp_path, references, given):
    """It is used unless another is given; flags turn either."""
    gain, _ = references
    with mrcfile.new(tmp_path / "m.mrc", data=(picture() / gain)[None].astype(np.float32)) as mrc:
        mrc.set_image_stack()
    raw = bytearray((tmp_path / "m.mrc").read_bytes())
    own = np.ones(SHAPE, np.float32) if given else as_the_camera_has_it(gain, 2, 1)
    raw[92:96] = np.int32(own.nbytes).tobytes()
    raw[128:132] = bytes(4)
    (tmp_path / "m.mrc").write_bytes(raw[:1024] + own.tobytes() + raw[1024:])
    words = ["-InMrc", tmp_path / "m.mrc", "-RotGain", 2, "-FlipGain", 1, "-OutMrc", tmp_path / "o.mrc"]
    words += ["-Gain", save_reference(tmp_path / "g.mrc", as_the_camera_has_it(gain, 2, 1))] if given else []
    code, said, _ = restframe(*words)
    assert code == 0 and "Gain ref not found" not in said
    assert ("Gain reference: that in the movie's header." in said) is not given
    same(tmp_path / "o.mrc", picture())


@pytest.mark.parametrize("sampling", [1, 2, 3])
def test_eer_with_the_cameras_gain_file(tmp_path, sampling):
    """A .gain is a TIFF, whose rows are turned round; EER rows are not: it takes -FlipGain 1. The camera's defects are
    bad pixels, and the gain, of physical pixels, is enlarged for finer sampling.
    """
    rng = np.random.default_rng(3)
    gain = rng.normal(1, 0.1, SHAPE).clip(0.6, 1.6).astype(np.float32)
    counts = rng.poisson(4 / gain, SHAPE)
    counts[20:30, 40:60] = 0
    raw = electrons(np.minimum(counts, 12), 12, CODINGS[65001], rng)
    write_eer(tmp_path / "m.eer", SHAPE, raw, 65001)
    xml = b"<d><area>40,20,59,29</area></d>"
    tifffile.imwrite(tmp_path / "c.gain", gain, extratags=[(65100, 7, len(xml), xml, True)])
    (tmp_path / "rows.txt").write_text("12 12")
    words = ["-InEer", tmp_path / "m.eer", "-Gain", tmp_path / "c.gain", "-EerSampling", sampling]
    words += ["-FmIntFile", tmp_path / "rows.txt", "-OutMrc", tmp_path / "o.mrc"]
    code, said, wrong = restframe(*words)
    assert "would fit the movie better with -RotGain 0 -FlipGain 1" in said
    code, said, wrong = restframe(*words, "-FlipGain", 1)
    assert (code, wrong) == (0, "") and "would fit the movie better" not in said
    assert "Defects listed in the gain reference: 200 pixels." in said
    n = 2 ** (sampling - 1)
    assert ("enlarged" in said) == (n > 1) and f"Bad pixels: {200 * n * n} of" in said
    image = mrcfile.read(tmp_path / "o.mrc")
    counts = open_movie(tmp_path / "m.eer", eer_sampling=sampling)
    expected = sum(counts.read(i).astype(np.float32) for i in range(12)) * np.kron(gain, np.ones((n, n)))
    if n == 1:
        keep = np.ones(SHAPE, bool)
        keep[16:34, 36:64] = False
        whole = correct(expected[None].astype(np.float32), find_defects=False).sum
        np.testing.assert_allclose(image[keep], whole[keep], atol=0.05)
    assert abs(n * n * image[20 * n : 30 * n, 40 * n : 60 * n].mean() - 4) < 0.4


def test_a_gain_that_lies_another_way_is_noticed(tmp_path):
    rng = np.random.default_rng(4)
    gain = rng.normal(1, 0.08, SHAPE).astype(np.float32)
    with mrcfile.new(tmp_path / "m.mrc", data=rng.poisson(10 / gain, (4, *SHAPE)).astype(np.uint16)) as mrc:
        mrc.set_image_stack()
    out = ["-InMrc", tmp_path / "m.mrc", "-OutMrc", tmp_path / "o.mrc", "-Gain"]
    code, said, _ = restframe(*out, save_reference(tmp_path / "g.mrc", gain[::-1]))
    assert code == 0
    lines = [line for line in said.splitlines() if "gain reference would fit" in line]
    assert len(lines) == 1 and "-RotGain 0 -FlipGain 1" in lines[0]
    code, said, wrong = restframe(*out, save_reference(tmp_path / "g.mrc", np.rot90(gain, 1)))
    assert code == 6 and "The movie's sum shows it as -RotGain 1 -FlipGain 0 would turn it" in wrong
