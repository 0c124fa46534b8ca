"""Real callers end to end: their command line, then what each does with the text and the files, by its own rules.

Rules as in the sources of RELION, Scipion, cryoem-services, Appion, tomotools, TOMOMAN, TomoBEAR, SNARTomo, TranSPHIRE
and Focus, written anew.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from restframe.cli.main import main
from restframe.movie.events import Coding
from restframe.simulate.eer import encode, write_eer

FRAMES, HEIGHT, WIDTH = 6, 320, 352
CODING = Coding(7, 2, 2)  # EER's compression 65001: bits of a run, of x, of y
DRIFT = np.array([[0, 0], [2, 1], [3, 2], [4, 2], [4, 3], [5, 3]])  # px of the content from frame to frame, x and y


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A strong specimen that drifts as a whole, as TIFF and MRC, and its references."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(11)
    scene = np.full((HEIGHT + 40, WIDTH + 40), 4.0)
    for y, x in zip(rng.integers(0, HEIGHT + 34, 500), rng.integers(0, WIDTH + 34, 500), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    movie = rng.poisson([scene[20 - y : 20 - y + HEIGHT, 20 - x : 20 - x + WIDTH] for x, y in DRIFT]).astype(np.uint8)
    tifffile.imwrite(folder / "movie.tif", movie[:, ::-1], compression="lzw", photometric="minisblack")
    with mrcfile.new(folder / "movie.mrc", data=movie.astype(np.int16)) as mrc:
        mrc.set_image_stack()
    write_eer(folder / "movie.eer", (HEIGHT, WIDTH), electrons(scene, rng), 65001)
    mrcfile.write(folder / "gain.mrc", np.ones((HEIGHT, WIDTH), np.float32))
    mrcfile.write(folder / "dark.mrc", np.zeros((HEIGHT, WIDTH), np.float32))
    (folder / "defects.txt").write_text("10 20 3 1\n")
    defects = np.zeros((HEIGHT, WIDTH), np.uint8)
    defects[20, 10:13] = 1
    tifffile.imwrite(folder / "defects.tif", defects[::-1])
    return folder


def electrons(scene, rng):
    """Raw frames of an EER movie, four at each place of the drift: at most one electron a pixel."""
    for x, y in np.repeat(DRIFT, 4, 0):
        rate = scene[20 - y : 20 - y + HEIGHT, 20 - x : 20 - x + WIDTH] / 25
        hit = np.flatnonzero(rng.random(rate.shape) < rate)
        yield encode(hit, *rng.integers(0, 4, (2, len(hit))), rate.size, CODING)


@pytest.fixture
def project(data, tmp_path, monkeypatch):
    """A working folder with links to the data."""
    for file in data.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(project, capfd):
    """Run the command in this process: (exit code, stdout); stderr has to be empty."""

    def run(words):
        code = main(shlex.split(words) if isinstance(words, str) else words)
        out, err = capfd.readouterr()
        assert err == ""
        return code, out

    return run


def close(found, truth=-DRIFT):
    np.testing.assert_allclose(np.array(found, float), truth, atol=0.15)


def image(name):
    with mrcfile.open(name) as mrc:  # strict: refuses a header that is not valid
        assert mrc.is_single_image()
        return mrc.data.copy()


def test_relion_on_eer(run):
    Path("group.txt").write_text("24 4 0.3")
    code, out = run(
        "-InMrc movie.eer -OutMrc o.mrc -LogFile o -Bft 150 -PixSize 0.885 -Patch 1 1 -Gain gain.mrc -FmRef 0 -Kv 300 "
        "-FmDose 0.3 -InitDose 0 -FmIntFile group.txt -EerSampling 1 -Gpu 0 "
    )
    assert code == 0
    Path("o.out").write_text(out)
    shifts = relions_shifts(Path("o.out"), 1, 24 // 4)
    close([shifts[f] for f in range(1, 7)])
    assert image("o_DW.mrc").shape == (HEIGHT, WIDTH)


def test_scipion_on_eer(run):
    Path("extra").mkdir()
    Path("extra/FmIntFile.txt").write_text("24 4 0.25")  # no end of line
    code, _ = run(
        """-InEer "movie.eer" -Throw 0 -Trunc 0 -Patch "0 0" -FtBin 1.0 -Tol 0.2 -PixSize 0.885 -kV 300.0 -Cs 0
        -OutStack 0 -Gpu 0 -SumRange 0.0 0.0 -EerSampling 1 -FmIntFile extra/FmIntFile.txt -InitDose 0 -Group 1 4
        -Gain "gain.mrc" -RotGain 0 -FlipGain 0 -OutMrc "movie_aligned_mic.mrc" -LogDir ./"""
    )
    assert code == 0
    close(scipions_shifts("movie-Full.log"))
    image("movie_aligned_mic_DW.mrc")


@pytest.mark.parametrize("sampling", [1, 2])
def test_tomoman_on_eer(run, sampling):
    Path("int.txt").write_text("24\t4\t0\n")
    defects = np.zeros((HEIGHT, WIDTH), np.uint8)
    defects[20, 10:13] = 1
    mrcfile.write("eer_defects.mrc", defects.astype(np.int8))
    pixel = 1.2 / sampling
    code, out = run(
        f"-InEer movie.eer -OutMrc o.mrc -LogFile o.mrc.log  -Gain gain.mrc -PixSize {pixel:f} -InitDose 0 -FmDose 0.1 "
        f"-DefectMap eer_defects.mrc -EerSampling {sampling} -FmIntFile int.txt -PixSize {pixel:f} -MaskCent 0 0 "
        "-MaskSize 1 1 -Patch 1 1  -Iter 5  -Tol 0.5  -Bft 100.0  -FtBin 1.0  -Throw 0  -Trunc 0  -FmRef -1  "
        "-OutStack 0 -Align 1  -Gpu 0 -SplitSum 1"
    )
    assert code == 0 and f"Listed defects: {3 * sampling**2} pixels." in out
    assert ("is taken for the rendered" in out) == (sampling > 1)
    close(np.loadtxt("o.mrc.log0-Full.log")[:, 1:] / sampling)
    for suffix in ("", "_DW", "_EVN", "_ODD"):
        assert image(f"o{suffix}.mrc").shape == (HEIGHT * sampling, WIDTH * sampling)


def relions_shifts(path, first_frame, n_frames):
    """motioncorr_runner's reading of ROOT.out: {frame: (x, y)}."""
    shifts = {}
    lines = iter(path.read_text().splitlines())
    for line in lines:
        if "Full-frame alignment shift" in line:
            break
    frame = first_frame
    for line in lines:
        if "shift:" not in line:
            break
        words = line[line.index("shift:") + 7 :].split()
        assert len(words) >= 2 and frame <= n_frames, "RELION dies"
        shifts[frame] = float(words[0]), float(words[1])
        frame += 1
    return shifts


