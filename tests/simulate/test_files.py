"""Simulated movies on disk, read back with the libraries that wrote them and through the command."""

import json
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose, assert_array_equal

from restframe.cli import simulate as command
from restframe.errors import OutputError, SettingsError
from restframe.simulate import PRESETS, Truth, simulate, write
from restframe.simulate.motion import Term

RECIPE = replace(PRESETS["demo"], shape=(3, 70, 90))


def test_tiff_rows_are_stored_bottom_up(tmp_path):
    movie = simulate(RECIPE)
    write(movie, tmp_path, "tiff")
    with tifffile.TiffFile(tmp_path / "movie.tif") as file:
        assert len(file.pages) == 3 and file.pages[0].compression.name == "LZW"
    assert_array_equal(tifffile.imread(tmp_path / "movie.tif")[:, ::-1], movie.counts)


def test_mrc_rows_are_stored_as_they_lie(tmp_path):
    movie = simulate(RECIPE)
    write(movie, tmp_path, "mrc")
    with mrcfile.open(tmp_path / "movie.mrc") as file:
        assert_array_equal(file.data, movie.counts)
        assert file.voxel_size.x == pytest.approx(1.0)
        assert file.header.dmax == movie.counts.max()


def test_what_lies_beside_the_movie(tmp_path):
    movie = simulate(RECIPE)
    seen = []
    words = write(movie, tmp_path / "new" / "folder", progress=seen.append)
    folder = tmp_path / "new" / "folder"
    assert seen == [0, 1, 2]
    with mrcfile.open(folder / "gain.mrc") as file:
        assert_array_equal(file.data, movie.gain)
    assert_array_equal(np.loadtxt(folder / "defects.txt", dtype=int, ndmin=2), movie.defects)
    about = json.loads((folder / "recipe.json").read_text())
    assert about["command"] == words and words[:3] == ["restframe", "-InTiff", str(folder / "movie.tif")]
    assert about["recipe"]["kind"] == "demo"


def test_the_truth_can_be_had_at_the_grid_and_anywhere(tmp_path):
    movie = simulate(RECIPE)
    write(movie, tmp_path)
    kept = np.load(tmp_path / "truth.npz")
    assert_array_equal(kept["grid_px"], movie.truth(*np.meshgrid(kept["grid_x"], kept["grid_y"])))
    terms = tuple(Term(int(i), int(j), *rest) for i, j, *rest in kept["terms"])
    again = Truth(terms, kept["amplitudes"], kept["travel"], tuple(kept["shape"]), int(kept["reference"]))
    assert_allclose(again(11.5, 60.25), movie.truth(11.5, 60.25), atol=1e-12)


def test_the_command_makes_the_movie_that_the_library_makes(tmp_path, capsys):
    assert command.main([str(tmp_path), "--kind", "demo", "--shape", "3", "70", "90", "--seed", "5"]) == 0
    told = capsys.readouterr()
    assert "-InTiff" in told.out and told.err == ""
    expected = simulate(replace(RECIPE, seed=5)).counts
    assert_array_equal(tifffile.imread(tmp_path / "movie.tif")[:, ::-1], expected)


@pytest.mark.parametrize(
    "bad, name",
    [
        (["--kind", "nothing"], "--kind"),
        (["--shape", "0", "70", "90"], "--shape"),
        (["--shape", "3", "8", "90"], "--shape"),
        (["--pixel-size", "0"], "--pixel-size"),
        (["--frame-dose", "-1"], "--frame-dose"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "x"], "--seed"),
    ],
)
def test_bad_arguments_are_named(tmp_path, bad, name):
    with pytest.raises(SettingsError, match=name):
        command.main([str(tmp_path), *bad])


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        write(simulate(RECIPE), tmp_path / "file")


def test_an_unknown_format(tmp_path):
    with pytest.raises(SettingsError, match="bmp"):
        write(simulate(RECIPE), tmp_path, "bmp")
