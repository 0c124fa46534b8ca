"""-DefectFile and -DefectMap through the command: the pixels of the sum."""

import mrcfile
import numpy as np
import pytest
import tifffile

from restframe.cli.main import main

FRAMES, HEIGHT, WIDTH = 6, 320, 352
X, Y, W, H = 200, 40, 12, 6  # in memory order


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Uniform light, and a weak cluster that is not found: (folder with the movie in both formats, the lists)."""
    folder = tmp_path_factory.mktemp("defects")
    movie = np.random.default_rng(5).poisson(20, (FRAMES, HEIGHT, WIDTH)).astype(np.uint8)
    movie[:, Y : Y + H, X : X + W] += 4
    tifffile.imwrite(folder / "m.tif", movie[:, ::-1], photometric="minisblack")
    with mrcfile.new(folder / "m.mrc", data=movie.astype(np.int16)) as mrc:
        mrc.set_image_stack()
    (folder / "d.txt").write_text(f"{X} {Y} {W} {H}\n")
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[Y : Y + H, X : X + W] = 1
    tifffile.imwrite(folder / "d.tif", mask[::-1])
    mrcfile.write(folder / "d.mrc", mask.astype(np.int8))
    return folder


def excess(folder, movie, *more):
    """Mean of the cluster in the sum, less that of the rest, in counts of one frame."""
    out = folder / "sum.mrc"
    words = [movie[0], folder / movie[1], "-OutMrc", out, "-Iter", "1", "-Gpu", "-1", *more]
    assert main([str(w) for w in words]) == 0
    image = mrcfile.read(out)
    inner = image[Y + 1 : Y + H - 1, X + 1 : X + W - 1]
    return (inner.mean() - np.median(image)) / FRAMES


@pytest.mark.parametrize("movie", [("-InTiff", "m.tif"), ("-InMrc", "m.mrc")])
@pytest.mark.parametrize("defects", [("-DefectFile", "d.txt"), ("-DefectMap", "d.tif"), ("-DefectMap", "d.mrc")])
def test_listed_pixels_take_the_local_mean(folder, movie, defects, capsys):
    assert excess(folder, movie) > 3
    assert abs(excess(folder, movie, defects[0], folder / defects[1])) < 0.3
    out, err = capsys.readouterr()
    assert f"Listed defects: {W * H} pixels." in out and err == ""


def test_what_is_wrong_with_them(folder, capsys):
    (folder / "bad.txt").write_text("1 1 1 1\nCameraSizeX 5760\n")
    for flag, name, code in (("-DefectFile", "bad.txt", 6), ("-DefectMap", "none.tif", 3), ("-DefectFile", "d.tif", 3)):
        words = ["-InMrc", folder / "m.mrc", "-OutMrc", folder / "x.mrc", "-Gpu", "-1", flag, folder / name]
        assert main([str(w) for w in words]) == code
        assert name in capsys.readouterr().err
    assert not (folder / "x.mrc").exists()


def test_found_defects_are_written_as_a_defect_file(tmp_path, capsys):
    movie = np.random.default_rng(3).poisson(20, (6, HEIGHT, WIDTH)).astype(np.uint8)
    movie[:, :, 100:112] = 0
    movie[:, 200:230, 30:60] = 255
    tifffile.imwrite(tmp_path / "m.tif", movie[:, ::-1], photometric="minisblack")
    words = ["-InTiff", tmp_path / "m.tif", "-OutMrc", tmp_path / "s.mrc", "-Gpu", "-1", "-Iter", "1"]
    assert main([str(word) for word in (*words, "--write-defects", tmp_path / "d.txt")]) == 0
    assert "Largest (x y w h): 100 0 12 320; 30 200 30 30" in capsys.readouterr().out
    lines = [line for line in (tmp_path / "d.txt").read_text().splitlines() if not line.startswith("#")]
    assert sorted(lines) == ["100 0 12 320", "30 200 30 30"]
