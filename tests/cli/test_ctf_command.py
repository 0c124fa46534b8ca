"""restframe ctf: table, STAR file, JSON."""

import json

import gemmi
import mrcfile
import numpy as np
import pytest

from restframe.cli.main import main
from restframe.optics import CtfParameters
from restframe.output.images import write_mrc
from restframe.simulate.ice_images import IceImage, simulate_ice


@pytest.fixture(scope="module")
def micrographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("micrographs")
    optics = CtfParameters(300, 14000, 900, 30)
    write_mrc(folder / "a b.mrc", simulate_ice(IceImage(512, 1.1, optics, 1.0, 80.0, seed=2)), 1.1)
    write_mrc(folder / "noise.mrc", np.random.default_rng(1).standard_normal((300, 300)), 1.1)
    return folder


def test_table_star_and_json(micrographs, tmp_path, capsys):
    good, noise = micrographs / "a b.mrc", micrographs / "noise.mrc"
    assert main(["ctf", str(good), str(noise), "--output-dir", str(tmp_path / "ctf")]) == 0
    lines = capsys.readouterr().out.splitlines()
    values = lines[1].removeprefix(str(good)).split()
    assert (float(values[0]) + float(values[1])) / 2 == pytest.approx(14000, abs=200)
    assert lines[2].removeprefix(str(noise)).strip() == "no fit"
    document = gemmi.cif.read(str(tmp_path / "ctf" / "micrographs_ctf.star"))
    assert [block.name for block in document] == ["optics", "micrographs"]
    table = document.find_block("micrographs").find(
        "_rln",
        ["MicrographName", "OpticsGroup", "CtfImage", "DefocusU", "DefocusV", "CtfAstigmatism", "DefocusAngle",
         "CtfFigureOfMerit", "CtfMaxResolution", "PhaseShift", "CtfIceRingDensity"],
    )  # fmt: skip
    assert len(table) == 1  # noise has no fit
    row = table[0]
    assert gemmi.cif.as_string(row[0]) == str(good) and row[1] == "1"
    assert gemmi.cif.as_string(row[2]) == f"{tmp_path / 'ctf' / 'a b.ctf'}:mrc"
    assert float(row[3]) - float(row[4]) == pytest.approx(float(row[5]), abs=0.01)
    assert float(row[8]) <= 25
    optics = document.find_block("optics").find("_rln", ["MicrographPixelSize", "Voltage", "SphericalAberration"])[0]
    assert [float(value) for value in optics] == [pytest.approx(1.1, abs=1e-5), 300, 2.7]
    records = json.loads((tmp_path / "ctf" / "micrographs_ctf.json").read_text())
    assert [record["found"] for record in records] == [True, False]
    assert records[0]["defocus_error_a"] > 0 and records[1]["fit_resolution_a"] is None
    with mrcfile.open(tmp_path / "ctf" / "a b.ctf", permissive=True) as file:
        assert file.data.shape[-2:] == (512, 512)


def test_wrong_arguments(micrographs, tmp_path, capsys):
    assert main(["ctf", str(tmp_path / "none.mrc")]) == 3
    assert main(["ctf"]) == 6
    noise = micrographs / "noise.mrc"
    assert main(["ctf", str(noise), "--defocus", "5000", "4000"]) == 6
    assert "defocus" in capsys.readouterr().err
    for words in (["--cs", "-1"], ["--kv", "300000"], ["--pixel-size", "0"], ["--defocus", "1e9", "2e9"]):
        assert main(["ctf", str(noise), *words]) == 6, words
    assert main(["ctf", str(tmp_path)]) == 3
    assert "not a file" in capsys.readouterr().err
    empty = tmp_path / "empty.mrc"
    empty.touch()
    assert main(["ctf", str(empty)]) == 3
    assert "header" in capsys.readouterr().err
    image = tmp_path / "unknown.mrc"
    write_mrc(image, np.zeros((300, 300)))
    assert main(["ctf", str(image)]) == 6
    assert "--pixel-size" in capsys.readouterr().err


def test_one_bad_file_does_not_stop_the_others(micrographs, tmp_path, capsys):
    bad = tmp_path / "bad.mrc"
    bad.write_bytes(b"nothing")
    assert main(["ctf", str(bad), str(micrographs / "noise.mrc"), "--pixel-size", "1.1"]) == 0
    out = capsys.readouterr().out
    assert "failed" in out and "no fit" in out
