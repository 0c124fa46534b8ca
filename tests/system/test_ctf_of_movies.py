"""The CTF in the motion run: library, files of MotionCor3, power spectrum for RELION, record."""

import json

import mrcfile
import numpy as np
import pytest

import restframe
from restframe.cli.main import main
from restframe.ctf.estimate import CtfRequest, estimate_from_amplitudes
from restframe.optics import CtfParameters
from restframe.simulate.ice_images import IceImage, simulate_ice

PIXEL_SIZE, DEFOCUS = 1.1, 14000.0


@pytest.fixture(scope="module")
def movie():
    optics = CtfParameters(300, DEFOCUS, 800, 30)
    ice = simulate_ice(IceImage(512, PIXEL_SIZE, optics, 30.0, 120.0, seed=2))
    generator = np.random.default_rng(1)
    return generator.poisson(np.clip(10 * (1 + 0.15 * ice), 0, None), (6, 512, 512)).astype(np.uint8)


@pytest.fixture(scope="module")
def movie_file(movie, tmp_path_factory):
    path = tmp_path_factory.mktemp("movies") / "movie.mrc"
    with mrcfile.new(path) as file:
        file.set_data(movie.astype(np.int16))
    return path


def test_a_session_corrects_and_estimates(movie):
    with restframe.Session(pixel_size=PIXEL_SIZE, spherical_aberration=2.7, frame_dose=1.3) as session:
        result = session.correct(movie)
    assert result.ctf.found and result.ctf.defocus == pytest.approx(DEFOCUS, abs=150)
    again = restframe.estimate_ctf(result)
    assert again.defocus == pytest.approx(result.ctf.defocus)


def test_no_estimate_unless_asked_for(movie):
    assert restframe.correct(movie, pixel_size=PIXEL_SIZE, align=False).ctf is None
    lines = []
    result = restframe.correct(movie, spherical_aberration=2.7, align=False, report=lines.append)
    assert result.ctf is None and any("no CTF estimation" in line for line in lines)


def test_a_phase_plate(movie):
    result = restframe.correct(movie, pixel_size=PIXEL_SIZE, spherical_aberration=2.7, expected_phase=45, align=False)
    assert np.isfinite(result.ctf.errors.phase_shift)
    assert -45 < result.ctf.phase_shift < 135  # within half a turn of the expected one


def test_files_of_the_command(movie_file, tmp_path, capsys):
    words = ["-InMrc", str(movie_file), "-OutMrc", str(tmp_path / "sum.mrc"), "-PixSize", str(PIXEL_SIZE)]
    words += ["-FmDose", "1.3", "-Cs", "2.7", "--power-spectrum", "1", "--record", "1", "-Gpu", "-1"]
    assert main(words) == 0
    printed = capsys.readouterr().out.splitlines()
    start = printed.index("CTF estimate")
    head, row = (tmp_path / "sum_Ctf.txt").read_text().splitlines()
    values = [float(word) for word in row.split()]
    assert head.startswith("#") and len(values) == 6
    assert (values[0] + values[1]) / 2 == pytest.approx(DEFOCUS, abs=150) and values[0] > values[1]
    assert values[3] == 0 and 0 < values[4] < 1 and 3 < values[5] < 15
    assert printed[start + 2].split() == row.split()
    with mrcfile.open(tmp_path / "sum_Ctf.mrc") as file:
        assert np.squeeze(file.data).shape == (512, 512)
    with mrcfile.open(tmp_path / "sum_PS.mrc") as file:
        spectrum, pixel_size = np.squeeze(file.data).copy(), float(file.voxel_size.x)
    assert spectrum.shape == (512, 512) and pixel_size == pytest.approx(1.4)
    np.testing.assert_allclose(spectrum[1:, 1:], spectrum[:0:-1, :0:-1], rtol=1e-5)
    from_spectrum = estimate_from_amplitudes(spectrum, CtfRequest(pixel_size))
    assert from_spectrum.defocus == pytest.approx(DEFOCUS, abs=400)
    record = json.loads((tmp_path / "sum.json").read_text())
    assert record["ctf"]["found"] and record["ctf"]["defocus_u_a"] == pytest.approx(values[0], abs=0.01)
    assert {"ctf", "ctf_image", "power_spectrum"} <= {one["kind"] for one in record["outputs"]}


def test_without_a_pixel_size_it_is_said(movie_file, tmp_path, capsys):
    words = ["-InMrc", str(movie_file), "-OutMrc", str(tmp_path / "sum.mrc"), "-Cs", "2.7", "-Gpu", "-1"]
    assert main(words) == 0
    assert "no CTF estimation" in capsys.readouterr().out
    assert not list(tmp_path.glob("*_Ctf*"))