def test_relion(project):
    Path("mc").mkdir()
    line = (
        f"{sys.executable} -m restframe -InTiff movie.tif -OutMrc mc/movie.mrc -LogFile mc/movie -Bft 150 "
        "-PixSize 0.885 -Patch 5 5 -Group 2 -Gain gain.mrc -Throw 1 -FmRef 0 -Trunc 1 -FtBin 1.3333 -Kv 200 "
        "-FmDose 1.27712 -InitDose 12.345 -DefectMap defects.tif -SplitSum 1  -ArcDir arc  -Iter 10 -Gpu 0  "
        " >> mc/movie.out 2>> mc/movie.err"
    )
    for _ in range(2):  # a second run is appended, the first table counts
        assert subprocess.run(line, shell=True, timeout=300, check=False).returncode == 0
        assert Path("mc/movie.err").stat().st_size == 0
    shifts = relions_shifts(Path("mc/movie.out"), 2, FRAMES)
    assert sorted(shifts) == [2, 3, 4, 5] and shifts[2] == (0, 0)
    # groups of two share what their middles say: only the run of the track is compared
    assert np.abs(np.array([shifts[f] for f in sorted(shifts)]) + (DRIFT[1:5] - DRIFT[1])).max() < 1
    rows = [line.split() for line in Path("mc/movie0-Patch-Patch.log").read_text().splitlines() if "#" not in line]
    rows = np.array([row for row in rows if len(row) == 7], float)
    assert len(rows) == 25 * 4
    Path("mc/movie.mrc").rename("mc/movie_noDW.mrc")
    Path("mc/movie_DWS.mrc").unlink(missing_ok=True)
    Path("mc/movie_DW.mrc").rename("mc/movie.mrc")
    binned = tuple(2 * (int(n // 1.3333) // 2) for n in (HEIGHT, WIDTH))
    for name in ("movie", "movie_noDW", "movie_EVN", "movie_ODD"):
        assert image(f"mc/{name}.mrc").shape == binned
    assert Path("arc/movie.mrc").exists()


def test_relion_without_dose_weighting_on_mrc(run):
    code, _ = run(
        "-InMrc movie.mrc -OutMrc movie.mrc2.mrc -LogFile movie_1 -Bft 150 -PixSize 1 -Patch 1 1 "
        "-FmRef 0 -DefectFile defects.txt -Gpu 0 1 "
    )
    assert code == 0
    close(np.loadtxt("movie_10-Full.log")[:, 1:])
    assert image("movie.mrc2.mrc").shape == (HEIGHT, WIDTH)


def scipions_shifts(path):
    """parseMovieAlignment2: re-zeroed to the first frame."""
    rows = [line.split() for line in Path(path).read_text().splitlines() if "#" not in line and line.strip()]
    shifts = np.array([row[1:3] for row in rows], float)
    return shifts - shifts[0]


def test_scipion(run):
    code, _ = run(
        """-InTiff "movie.tif" -Throw 0 -Trunc 0 -Patch "3 3" -MaskCent 0 0 -MaskSize 1 1 -FtBin 1.0 -Tol 0.2
        -PixSize 0.885 -kV 300.0 -Cs 0 -OutStack 0 -Gpu 0 -SumRange 0.0 0.0 -InitDose 0.0 -FmDose 1.25 -Group 1 4
        -SplitSum 1 -DefectFile defects.txt -Gain "gain.mrc" -RotGain 0 -FlipGain 1 -Dark dark.mrc
        -OutMrc "movie_aligned_mic.mrc" -OutStar 1 -LogDir ./"""
    )
    assert code == 0
    close(scipions_shifts("movie-Patch-Full.log"))
    made = {p.name for p in Path().iterdir() if not p.is_symlink()}
    (flipped_gain,) = {name for name in made if name.startswith("gain_relion_")}  # as RELION applies it
    assert f" {flipped_gain}\n" in Path("movie.star").read_text()
    assert made - {flipped_gain} == {f"movie_aligned_mic{s}.mrc" for s in ("", "_DW", "_ODD", "_EVN")} | {
        "movie.star"
    } | {f"movie-Patch-{s}.log" for s in ("Full", "Patch", "Frame")}


def test_scipion_tomography(run):
    code, _ = run(
        """-InTiff movie.tif -Patch "0 0" -FtBin 1 -PixSize 1 -kV 300 -SumRange 0 0 -SplitSum 1 -Group 1 4
        -OutMrc ts_001.mrc -LogDir logs"""
    )
    assert code == 0
    close(scipions_shifts("logs/movie-Full.log"))
    assert sorted(p.name for p in Path().glob("ts_*")) == ["ts_001.mrc", "ts_001_EVN.mrc", "ts_001_ODD.mrc"]


def test_scipion_streaming(run, data):
    Path("batch").mkdir()
    Path("batch/output").mkdir()
    for name in ("mov_1.tif", "mov_2.tif"):
        Path(f"batch/{name}").symlink_to(data / "movie.tif")
    os.chdir("batch")
    code, out = run("-Serial 1 -InTiff ./ -OutMrc output/ -LogDir output/ -Gpu 0 -PixSize 1 -FmDose 1 -Patch 3 3")
    assert code == 0 and out.count("added: ") == 2
    for root in ("mov_1", "mov_2"):
        assert image(f"output/{root}_DW.mrc").shape == image(f"output/{root}.mrc").shape
        close(scipions_shifts(f"output/{root}-Patch-Full.log"))


def test_diamond(run):
    words = ["-InTiff", "movie.tif", "-OutMrc", "o.mrc", "-PixSize", "0.1", "-FmDose", "1.0", "-Patch", "5 5"]
    words += ["-Gpu", "0", "-Gain", "gain.mrc", "-SumRange", "3 25", "-FmRef", "0", "-Kv", "300", "-Mag", "1 1 0"]
    words += ["-FtBin", "2.0", "-Serial", "0", "-Bft", "500 150", "-Group", "1", "-SplitSum", "0", "-InFmMotion", "0"]
    code, out = run(words)
    assert code == 0
    close([line.split()[-2:] for line in out.splitlines() if line.startswith("...... Frame")])
    assert Path("o_DW.mrc").exists() and image("o.mrc").shape == (HEIGHT // 2, WIDTH // 2)


def appions_shifts(lines):
    lines = iter(lines)
    for line in lines:
        if line.strip() == "Full-frame alignment shift":
            break
    shifts = []
    for line in lines:
        if "Global shifts are corrected" in line:
            return shifts
        if line.strip():
            shifts.append([float(w) for w in line.split()[-2:]])
    raise RuntimeError("no end of the table")


def test_appion(run):
    code, out = run(["--version"])
    version = [line.strip() for line in out.splitlines() if line.startswith("MotionCor")]
    assert code == 0 and version in (["MotionCor2 version 1.5.0"], ["MotionCor2 version 1.6.4"])
    mrcfile.write("small_dark.mrc", np.zeros((HEIGHT // 2, WIDTH // 2), np.float32))
    words = "-InTiff movie.tif -OutMrc temphost.gpuid_0_sum.mrc -FtBin 2.0 -Iter 7 -Tol 0.500 -FmDose 1.090 -kV 300"
    words += " -Dark small_dark.mrc -Gain gain.mrc -FlipGain 0 -RotGain 0 -Gpu 0 -PixSize 0.830 -Group 1"
    code, out = run(
        [*words.split(), "-Bft", "500 100", "-Patch", "7 5", "-MaskSize", "1.000 1.000", "-MaskCent", "0 0"]
    )
    assert code == 0
    close(appions_shifts(out.splitlines()))
    for suffix in ("", "_DW", "_DWS"):
        assert image(f"temphost.gpuid_0_sum{suffix}.mrc").shape == (HEIGHT // 2, WIDTH // 2)


def test_tomotools(run):
    words = shlex.split("-FtBin 2 -Gpu 0 1 -SplitSum 1 -Gain gain.mrc -RotGain 0 -FlipGain 1 -DefectMap defects.tif")
    words += ["-Patch", "5", "7", "-Group", "1 4", "-InTiff", "movie.tif", "-OutMrc", "o.mrc"]
    code, out = run(words)
    assert code == 0 and not [line for line in out.splitlines() if line.startswith("Warning: Gain ref not found.")]
    whole = image("o.mrc")
    np.testing.assert_allclose(image("o_ODD.mrc") + image("o_EVN.mrc"), whole, atol=1e-3 * whole.std())


def test_tomoman(run):
    code, _ = run(
        "-InMrc movie.mrc -OutMrc o.mrc -LogFile o.mrc.log -Gain gain.mrc -RotGain 0 -FlipGain 0 -PixSize 1.327000 "
        "-InitDose 0.000000 -FmDose 0.300000 -DefectMap defects.tif -PixSize 1.327000 -MaskCent 0.000000 0.000000  "
        "-MaskSize 1.000000 1.000000  -Patch 3 3  -Iter 5  -Tol 0.500000  -Bft 100.000000  -FtBin 1.000000  -Throw 0  "
        "-Trunc 0  -FmRef -1  -OutStack 0  -Align 1  -Gpu 0 -SplitSum 1"
    )
    assert code == 0
    for suffix in ("", "_DW", "_EVN", "_ODD"):
        image(f"o{suffix}.mrc")
    assert Path("o.mrc.log0-Patch-Full.log").exists()


def test_tomobear(project):
    line = (
        f"{sys.executable} -m restframe -InTiff movie.tif -OutMrc o.mrc -Iter 50 -Tol 0.5 -Gpu 0 -GpuMemUsage 0.5 "
        f"-UseGpus 1 -Bft 500 150 -PixSize 1.1 -kV 300 -FmDose 1 -SumRange 2 5 -Tilt -60 3 -SplitSum 1 -Gain gain.mrc "
        f"-Align 1 -OutAln aln -LogFile x_motioncor2.log -FmRef {FRAMES} -Patch 7 5 15 | tee x.stdout "
        "| grep -e Start -e completed -e time -e MotionCor2:"
    )
    process = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0 and process.stderr == ""
    assert process.stdout.splitlines()[-1].startswith("Total time: ")
    found = sorted(p.name for p in Path().glob("*_[DEO]*.mrc"))
    assert found == ["o_DW.mrc", "o_DWS.mrc", "o_EVN.mrc", "o_ODD.mrc"]
    assert Path("aln/movie.aln").exists()
    # the last frame stands still: the sum shows the specimen as it was then
    last = mrcfile.read("movie.mrc")[-1].astype(float)
    spectrum = np.fft.rfft2(last - last.mean()) * np.conj(np.fft.rfft2(image("o.mrc") - image("o.mrc").mean()))
    peak = np.unravel_index(np.fft.irfft2(spectrum).argmax(), last.shape)
    assert peak == (0, 0)


def test_snartomo(run):
    code, _ = run(
        "-InMrc movie.mrc -Gain gain.mrc -OutMrc o.mrc -Patch 3 3 -FmRef 1 -Iter 10 -Tol 0.5 -Serial 0 -SumRange 0 0 "
        "-Gpu 0 -LogDir d/ -SplitSum 1 -Kv 300 -PixSize 1.1 -Outstack 0"
    )
    assert code == 0 and Path("d/movie-Patch-Full.log").exists()
    assert not Path("o_DW.mrc").exists()


def test_transphire(project):
    line = (
        f"{sys.executable} -m restframe -InTiff movie.tif -OutMrc o.mrc -LogFile log/movie -Gpu 0 -FmDose 1 "
        "-Patch '0 0 0' -RotGain 0 -Throw 0 -Trunc 0 -Group 1 -PixSize 1.1 -kV 300 -FtBin 1 -Bft '500 150' "
        "-MaskCent '0 0' -MaskSize '1 1' -Iter 7 -Tol 0.5 -PhaseOnly 0 -StackZ 0 -InitDose 0 -FmRef 0 -Tilt '0 0' "
        "-Mag '1 1 0' -InFmMotion 0 -Crop '0 0' -SumRange '0 0' -GpuMemUsage 0.5 -DefectFile '' -Dark '' -Gain ''"
    )
    Path("log").mkdir()
    process = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0 and process.stderr == ""
    logs = list(Path("log").glob("movie0*"))
    assert logs and all(p.stat().st_size > 0 for p in logs)
    (full,) = (p for p in logs if p.name.endswith("-Full.log"))
    assert full.name.split("0-")[0] == "movie"
    close(np.genfromtxt(full)[:, 1:])
    image("o.mrc"), image("o_DW.mrc")


def test_focus(run):
    code, out = run(
        "-InTiff movie.tif -Gain gain.mrc -OutMrc S.mrc -Iter 15 -Tol 0.4 -kV 300 -PixSize 1.1 -FmDose 1 -Gpu 0 "
        "-Throw 0 -ftbin 2 -Patch 3 3 -bft 150 -Group 1"
    )
    assert code == 0
    rows = [line for line in out.splitlines() if re.search("shift:", line) and re.search("Frame", line)]
    close([row.split(":")[1].split() for row in rows])
    image("S.mrc"), image("S_DW.mrc")


def test_emtools(run, data):
    Path("output").mkdir()
    for number in (1, 2):
        Path(f"movie-00000{number}.tif").symlink_to(data / "movie.tif")
    code, _ = run(
        "-OutMrc output/aligned_ -InSuffix .tif -Serial 1 -Gpu 0 -LogDir log/ -InTiff ./movie- -PixSize 0.885 -kV 300 "
        "-Cs 2.7 -AmpCont 0.1 -Gain gain.mrc -Patch 3 3 -FmDose 1.2"
    )
    assert code == 0
    for number in (1, 2):
        image(f"output/aligned_00000{number}_DW.mrc")
        full = Path(f"log/movie-00000{number}-Patch-Full.log").read_text().splitlines()
        rows = [line.split() for line in full if line.strip() and not line.startswith("#")]
        assert {len(row) for row in rows} == {3} and len(rows) == FRAMES
        patch = Path(f"log/movie-00000{number}-Patch-Patch.log").read_text().splitlines()
        rows = [line.split()[:5] for line in patch if line.strip() and not line.startswith("#")]
        assert len(rows) == 9 * FRAMES and all(len(row) == 5 for row in rows)


def test_slac_and_cryoflare(run):
    """awk on rows without #, tail -n +4, and fields cut at single blanks."""
    code, _ = run(
        "-InTiff movie.tif -OutMrc x_aligned.mrc -LogFile x_aligned.log -FmRef 0 -InFmMotion 1 -GpuMemUsage 0.95 "
        "-Patch 3 3 -PixSize 0.885 -FmDose 1.2 -Kv 300 -Gpu 0"
    )
    assert code == 0
    lines = Path("x_aligned.log0-Patch-Full.log").read_text().splitlines()
    close([line.split()[1:3] for line in lines[3:]])
    close([re.sub(" +", " ", line).split(" ")[2:4] for line in lines[3:]])


def test_magellon(run):
    Path("m").mkdir()
    code, _ = run(
        "-InTiff movie.tif -OutMrc m/o.mrc -LogDir m/logs -Patch 3 3 -PixSize 0.885 -FmDose 1.2 -kV 300 -Gpu 0"
    )
    assert code == 0 and len(list(Path("m").glob("*_DW.mrc"))) == 1
    for ending in ("Patch-Patch", "Patch-Full", "Patch-Frame", "Full"):
        assert list(Path("m/logs").glob(f"*-{ending}.log"))


def test_scipions_folder_of_motioncor(project):
    """docs/manual.md: MOTIONCOR_HOME/bin/MOTIONCOR_BIN is a program that is called with our arguments."""
    recipe = Path(__file__).parents[2] / "docs" / "manual.md"
    script = re.search(r"```sh\n(# Scipion.*?)```", recipe.read_text(), re.DOTALL)[1]
    program = Path("restframe")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m restframe "$@"\n')
    program.chmod(0o755)
    script = script.replace("/path/to/restframe", str(program.resolve()))
    check = """
test -d "$MOTIONCOR_CUDA_LIB"
"$MOTIONCOR_HOME/bin/$MOTIONCOR_BIN" -InTiff movie.tif -OutMrc movie_aligned_mic.mrc -Patch 0 0 -LogDir ./ -Gpu 0 >out
"""
    environment = {**os.environ, "HOME": str(project)}
    process = subprocess.run(
        ["sh", "-e", "-c", script + check], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")
    close(scipions_shifts("movie-Full.log"))
