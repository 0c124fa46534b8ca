"""-Serial 1 through the command: names, text, bytes, and what happens to bad movies."""

import json
import subprocess
import sys

import gemmi
import mrcfile
import numpy as np
import pytest
import tifffile

SHAPE = (4, 288, 320)
NAMES = ["movie-000002.tif", "movie-000010.TIF", "movie-000001.tif"]


def restframe(*words, folder):
    command = [sys.executable, "-m", "restframe", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def counts(seed):
    rng = np.random.default_rng(seed)
    scene = np.full((SHAPE[1] + 8, SHAPE[2] + 8), 4.0)
    for y, x in zip(rng.integers(0, SHAPE[1], 300), rng.integers(0, SHAPE[2], 300), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    return rng.poisson([scene[8 - t : 8 - t + SHAPE[1], t : t + SHAPE[2]] for t in range(4)]).astype(np.uint8)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Three movies, a bad one, others that are none; corrected as emtools does: (folder, process)."""
    folder = tmp_path_factory.mktemp("project")
    for seed, name in enumerate(NAMES):
        tifffile.imwrite(folder / name, counts(seed), compression="lzw", photometric="minisblack")
    data = (folder / NAMES[0]).read_bytes()
    (folder / "movie-000005.tif").write_bytes(data[: len(data) // 2])
    for other in ("notes.txt", ".movie-000003.tif", "gain.mrc", "movie-000004.mrc"):
        (folder / other).write_bytes(b"no movie")
    (folder / "output").mkdir()
    mrcfile.write(folder / "gain.mrc", np.ones(SHAPE[1:], np.float32), overwrite=True)
    words = "-OutMrc output/aligned_ -InSuffix .tif -Serial 1 -Gpu -1 -LogDir log/ -LogFile output/log -InTiff ./movie"
    words += " -PixSize 1.1 -kV 300 -Gain gain.mrc -Patch 3 3 -FmDose 2 -FtBin 1.5 -OutStar 1"
    return folder, restframe(*words.split(), folder=folder)


def test_names_of_the_results(project):
    folder, _ = project
    numbers = ["000001", "000002", "000010"]
    images = {f"aligned_-{n}{s}.mrc" for n in numbers for s in ("", "_DW", "_DWS")}
    logs = {f"log{i}-Patch-{s}.log" for i in (0, 1, 3) for s in ("Full", "Patch", "Frame")}
    stars = {f"movie-{n}.star" for n in numbers}
    stars.add("corrected_micrographs.star")
    assert {p.name for p in (folder / "output").iterdir()} == images | logs | stars | {"restframe"}
    records = {f"aligned_-{n}.json" for n in [*numbers, "000005"]}
    assert {p.name for p in (folder / "output/restframe").iterdir()} == records | {
        "pictures",
        "report.html",
        "report_files",
        "state",
    }
    pictures = {f"aligned_-{n}_{kind}.jpg" for n in numbers for kind in ("thumbnail", "spectrum")}
    assert {p.name for p in (folder / "output/restframe/pictures").iterdir()} == pictures
    failed = json.loads((folder / "output/restframe/aligned_-000005.json").read_text())
    assert failed["status"] == "failed" and failed["reason"].startswith("movie-000005.tif ")
    expected = {f"movie-{n}-Patch-{s}.log" for n in numbers for s in ("Full", "Patch", "Frame")}
    assert {p.name for p in (folder / "log").iterdir()} == expected


def test_a_bad_movie_is_told_and_counted(project):
    _, process = project
    assert process.returncode == 6
    assert process.stderr == "Error: 1 of 4 movies failed: movie-000005.tif. stdout says why.\n"
    lines = process.stdout.splitlines()
    at = lines.index("Movies that failed:")
    assert lines[at - 1] == "Movies corrected: 3 of 4"
    assert (
        lines[at + 1].startswith("   movie-000005.tif: movie-000005.tif ") and "Copy the movie again" in lines[at + 1]
    )
    assert lines[-1].startswith("Total time: ") and at + 2 == len(lines) - 1


def test_the_text(project):
    _, process = project
    lines = process.stdout.splitlines()
    added = [line for line in lines if line.startswith("added: ")]
    names = [f"movie-0000{n}" for n in ("01.tif", "02.tif", "05.tif", "10.TIF")]
    assert added == [f"added: ./{name}" for name in names]
    start = lines.index("Directory: ./")
    assert lines[start + 1 : start + 4] == ["Prefix:    movie", "Suffix:    .tif", "Skips:     "]
    starts = [i for i, line in enumerate(lines) if line.startswith("Movie ") and " of 4: " in line]
    assert [lines[i].split(": ")[1] for i in starts] == names
    for first, last, good in zip(starts, [*starts[1:], len(lines)], (1, 1, 0, 1), strict=True):
        block = lines[first:last]
        assert block.count("Full-frame alignment shift") == good
        assert len([line for line in block if line.startswith("Error: ")]) == 1 - good
        if good:
            table = block.index("Full-frame alignment shift") + 1
            rows = block[table : table + 5]
            assert all(row.startswith("...... Frame (") for row in rows[:4]) and rows[4] == ""
            assert block[table + 5].startswith("Global shifts are corrected: ")
            assert len([line for line in block if line.startswith("...... Frame")]) == 4
            assert "Motion corrected images saved." in block


def test_the_same_bytes_as_alone(project, tmp_path):
    folder, _ = project
    words = "-Gpu -1 -LogDir log -PixSize 1.1 -kV 300 -Patch 3 3 -FmDose 2 -FtBin 1.5 -OutMrc sum.mrc --threads 1"
    words += " -OutStar 1"
    gain = folder / "gain.mrc"
    process = restframe("-InTiff", folder / NAMES[1], "-Gain", gain, *words.split(), folder=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    for suffix in ("", "_DW", "_DWS"):
        alone = (tmp_path / f"sum{suffix}.mrc").read_bytes()
        assert alone == (folder / f"output/aligned_-000010{suffix}.mrc").read_bytes()
    alone, ours = ((f / "movie-000010.star").read_text() for f in (tmp_path, folder / "output"))
    assert alone.partition("data_global_shift")[2] == ours.partition("data_global_shift")[2] != ""
    for log in (tmp_path / "log").iterdir():
        assert log.read_bytes() == (folder / "log" / log.name).read_bytes()


def test_the_records(project):
    """One of each good movie: its files with their sizes, RELION's motion, the warnings of stdout."""
    folder, process = project
    for number in ("000001", "000002", "000010"):
        path = folder / f"output/restframe/aligned_-{number}.json"
        record = json.loads(path.read_text())
        assert record["input"]["name"].startswith(f"movie-{number}.")
        kinds = [entry["kind"] for entry in record["outputs"]]
        assert kinds == ["log"] * 6 + ["star", "dose_weighted", "dose_weighted_range", "sum"]
        for entry in record["outputs"]:
            assert (path.parent / entry["path"]).stat().st_size == entry["size"]
        assert path.stat().st_mtime_ns >= (folder / f"output/aligned_-{number}.mrc").stat().st_mtime_ns
        shifts = np.loadtxt(folder / f"log/movie-{number}-Patch-Full.log", skiprows=3)[:, 1:]
        np.testing.assert_allclose(record["motion"]["global_shifts_px"], shifts, atol=0.006)
        steps = 1.1 * np.hypot(*np.diff(record["motion"]["global_shifts_px"], axis=0).T)
        assert record["motion"]["early"] == pytest.approx(steps[0], abs=1e-3)  # 2 e/A² a frame
        assert record["motion"]["total"] == pytest.approx(steps.sum(), abs=1e-3)
        assert all(f"Warning: {sentence}" in process.stdout for sentence in record["warnings"])
        assert record["settings"]["detector"]["gain"] == "gain.mrc"


def test_the_motion_for_relion(project):
    folder, process = project
    document = gemmi.cif.read_file(str(folder / "output/movie-000010.star"))
    assert document.find_block("general").find_value("_rlnMicrographMovieName") == "movie-000010.TIF"
    labels = ["_rlnMicrographFrameNumber", "_rlnMicrographShiftX", "_rlnMicrographShiftY"]
    rows = [[float(v) for v in row] for row in document.find_block("global_shift").find(labels)]
    log = np.loadtxt(folder / "log/movie-000010-Patch-Full.log", skiprows=3)
    np.testing.assert_allclose(rows, log, atol=0.006)
    assert process.stdout.count("Local motion for RELION: a polynomial, ") == 3


def test_mrc_movies_of_a_folder_beside_their_results(tmp_path):
    for seed in range(2):
        with mrcfile.new(tmp_path / f"m{seed}.mrc", data=counts(seed).astype(np.int16)) as mrc:
            mrc.set_image_stack()
    words = ["-InMrc", "./m", "-OutMrc", "./m_sum", "-Serial", "1", "-Gpu", "-1", "-Iter", "1"]
    for _ in range(2):  # the results don't become movies
        process = restframe(*words, folder=tmp_path)
        assert (process.returncode, process.stderr) == (0, "")
        assert {p.name for p in tmp_path.iterdir()} == {"m0.mrc", "m1.mrc", "m_sum0.mrc", "m_sum1.mrc", "restframe"}
        assert process.stdout.count("added: ") == 2
    assert "left out: m_sum0.mrc, an earlier result" in process.stdout
    process = restframe(*words[:2], "-OutMrc", "./m", *words[4:], folder=tmp_path)
    assert process.returncode == 2 and "m0.mrc would overwrite the input" in process.stderr
    (tmp_path / "m_sum0.mrc").write_bytes((tmp_path / "m0.mrc").read_bytes())  # a movie, whatever its name
    process = restframe(*words, folder=tmp_path)
    assert process.returncode == 2 and "m_sum0.mrc would overwrite the input" in process.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("-InTiff ./none -OutMrc output/", 6, "Error: no input image files are found.\n"),
        ("-InTiff nowhere/x -OutMrc output/", 3, "nowhere cannot be read"),
        ("-InTiff ./movie -OutMrc nowhere/", 4, "nowhere does not exist"),
        ("-InTiff ./movie -OutMrc output/ -InSuffix -0000", 6, "would both be saved as output/.mrc"),
        ("-InTiff ./movie -OutMrc output/y -Gain none.mrc", 3, "none.mrc"),
    ],
)
def test_what_is_wrong_is_said(project, words, code, message):
    folder, _ = project
    before = sorted(p.name for p in (folder / "output").iterdir())
    words = words if "-Serial" in words else f"{words} -Serial 1"
    process = restframe(*words.split(), "-Gpu", "-1", folder=folder)
    assert process.returncode == code
    assert process.stderr.startswith("Error: ") and message in process.stderr
    assert sorted(p.name for p in (folder / "output").iterdir()) == before


def test_where_movies_were_looked_for(project):
    folder, _ = project
    words = "-InMrc ./movie -OutMrc output/ -InSuffix _no -Serial 1 -Gpu -1"
    process = restframe(*words.split(), folder=folder)
    assert process.stderr == "Error: no input image files are found.\n"
    (line,) = [line for line in process.stdout.splitlines() if line.startswith("Looked in")]
    assert line.startswith("Looked in ./ for names that begin with movie and contain _no. Others there: ")
