"""The command as other programs run it: files, exit codes, and its text read by their rules, line by line."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

FRAMES, HEIGHT, WIDTH = 6, 384, 448
DRIFT = np.array([[0, 0], [2, 1], [3, 2], [4, 2], [4, 3], [5, 3]])  # px of the content from frame to frame, x and y
FLOAT = r"[+-]?\d+\.\d+"


def restframe(*words, folder, **more):
    """Run the command in ``folder``."""
    command = [sys.executable, "-m", "restframe", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False, **more)


def counts():
    """A strong specimen that drifts as a whole, (t, h, w) uint8; rows as in an MRC file."""
    rng = np.random.default_rng(7)
    scene = np.full((HEIGHT + 40, WIDTH + 40), 4.0)
    for y, x in zip(rng.integers(0, HEIGHT + 34, 500), rng.integers(0, WIDTH + 34, 500), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    frames = [scene[20 - dy : 20 - dy + HEIGHT, 20 - dx : 20 - dx + WIDTH] for dx, dy in DRIFT]
    return rng.poisson(frames).astype(np.uint8)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    movie = counts()
    tifffile.imwrite(folder / "my movie.tif", movie[:, ::-1], compression="lzw", photometric="minisblack")
    with mrcfile.new(folder / "movie.mrc", data=movie.astype(np.int16)) as mrc:
        mrc.set_image_stack()
    mrcfile.write(folder / "gain.mrc", np.ones((HEIGHT, WIDTH), np.float32))
    mrcfile.write(folder / "small_gain.mrc", np.ones((HEIGHT, WIDTH - 2), np.float32))
    data = (folder / "my movie.tif").read_bytes()
    (folder / "cut.tif").write_bytes(data[: len(data) // 2])
    (folder / "text.mrc").write_text("no movie " * 500)
    return folder


@pytest.fixture(scope="module")
def patched(inputs, tmp_path_factory):
    """A run with everything on, as RELION and Scipion at once would start it: (process, folder)."""
    folder = tmp_path_factory.mktemp("patched")
    words = ["-InTiff", inputs / "my movie.tif", "-OutMrc", "sum.mrc", "-LogFile", "old.log", "-LogDir", "logs/new"]
    words += ["-Gain", inputs / "gain.mrc", "-Patch", "3 3", "-PixSize", "1.1", "-Kv", "300", "-FmDose", "1.5"]
    words += ["-FmRef", "0", "-SplitSum", "1", "-Bft", "150", "-Gpu", "-1", "-MaskCent", "0", "0", "-Foo", "1"]
    words += ["--threads", "2"]
    return restframe(*words, folder=folder), folder


@pytest.fixture(scope="module")
def plain(inputs, tmp_path_factory):
    """Whole frames only, no dose, no gain, frames left out at both ends."""
    folder = tmp_path_factory.mktemp("plain")
    words = ["-InMrc", inputs / "movie.mrc", "-OutMrc", "sum.mrc", "-LogFile", "x", "-LogDir", ".", "-Throw", "1"]
    return restframe(*words, "-Trunc", "1", "-FtBin", "2", "-Gpu", "-1", folder=folder), folder


@pytest.fixture(params=["patched", "plain"])
def run(request):
    """(stdout, shifts that it should show)."""
    process, _ = request.getfixturevalue(request.param)
    return process.stdout, -DRIFT if request.param == "patched" else -(DRIFT[1:-1] - DRIFT[1])


def close(read, truth):
    np.testing.assert_allclose(np.array(read, float), truth, atol=0.1)


def test_success_is_silent_on_stderr(patched, plain):
    for process, _ in (patched, plain):
        assert process.stderr == ""
        assert process.returncode == 0


def test_stdout_begins_with_the_parameters(run):
    lines = run[0].splitlines()
    assert lines[0] == ""
    assert all(re.fullmatch(r"--?[\w-]+ *  .*", line) for line in lines[1 : lines.index("", 1)])


def test_stdout_ends_with_the_time(run):
    assert re.fullmatch(r"Total time: \d+\.\d{6} sec", run[0].splitlines()[-1])


def test_relion_reads_the_shifts(run):
    lines = run[0].splitlines()
    start = [i for i, line in enumerate(lines) if "Full-frame alignment shift" in line]
    assert len(start) == 1
    shifts = []
    for line in lines[start[0] + 1 :]:
        if "shift:" not in line:
            break
        words = line[line.index("shift:") + 7 :].split()
        shifts.append([float(words[0]), float(words[1])])
    assert shifts[0] == [0, 0]
    close(shifts, run[1])


def test_appion_reads_the_shifts(run):
    lines = iter(run[0].splitlines())
    assert any("Full-frame alignment shift" in line for line in lines)
    shifts = []
    for line in lines:
        if "Global shifts are corrected" in line:
            break
        if line.strip():
            shifts.append([float(word) for word in line.split()[-2:]])
    else:
        pytest.fail("no end mark")
    close(shifts, run[1])


def test_the_end_mark_follows_the_empty_line(run):
    lines = run[0].splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith("...... Frame"))
    assert lines[last + 1] == ""
    assert re.fullmatch(r"Global shifts are corrected: \d+\.\d{6} sec", lines[last + 2])


def test_diamond_reads_the_shifts(run):
    rows = [line.split() for line in run[0].splitlines() if line.startswith("...... Frame")]
    close([[float(row[-2]), float(row[-1])] for row in rows], run[1])


def test_focus_reads_the_shifts(run):
    rows = [line.split(":")[1].split() for line in run[0].splitlines() if "shift:" in line and "Frame" in line]
    close(rows, run[1])


def test_readers_that_count_words_from_the_left(run):
    rows = [line.split() for line in run[0].splitlines() if line.startswith("...... Frame")]
    close([row[5:7] for row in rows], run[1])
    assert [row[:4] for row in rows] == [["......", "Frame", "(", f"{i})"] for i in range(1, len(rows) + 1)]


def test_no_other_line_looks_like_a_newer_table(run):
    pattern = re.compile(rf"\s*\d+\s+{FLOAT}\s+{FLOAT}\s*")
    assert not [line for line in run[0].splitlines() if pattern.fullmatch(line)]
    assert "x Shift" not in run[0]


def test_the_gain_warning_is_there_only_without_a_gain(patched, plain):
    assert "Warning: Gain ref not found." not in patched[0].stdout
    lines = plain[0].stdout.splitlines()
    assert lines[lines.index("Warning: Gain ref not found.") + 1] == "......   Gain correction will be skipped."


def test_what_is_left_out_is_said(patched):
    assert "Note: -MaskCent has no effect in restframe." in patched[0].stdout
    assert "Warning: unknown flag -Foo is left out." in patched[0].stdout


def test_files_and_nothing_else(patched, plain):
    def files(folder):
        return sorted(str(p.relative_to(folder)) for p in Path(folder).rglob("*") if p.is_file())

    logs = ["Patch-Frame.log", "Patch-Full.log", "Patch-Patch.log"]
    images = ["sum.mrc", "sum_DW.mrc", "sum_EVN.mrc", "sum_ODD.mrc"]
    dose_range = ["sum_DWS.mrc"]  # 3 to 9 e/A² lies in the default range
    expected = [f"logs/new/my movie-{log}" for log in logs] + [f"old.log0-{log}" for log in logs]
    assert files(patched[1]) == sorted(expected + images + dose_range)
    assert files(plain[1]) == ["movie-Full.log", "sum.mrc", "x0-Full.log"]


def test_images_are_valid(patched, plain, capsys):
    for folder, pixel, shape in ((patched[1], 1.1, (HEIGHT, WIDTH)), (plain[1], 0.0, (HEIGHT // 2, WIDTH // 2))):
        for path in folder.glob("*.mrc"):
            assert mrcfile.validate(path), capsys.readouterr().out
            with mrcfile.open(path) as mrc:
                assert mrc.data.shape == shape and mrc.header.mode == 2
                assert abs(float(mrc.voxel_size.x) - pixel) < 1e-5
                assert abs(float(mrc.header.rms) - mrc.data.std(dtype=float)) < 1e-3 * mrc.data.std(dtype=float)


def test_the_sum_holds_the_counts(plain):
    binned = mrcfile.read(plain[1] / "sum.mrc")
    np.testing.assert_allclose(binned.mean(), counts()[1:-1].sum(0).mean(), rtol=0.01)


def test_slac_and_sphire_read_the_global_log(patched):
    path = patched[1] / "old.log0-Patch-Full.log"
    tail = path.read_text().splitlines()[3:]
    close([line.split()[1:3] for line in tail], -DRIFT)
    assert all(line.startswith(" ") for line in tail)
    close(np.genfromtxt(path)[:, 1:], -DRIFT)
    assert np.genfromtxt(path).shape == (FRAMES, 3)
    close(np.loadtxt(path, skiprows=3)[:, 1:], -DRIFT)


def test_scipion_and_emtools_read_the_global_log(patched, plain):
    for path, truth in (
        (patched[1] / "logs/new/my movie-Patch-Full.log", -DRIFT),
        (plain[1] / "movie-Full.log", -(DRIFT[1:-1] - DRIFT[1])),
    ):
        rows = [line.split() for line in path.read_text().splitlines() if "#" not in line and line.strip()]
        assert all(len(row) == 3 for row in rows)
        assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
        close([row[1:] for row in rows], truth)


def test_the_global_log_without_patches_has_one_line_before_its_rows(plain):
    for name in ("movie-Full.log", "x0-Full.log"):
        lines = (plain[1] / name).read_text().splitlines()
        assert lines[0] == "# full frame alignment"
        assert all(re.fullmatch(rf" *\d+ +{FLOAT} +{FLOAT}", line) for line in lines[1:])
        assert len(lines) == 1 + FRAMES - 2


def test_relion_reads_local_shifts(patched):
    rows = [
        [float(word) for word in line.split()]
        for line in (patched[1] / "old.log0-Patch-Patch.log").read_text().splitlines()
        if "#" not in line and len(line.split()) == 7
    ]
    assert len(rows) == 9 * FRAMES
    frame, x, y, *_, fit_x, fit_y = np.array(rows).T
    assert set(frame) == set(range(1, FRAMES + 1))
    assert 0 < x.min() < x.max() < WIDTH and 0 < y.min() < y.max() < HEIGHT
    assert np.all(fit_x[frame == 1] == 0) and np.all(fit_y[frame == 1] == 0)
    assert np.hypot(fit_x, fit_y).max() < 0.2  # the specimen moved as a whole


def test_emtools_reads_local_shifts(patched):
    lines = (patched[1] / "logs/new/my movie-Patch-Patch.log").read_text().splitlines()
    assert lines[:5] == [
        "# Patch based alignment",
        "# Number of patches: 9",
        "# Shifts are listed per patch.",
        f"# Movie size: {WIDTH}  {HEIGHT}  {FRAMES}",
        "",
    ]
    rows = [line.split() for line in lines[5:] if line.strip() and "#" not in line]
    assert len(rows) == 9 * FRAMES and all(len(row) == 6 for row in rows)
    assert {row[5] for row in rows} <= {"0", "1"}
    assert [line for line in lines if line.startswith("#Patch")] == [
        f"#Patch {i:03d} raw and fit shifts" for i in range(1, 10)
    ]


def words_of(text, inputs):
    return [word.replace("IN", str(inputs)) for word in text.split()]


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("-InMrc IN/movie.mrc -OutMrc IN/movie.mrc", 2, "movie.mrc"),
        ("-OutMrc out.mrc", 3, "-InTiff"),
        ("-InMrc IN/none.mrc -OutMrc out.mrc", 3, "none.mrc"),
        ("-InTiff IN/cut.tif -OutMrc out.mrc", 3, "cut.tif"),
        ("-InMrc IN/text.mrc -OutMrc out.mrc", 3, "text.mrc"),
        ("-InMrc IN -OutMrc out.mrc", 3, "is a folder"),
        ("-InMrc IN/movie.mrc -OutMrc none/out.mrc", 4, "none"),
        ("-InMrc IN/movie.mrc", 4, "-OutMrc"),
        ("-InMrc IN/movie.mrc -OutMrc out.mrc -FmDose 1 -PixSize 1 -kV 400", 6, "-kV 400"),
        ("-InMrc IN/movie.mrc -OutMrc out.mrc -FtBin 0.5", 6, "-FtBin 0.5"),
        ("-InMrc IN/movie.mrc -OutMrc out.mrc -Patch five", 6, "-Patch five"),
        ("-InMrc IN/movie.mrc -OutMrc out.mrc -Throw 4 -Trunc 2", 6, "6 frames"),
        ("-InMrc IN/movie.mrc -OutMrc out.mrc -Gain IN/none.mrc", 3, "none.mrc"),
        ("-InMrc IN/movie.mrc -OutMrc out.mrc -Gain IN/small_gain.mrc", 6, "small_gain.mrc"),
        ("-InMrc IN/movie.mrc -OutMrc out.mrc -Align 0 -OutAln aln", 6, "-OutAln"),
        ("-InMrc IN/movie.mrc -OutMrc out.mrc -FullSum out.mrc", 6, "-FullSum"),
        ("-InMrc IN/movie.mrc -OutMrc out.mrc -FullSum none/full.mrc", 4, "none"),
        ("-InMrc IN/movie.mrc -OutMrc out.mrc -FullSum IN/movie.mrc", 2, "movie.mrc"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(inputs, tmp_path, text, code, named):
    before = {p.name: p.read_bytes() for p in inputs.iterdir()}
    (tmp_path / "out.mrc").write_bytes(b"old result")
    process = restframe(*words_of(text, inputs), "-LogDir", "logs", "-Gpu", "-1", folder=tmp_path)
    assert process.returncode == code, process.stderr
    assert process.stderr.startswith("Error: ") and "Traceback" not in process.stderr
    assert named in process.stderr
    assert "Total time" not in process.stdout
    assert [p.name for p in tmp_path.rglob("*")] == ["out.mrc"]
    assert (tmp_path / "out.mrc").read_bytes() == b"old result"
    assert {p.name: p.read_bytes() for p in inputs.iterdir()} == before


def test_a_wrong_flag_for_the_format_is_said_and_does_no_harm(inputs, plain, tmp_path):
    words = ["-InTiff", inputs / "movie.mrc", "-OutMrc", "sum.mrc", "-Throw", "1", "-Trunc", "1", "-FtBin", "2"]
    process = restframe(*words, "-Gpu", "-1", folder=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert "movie.mrc was given as TIFF" in process.stdout
    assert (tmp_path / "sum.mrc").read_bytes() == (plain[1] / "sum.mrc").read_bytes()


def test_a_full_disk(inputs, plain, tmp_path):  # plain: so that no compiled code is left to be written
    def no_large_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    (tmp_path / "sum.mrc").write_bytes(b"old result")
    words = ("-InMrc", inputs / "movie.mrc", "-OutMrc", "sum.mrc", "-Gpu", "-1")
    process = restframe(*words, folder=tmp_path, preexec_fn=no_large_files)
    assert process.returncode == 4
    assert process.stderr.startswith("Error: sum.mrc cannot be written: ") and process.stderr.count("\n") == 1
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"sum.mrc": b"old result"}


def test_the_reader_of_stdout_may_leave(inputs, tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "restframe", "--help"]
    process = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert process.returncode == 4
    assert process.stderr == "Error: stdout was closed by its reader.\n"


def test_equal_runs_and_any_number_of_threads_give_equal_bytes(inputs, patched, tmp_path):
    words = ["-InTiff", inputs / "my movie.tif", "-OutMrc", "sum.mrc", "-LogFile", "old.log", "-Patch", "3", "3"]
    words += ["-Gain", inputs / "gain.mrc", "-PixSize", "1.1", "-FmDose", "1.5", "-FmRef", "0", "-SplitSum", "1"]
    process = restframe(*words, "-Bft", "150", "-Gpu", "-1", "--threads", "1", folder=tmp_path)
    same_files(process, tmp_path, patched[1])


@pytest.mark.parametrize("words", [["--record"], ["--record", "1"]])
def test_a_record_on_request_and_not_one_byte_else(inputs, plain, tmp_path, words):
    command = ["-InMrc", inputs / "movie.mrc", "-OutMrc", "sum.mrc", "-LogFile", "x", "-LogDir", ".", "-Throw", "1"]
    process = restframe(*command, "-Trunc", "1", "-FtBin", "2", *words, "-Gpu", "-1", folder=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    names = {p.name for p in plain[1].iterdir()}
    assert {p.name for p in tmp_path.iterdir()} == names | {"sum.json"}
    for name in names:
        assert (tmp_path / name).read_bytes() == (plain[1] / name).read_bytes()
    record = json.loads((tmp_path / "sum.json").read_text())
    assert record["frames"]["count"] == FRAMES - 2 and record["motion"]["total"] is None
    assert record["input"]["path"] == str(inputs / "movie.mrc")
    assert record["outputs"][-1] == {"kind": "sum", "path": "sum.mrc", "size": (tmp_path / "sum.mrc").stat().st_size}


def test_no_record_takes_the_place_of_an_input(inputs, tmp_path):
    (tmp_path / "sum.json").write_text("6 1 0.5\n")
    command = ["-InMrc", inputs / "movie.mrc", "-OutMrc", "sum.mrc", "-FmIntFile", "sum.json", "--record"]
    process = restframe(*command, "-Gpu", "-1", folder=tmp_path)
    assert process.returncode == 2 and "sum.json would overwrite the input" in process.stderr


def same_files(process, folder, other):
    assert process.returncode == 0, process.stderr
    names = sorted(p.name for p in folder.iterdir())
    assert len(names) == 8
    for name in names:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


def test_frames_that_are_read_again_give_equal_bytes(inputs, patched, tmp_path, monkeypatch, capsys):
    from restframe import memory
    from restframe.cli.main import main
    from restframe.movie import make_fractions
    from restframe.prepare import wanted_sums
    from restframe.restore.dose import make_plan
    from restframe.settings import Exposure, Settings, Sums

    exposure = Exposure(pixel_size=1.1, frame_dose=1.5)
    sums = wanted_sums(make_fractions(FRAMES, exposure), Settings(exposure=exposure, sums=Sums(split=True)))
    groups = make_plan(sums).group_sizes
    limit = (
        memory.PROGRAM_BYTES
        + memory.bytes_without_frames((FRAMES, HEIGHT, WIDTH), 1, groups, len(sums))
        + 4 * HEIGHT * WIDTH
    )
    words = ["-InTiff", inputs / "my movie.tif", "-OutMrc", "sum.mrc", "-LogFile", "old.log", "-Patch", "3", "3"]
    words += ["-Gain", inputs / "gain.mrc", "-PixSize", "1.1", "-FmDose", "1.5", "-FmRef", "0", "-SplitSum", "1"]
    words += ["-Bft", "150", "-Gpu", "-1", "--max-memory"]
    monkeypatch.setattr(memory, "bytes_with_frames", lambda *shape: 10**12)  # so few frames would take no more if kept
    monkeypatch.chdir(tmp_path)
    code = main([*map(str, words), f"{limit / 1000}KB"])
    said = capsys.readouterr()
    assert "Frames are read 2 at a time and again in every pass" in said.out
    same_files(subprocess.CompletedProcess(words, code, said.out, said.err), tmp_path, patched[1])
    too_little = restframe(*words, "50MB", folder=tmp_path)
    assert too_little.returncode == 6
    assert too_little.stderr.startswith("Error: --max-memory 0.05GB: this movie needs ")


def test_help_starts_fast_and_loads_nothing_heavy():
    code = "import sys; from restframe.cli.main import main; main(['--help']); print(sorted(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = process.stdout.splitlines()[-1]
    assert not [name for name in ("numba", "cupy", "scipy", "matplotlib", "tifffile") if f"'{name}'" in loaded]
