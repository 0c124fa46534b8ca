"""corrected_micrographs.star of a set, read back by other programs."""

import shutil
import subprocess

import gemmi
import mrcfile
import numpy as np
import pytest
from made_records import done_record, failed_record, write_records

from restframe.cli.main import main

STAR_HANDLER, EXTRACTION = shutil.which("relion_star_handler"), shutil.which("relion_preprocess")


def without_ctf(record):
    return {key: value for key, value in record.items() if key != "ctf"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with twenty movies, one without a CTF, one failed; its sums are in the folder corrected."""
    monkeypatch.chdir(tmp_path)
    records = [done_record(number, f"m{number:02d}.tif") for number in range(20)]
    records[3] = without_ctf(records[3])
    records[5]["motion"]["pixel_size"] = records[5]["spectrum"]["pixel_size"] = 0.9
    for record in records:
        stem = record["input"]["name"][:-4]
        extra = (("odd", "_ODD.mrc"), ("even", "_EVN.mrc"), ("star", ".star"))
        record["outputs"] += [{"kind": kind, "path": f"../{stem}{end}", "size": 1} for kind, end in extra]
    write_records(tmp_path / "corrected/restframe", [*records, failed_record(30, "z.tif", "why")])
    return tmp_path, records


def table(path, block, *labels):
    return gemmi.cif.read(str(path)).find_block(block).find([f"_{label}" for label in labels])


def test_gemmi_reads_every_label(project, capsys):
    folder, records = project
    assert main(["star", "corrected"]) == 0
    names = ("corrected_micrographs.star", "micrographs_ctf.star")
    assert capsys.readouterr().out == "".join(f"corrected/{name}\n" for name in names)
    rows = table(
        folder / "corrected/corrected_micrographs.star", "micrographs", "rlnMicrographName", "rlnMicrographNameNoDW",
        "rlnMicrographMetadata", "rlnMicrographNameEven", "rlnMicrographNameOdd", "rlnOpticsGroup",
        "rlnAccumMotionTotal", "rlnAccumMotionEarly", "rlnAccumMotionLate",
    )  # fmt: skip
    assert len(rows) == 20
    assert list(rows[0])[:5] == [f"corrected/m00{end}" for end in ("_DW.mrc", ".mrc", ".star", "_EVN.mrc", "_ODD.mrc")]
    assert [row[5] for row in rows] == ["1"] * 5 + ["2"] + ["1"] * 14
    motion = records[7]["motion"]
    assert [float(word) for word in list(rows[7])[6:]] == pytest.approx(
        [motion[part] for part in ("total", "early", "late")]
    )
    optics = table(
        folder / "corrected/corrected_micrographs.star", "optics", "rlnOpticsGroup", "rlnMicrographOriginalPixelSize",
        "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnMicrographPixelSize", "rlnOpticsGroupName",
    )  # fmt: skip
    assert list(optics[0]) == ["1", "0.85", "300", "2.7", "0.07", "0.85", "opticsGroup1"] and len(optics) == 2


def test_movies_with_a_ctf_are_in_the_second_file(project):
    folder, records = project
    main(["star", "corrected", "--out", "."])
    rows = table(
        folder / "micrographs_ctf.star",
        "micrographs",
        "rlnMicrographName",
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnDefocusAngle",
    )
    assert len(rows) == 19 and float(rows[0][1]) == pytest.approx(records[0]["ctf"]["defocus_u_a"])
    assert not any("m03" in row[0] for row in rows)


def test_starfile_reads_it(project):
    starfile = pytest.importorskip("starfile")
    folder, _ = project
    main(["star", "corrected"])
    content = starfile.read(folder / "corrected/micrographs_ctf.star")
    assert len(content["micrographs"]) == 19 and content["optics"]["rlnVoltage"].tolist() == [300, 300]


def test_names_outside_the_project_are_absolute(project):
    folder, _ = project
    (folder / "else").mkdir()
    main(["star", "corrected", "--relative-to", "else"])
    rows = table(folder / "corrected/corrected_micrographs.star", "micrographs", "rlnMicrographName")
    assert rows[0][0] == f"{folder}/corrected/m00_DW.mrc"


def test_a_label_that_not_every_movie_has_is_left_out(project):
    folder, records = project
    records[4]["outputs"] = [one for one in records[4]["outputs"] if one["kind"] != "odd"]
    write_records(folder / "corrected/restframe", records)
    main(["star", "corrected"])
    text = (folder / "corrected/corrected_micrographs.star").read_text()
    assert "rlnMicrographNameOdd" not in text and "rlnMicrographNameEven" in text


@pytest.mark.skipif(STAR_HANDLER is None, reason="RELION is not installed")
@pytest.mark.parametrize("name", ["corrected_micrographs.star", "micrographs_ctf.star"])
def test_relion_reads_it(project, name):
    """RELION's own table program sorts and writes the table again."""
    folder, records = project
    main(["star", "corrected"])
    words = f"--i corrected/{name} --o kept.star --select rlnAccumMotionTotal --minval 0 --maxval 1e9"
    relion(STAR_HANDLER, words, folder)
    rows = table(
        folder / "kept.star", "micrographs", "rlnMicrographName", "rlnAccumMotionTotal", "rlnMicrographMetadata"
    )
    with_ctf = name == "micrographs_ctf.star"
    assert len(rows) == 20 - with_ctf and rows[2][0] == "corrected/m02_DW.mrc" and rows[2][2] == "corrected/m02.star"
    assert float(rows[2][1]) == pytest.approx(records[2]["motion"]["total"], rel=1e-5)


@pytest.mark.skipif(EXTRACTION is None, reason="RELION is not installed")
def test_particles_that_relion_extracts_have_our_ctf(project):
    folder, records = project
    main(["star", "corrected"])
    rng = np.random.default_rng(0)
    for record in records:
        stem = record["input"]["name"][:-4]
        image = rng.normal(size=(128, 128)).astype(np.float32)
        with mrcfile.new(folder / f"corrected/{stem}_DW.mrc", image) as mrc:
            mrc.voxel_size = record["motion"]["pixel_size"]
        picks = "\ndata_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n60 70\n"
        (folder / f"corrected/{stem}_DW_picks.star").write_text(picks)
    words = "--i corrected/micrographs_ctf.star --coord_dir ./ --coord_suffix _picks.star --part_star particles.star "
    relion(EXTRACTION, words + "--part_dir Extract/ --extract --extract_size 32", folder)
    labels = ("rlnMicrographName", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnOpticsGroup")
    rows = {row[0]: list(row)[1:] for row in table(folder / "particles.star", "particles", *labels)}
    assert len(rows) == 19  # the movie without a CTF is not in the file
    for number in (0, 5, 19):
        fit = records[number]["ctf"]
        expected = [fit["defocus_u_a"], fit["defocus_v_a"], fit["astigmatism_angle_deg"], 2 if number == 5 else 1]
        assert [float(word) for word in rows[f"corrected/m{number:02d}_DW.mrc"]] == pytest.approx(expected, rel=1e-5)
    optics = table(folder / "particles.star", "optics", "rlnImagePixelSize", "rlnVoltage", "rlnSphericalAberration")
    assert [[float(word) for word in row] for row in optics] == [[0.85, 300, 2.7], [0.9, 300, 2.7]]


def relion(program, words, folder):
    process = subprocess.run(
        [program, *words.split()], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert process.returncode == 0, process.stdout[-1000:] + process.stderr[-1000:]
