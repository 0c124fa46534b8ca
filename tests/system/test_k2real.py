"""A movie of real electrons with known motion, when it is there: shared/data/k2real beside the checkout or K2REAL."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

import restframe
from restframe.cli.main import main

PLACES = [os.environ.get("K2REAL", ""), *(str(p / "shared/data/k2real") for p in Path(__file__).parents)]
DATA = next((Path(p) for p in PLACES if p and (Path(p) / "truth.npz").exists()), None)
pytestmark = pytest.mark.skipif(DATA is None, reason="k2real is not here")

HEIGHT, WIDTH = 1854, 1790
LIMIT = 0.20  # px; the best other program has 0.37


def truth_at(x, y):
    """Displacement (t, n, 2) at memory coordinates: the truth's rows count from the file's first row."""
    grid = np.load(DATA / "truth.npz")["grid_px"]
    axes = (np.arange(9) + 0.5) * HEIGHT / 9, (np.arange(9) + 0.5) * WIDTH / 9
    points = np.stack([HEIGHT - 1 - y, x], -1)
    values = [RegularGridInterpolator(axes, g, bounds_error=False, fill_value=None)(points) for g in grid]
    return np.stack(values) * [1, -1]


def track_error(found, truth):
    e = found - truth
    e = e - e.mean(0)
    return float(np.sqrt((e**2).sum(-1).mean()))


def rows(path):
    lines = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return np.array([[float(v) for v in line] for line in lines])


def test_library():
    result = restframe.correct(DATA / "movie.tif", gain=DATA / "gain.mrc", flip_gain=1, patches=(5, 5))
    x, y = np.meshgrid((np.arange(9) + 0.5) * WIDTH / 9, (np.arange(9) + 0.5) * HEIGHT / 9)
    x, y = x.ravel(), y.ravel()
    assert track_error(result.field(x, y), truth_at(x, y)) <= LIMIT


def test_command_and_its_logs(tmp_path, capfd):
    out, prefix = tmp_path / "sum.mrc", tmp_path / "k2"
    words = f"-InTiff {DATA}/movie.tif -OutMrc {out} -Gain {DATA}/gain.mrc -FlipGain 1 -Patch 5 5 -PixSize 1.70756"
    words += f" -kV 300 -FmDose 1.98 -LogFile {prefix} -LogDir {tmp_path}"
    assert main(words.split()) == 0
    assert capfd.readouterr().err == ""
    assert sorted(p.name for p in tmp_path.glob("*.mrc")) == ["sum.mrc", "sum_DW.mrc", "sum_DWS.mrc"]
    for whole_name, patch_name in (
        ("k20-Patch-Full.log", "k20-Patch-Patch.log"),
        ("movie-Patch-Full.log", "movie-Patch-Patch.log"),
    ):
        whole = rows(tmp_path / whole_name)[:, 1:3]
        patches = rows(tmp_path / patch_name).reshape(25, len(whole), -1)
        x, y = patches[:, 0, 1], patches[:, 0, 2]
        fit = patches[..., 5:7] if patches.shape[-1] == 7 else patches[..., 3:5]
        found = -(whole[:, None] + np.moveaxis(fit, 0, 1))
        assert track_error(found, truth_at(x, y)) <= LIMIT


def test_listed_defects_are_found():
    from restframe.detector.references import load_references
    from restframe.detector.survey import survey_frames
    from restframe.kernels.cpu import Cpu

    cpu = Cpu(2)
    from restframe.movie import RawFrames
    from restframe.settings import Detector

    movie = restframe.open_movie(DATA / "movie.tif")
    refs = load_references(Detector(gain=DATA / "gain.mrc", flip_gain=1), movie.shape[1:])
    bad = survey_frames(cpu, RawFrames(movie), refs, True, 0)[0].bad_mask
    listed = np.zeros_like(bad)
    for x, y, w, h in np.loadtxt(DATA / "defects.txt", dtype=int):
        listed[HEIGHT - y - h : HEIGHT - y, x : x + w] = True
    assert (bad & listed).sum() == listed.sum()
    assert (bad & ~listed).sum() <= 3


def test_the_list_of_defects(tmp_path):
    """Listed for the rows as the movie's file has them; the command counts rows in memory order."""
    from restframe.detector.listed import read_defect_file
    from restframe.detector.references import load_references
    from restframe.detector.survey import survey_frames
    from restframe.kernels.cpu import Cpu

    cpu = Cpu(2)
    from restframe.movie import RawFrames
    from restframe.settings import Detector

    boxes = np.loadtxt(DATA / "defects.txt", dtype=int)
    x, y, w, h = boxes.T
    np.savetxt(tmp_path / "d.txt", np.stack([x, HEIGHT - y - h, w, h], 1), "%d")
    listed = read_defect_file(tmp_path / "d.txt", (HEIGHT, WIDTH))
    movie = restframe.open_movie(DATA / "movie.tif")
    detector = Detector(gain=DATA / "gain.mrc", flip_gain=1, defect_file=tmp_path / "d.txt")
    survey, _ = survey_frames(cpu, RawFrames(movie), load_references(detector, movie.shape[1:]), False, 0)
    dead = load_references(detector, movie.shape[1:]).gain == 0
    np.testing.assert_array_equal(survey.bad_mask, listed | dead)
