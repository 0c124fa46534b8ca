"""-ArcDir through the command: the copy with its gain gives the same sum as the movie."""

import mrcfile
import numpy as np
import pytest
import tifffile

from restframe.cli.main import main
from restframe.movie import open_movie, read_frames


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(2)
    tifffile.imwrite(tmp_path / "m.tif", rng.poisson(3, (4, 256, 288)).astype(np.uint8), photometric="minisblack")
    mrcfile.write(tmp_path / "gain.mrc", rng.uniform(0.9, 1.1, (288, 256)).astype(np.float32))
    return tmp_path


def run(folder, text):
    words = [str(folder / w) if w.endswith((".tif", ".mrc", "arc")) else w for w in text.split()]
    return main([*words, "-Gpu", "-1", "-Iter", "1"])


def test_all_raw_frames_and_the_turned_gain(folder, capfd):
    assert run(folder, "-InTiff m.tif -OutMrc sum.mrc -Gain gain.mrc -RotGain 1 -Throw 1 -ArcDir arc") == 0
    out, err = capfd.readouterr()
    assert err == "" and "Raw frames are archived with 4 bits a pixel" in out
    np.testing.assert_array_equal(
        read_frames(open_movie(folder / "arc/m.mrc")), tifffile.imread(folder / "m.tif")[:, ::-1]
    )
    assert run(folder, "-InMrc arc/m.mrc -OutMrc again.mrc -Throw 1") == 0  # with the gain in its header
    assert "Gain reference: that in the movie's header." in capfd.readouterr().out
    assert (folder / "again.mrc").read_bytes() == (folder / "sum.mrc").read_bytes()


def test_the_copy_may_not_take_the_movies_place(folder, capfd):
    (folder / "arc").mkdir()
    (folder / "arc/m.mrc").write_bytes(b"raw")
    assert run(folder, "-InMrc arc/m.mrc -OutMrc sum.mrc -ArcDir arc") == 2
    assert "would overwrite the input" in capfd.readouterr().err
