"""-OutAln and -InAln through the command: the same images, without measuring."""

import mrcfile
import numpy as np
import pytest
import tifffile

from restframe.cli.main import main

SHAPE = (6, 320, 384)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A movie with motion, and its correction with patches and frames left out, the motion saved."""
    folder = tmp_path_factory.mktemp("aln")
    rng = np.random.default_rng(3)
    scene = np.full((SHAPE[1] + 20, SHAPE[2] + 20), 4.0)
    for y, x in zip(rng.integers(0, SHAPE[1], 400), rng.integers(0, SHAPE[2], 400), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    frames = [scene[10 - t : 10 - t + SHAPE[1], 2 * t : 2 * t + SHAPE[2]] for t in range(SHAPE[0])]
    for name in ("a.b.tif", "c.tif"):
        tifffile.imwrite(folder / name, rng.poisson(frames).astype(np.uint8), photometric="minisblack")
    run(folder, "-InTiff a.b.tif -OutMrc one.mrc -OutAln aln/deep -Throw 1 -Trunc 1 -FmRef 1 -Patch 3 3 " + DOSE)
    return folder


DOSE = "-PixSize 1.2 -FmDose 2 -SplitSum 1 -LogDir log"


def run(folder, text, code=0):
    paths = ("-InTiff", "-OutMrc", "-OutAln", "-InAln", "-LogDir")
    words = text.split()
    words = [str(folder / w) if i and words[i - 1] in paths else w for i, w in enumerate(words)]
    assert main([*words, "-Gpu", "-1"]) == code


@pytest.mark.parametrize("more", ["", "-Throw 1 -Trunc 1 -FmRef 1 -Patch 3 3"])
def test_motion_that_is_read_back_gives_the_same_bytes(folder, more, capfd):
    log = (folder / "log/a.b-Patch-Full.log").read_bytes()
    (folder / "log/a.b-Patch-Full.log").unlink()
    run(folder, f"-InTiff a.b.tif -OutMrc two.mrc -InAln aln/deep {more} {DOSE}")
    out, err = capfd.readouterr()
    assert err == "" and "Global shifts are corrected" in out
    for suffix in ("", "_DW", "_DWS", "_ODD", "_EVN"):
        assert (folder / f"two{suffix}.mrc").read_bytes() == (folder / f"one{suffix}.mrc").read_bytes()
    assert (folder / "log/a.b-Patch-Full.log").read_bytes() == log


def test_the_motion_was_applied_and_not_measured(folder, capfd):
    text = (folder / "aln/deep/a.b.aln").read_text()
    (folder / "still").mkdir()
    lines = text.splitlines()
    for i in range(8, 12):
        lines[i] = f"{i - 8:6d}    +0.000    +0.000"
    lines = [line for line in lines if not line.startswith("#restframe")]
    start = lines.index("localShift")
    lines[start:] = [
        " ".join([*line.split()[:3], "0", "0"]) if line[:6].strip().isdigit() else line for line in lines[start:]
    ]
    (folder / "still/a.b.aln").write_text("\n".join(lines))
    run(folder, "-InTiff a.b.tif -OutMrc still.mrc -InAln still")
    plain = tifffile.imread(folder / "a.b.tif")[1:-1, ::-1].sum(0, dtype=float)
    image = mrcfile.read(folder / "still.mrc")
    assert np.corrcoef(plain.ravel(), image.ravel())[0, 1] > 0.99
    assert np.corrcoef(plain.ravel(), mrcfile.read(folder / "one.mrc").ravel())[0, 1] < 0.9


def test_in_a_batch(folder, capfd):
    run(folder, "-InTiff c.tif -OutMrc c_alone.mrc -Patch 3 3 -OutAln all")
    run(folder, "-InTiff a.b.tif -OutMrc a_alone.mrc -Patch 3 3 -OutAln all")
    run(folder, "-InTiff . -Serial 1 -OutMrc batch_ -InAln all")
    assert (folder / "batch_c.mrc").read_bytes() == (folder / "c_alone.mrc").read_bytes()
    assert (folder / "batch_a.b.mrc").read_bytes() == (folder / "a_alone.mrc").read_bytes()
    (folder / "all/c.aln").unlink()
    run(folder, "-InTiff . -Serial 1 -OutMrc batch_ -InAln all", code=6)
    assert "1 of 2 movies failed" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ("-InAln aln/deep -Throw 2", 6, "was measured with -Throw 1 -Trunc 1"),
        ("-InAln none", 3, "a.b.aln cannot be read"),
        ("-InAln aln/deep -OutAln x", 6, "Leave one out"),
    ],
)
def test_what_is_wrong_is_said(folder, more, code, message, capfd):
    run(folder, f"-InTiff a.b.tif -OutMrc no.mrc {more}", code)
    assert message in capfd.readouterr().err
    assert not (folder / "no.mrc").exists()


def test_motion_of_another_movie(folder, capfd):
    tifffile.imwrite(folder / "small.tif", np.ones((4, 320, 380), np.uint8), photometric="minisblack")
    (folder / "small.aln").write_text((folder / "aln/deep/a.b.aln").read_text())
    run(folder, "-InTiff small.tif -OutMrc no.mrc -InAln small.aln -Throw 1 -Trunc 1", 3)
    err = capfd.readouterr().err
    assert "4 frames of 384 x 320" in err and "2 used frames of 380 x 320" in err
    (folder / "small.tif").unlink()
