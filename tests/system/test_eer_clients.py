"""Programs that leave it to this one how many raw frames of an EER movie make a fraction: nextPYP, RELION, cryoSPARC.

Their command lines, and what each does with the text and the files by its own rules, written anew.
"""

import re
import shlex
from pathlib import Path

import gemmi
import mrcfile
import numpy as np
import pytest
from scipy import ndimage

from restframe.cli.main import main
from restframe.movie.events import Coding
from restframe.simulate.eer import encode, write_eer

RAW_FRAMES, SIDE = 250, 128
CODING = Coding(7, 2, 2)
SPEED = np.array([0.04, -0.03])  # px of the content in a raw frame, x and y


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """250 raw frames of a strong specimen that drifts steadily."""
    rng = np.random.default_rng(17)
    scene = np.kron(rng.integers(1, 9, (45, 45)), np.ones((4, 4))) / 100

    def electrons():
        for raw_frame in range(RAW_FRAMES):
            rate = ndimage.shift(scene, SPEED[::-1] * raw_frame, order=1)[20 : 20 + SIDE, 20 : 20 + SIDE]
            hit = np.flatnonzero(rng.random(rate.shape) < rate)
            yield encode(hit, *rng.integers(0, 4, (2, len(hit))), rate.size, CODING)

    path = tmp_path_factory.mktemp("eer") / "m.eer"
    write_eer(path, (SIDE, SIDE), electrons(), 65001)
    mrcfile.write(path.with_name("gain.mrc"), np.ones((SIDE, SIDE), np.float32))
    return path


@pytest.fixture
def run(movie, tmp_path, monkeypatch, capfd):
    for file in movie.parent.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)

    def run(words):
        code = main(shlex.split(words))
        out, err = capfd.readouterr()
        assert err == ""
        return code, out

    return run


def close(shifts, raw_middles, atol=0.35):
    expected = -SPEED * (np.asarray(raw_middles)[:, None] - raw_middles[0])
    np.testing.assert_allclose(np.asarray(shifts) - shifts[0], expected, atol=atol)


def table(out):
    lines = out.splitlines()
    begin = lines.index("Full-frame alignment shift") + 1
    rows = []
    for line in lines[begin:]:
        if "shift:" not in line:
            return np.array(rows)
        rows.append([float(word) for word in line[line.index("shift:") + 7 :].split()[:2]])
    raise AssertionError("no end of the table")


@pytest.mark.parametrize("group", [10, 25])
def test_nextpyp(run, group):
    Path("m").mkdir()
    code, out = run(
        f"-InEer m.eer -EerSampling 1 -Group {group} -OutMrc m/m.mrc -FtBin 1 -Gain gain.mrc -RotGain 0 -OutAln m "
        "-Bft 500.0 150.0 -Tol 0.1 -Iter 7 -SumRange 3.0 25.0 -PhaseOnly -CorrInterp -InFmMotion -FmRef 1 "
        "-InitDose 0 -FmDose 0.16 -PixSize 1.1 -kV 300.0 -Cs 0 -SplitSum 1 -Gpu -1"
    )
    assert code == 0
    assert "no CUDA-capable device is detected" not in out and "All GPUs are in use" not in out
    assert f"Fractions: {RAW_FRAMES // group}, each the sum of {group} of the 250 raw frames" in out
    # bare flags count as not given, as in MotionCor
    assert re.search(r"^-PhaseOnly +0$", out, re.MULTILINE) and "Warning: -PhaseOnly is given without a value" in out
    for suffix in ("_DWS", "_ODD", "_EVN"):
        Path(f"m/m{suffix}.mrc").rename(f"moved{suffix}.mrc")
    lines = Path("m/m.aln").read_text().splitlines()[8 : 8 + RAW_FRAMES]  # lines 9 to 8 + frames in the file
    shifts = np.array([line.split()[1:3] for line in lines], float)
    assert len(shifts) == RAW_FRAMES
    close(shifts, np.arange(RAW_FRAMES) + 0.5)


def test_groups_of_raw_frames_and_groups_of_fractions(run):
    """-Group says how many raw frames make a fraction only where nothing else does."""
    Path("rows.txt").write_text("250 25 0.16")
    _, out = run("-InEer m.eer -OutMrc a.mrc -Group 2 -FmIntFile rows.txt -Gpu -1")
    assert "Fractions: 10," in out
    _, out = run("-InEer m.eer -OutMrc b.mrc -Group 2 --eer-grouping 50 -Gpu -1")
    assert "Fractions: 5," in out
    _, out = run("-InEer m.eer -OutMrc c.mrc -Group 1 -Gpu -1")
    assert "Fractions: 41," in out  # of 6 or 7: nobody says how many


@pytest.mark.parametrize(("sampling", "factor"), [(2, 2), (3, 4), (4, 4)])
def test_sampling_of_4_is_4_times(run, sampling, factor):
    code, out = run(f"-InEer m.eer -EerSampling {sampling} -Group 50 -OutMrc o.mrc -Align 0 -Gpu -1")
    assert code == 0 and ("Note: -EerSampling 4 is taken for" in out) == (sampling == 4)
    with mrcfile.open("o.mrc") as mrc:
        assert mrc.data.shape == (SIDE * factor, SIDE * factor)


@pytest.mark.parametrize(("first", "last"), [(1, 6), (2, 5)])
def test_relion_without_an_integration_file(run, first, last):
    """RELION counts 250 // 40 frames, and means them with -Throw and -Trunc."""
    Path("mc").mkdir()
    trunc = f" -Trunc {6 - last}" if last < 6 else ""
    throw = f" -Throw {first - 1}" if first > 1 else ""
    code, out = run(
        f"-InMrc m.eer -OutMrc mc/m.mrc -LogFile mc/m -Bft 150 -PixSize 1.1 -Patch 1 1 -Gain gain.mrc{throw} -FmRef 0"
        f"{trunc} -Kv 300 -FmDose 6.4 -InitDose 0 -OutStar 1 -Gpu -1 "
    )
    assert code == 0 and "called by RELION" in out
    shifts = table(out)
    assert len(shifts) == last - first + 1 and shifts[0].tolist() == [0, 0]
    close(shifts, 40 * (np.arange(first, last + 1) - 0.5))
    # RELION writes mc/m.star itself
    assert not Path("mc/m.star").exists()
    document = gemmi.cif.read("mc/m_restframe.star")
    general = document.find_block("general")
    assert general.find_value("_rlnImageSizeZ") == "6" and general.find_value("_rlnEERGrouping") == "40"
    assert general.find_value("_rlnMicrographStartFrame") == str(first)


@pytest.mark.parametrize("throw", [0, 7, 40, 45])
def test_relion_polishes_with_any_first_raw_frame(run, throw):
    """Fractions begin at the first used raw frame; RELION's begin at raw frame 0."""
    Path("rows.txt").write_text("250 25 0.16")
    code, _ = run(f"-InEer m.eer -OutMrc o.mrc -Throw {throw} -FmIntFile rows.txt -PixSize 1 -OutStar 1 -Gpu -1")
    assert code == 0
    document = gemmi.cif.read("m.star")
    rows = document.find_block("global_shift").find(["_rlnMicrographFrameNumber", "_rlnMicrographShiftX"])
    rows = np.array([[float(value) for value in row] for row in rows])
    used = rows[rows[:, 1] != -9999]
    start = -(-throw // 25)
    assert len(rows) == 10 and used[:, 0].tolist() == list(range(start + 1, 11))
    expected = -SPEED[0] * 25 * (used[:, 0] - start - 1)
    np.testing.assert_allclose(used[:, 1], expected, atol=0.35)


def test_cryosparc(run):
    """Logs in a folder that does not exist, named by a number."""
    code, _ = run(
        "-InEer m.eer -OutMrc o.mrc -LogFile J12/motioncor2_logs/7 -Patch 2 2 -PixSize 1.1 -FmDose 0.16 -Group 25 "
        "-Gpu -1"
    )
    assert code == 0
    for name in ("70-Patch-Full.log", "70-Patch-Frame.log", "70-Patch-Patch.log"):
        assert Path("J12/motioncor2_logs", name).stat().st_size > 0
    rows = np.loadtxt("J12/motioncor2_logs/70-Patch-Full.log")
    close(rows[:, 1:], 25 * (np.arange(10) + 0.5))


def test_logs_of_an_earlier_run_are_removed(run):
    base = "-InEer m.eer -OutMrc o.mrc -LogFile x -LogDir logs -Group 50 -Gpu -1"
    run(f"{base} -Patch 2 2")
    assert {path.name for path in Path("logs").iterdir()} == {
        f"m-Patch-{end}.log" for end in ("Full", "Patch", "Frame")
    }
    Path("logs/other-Patch-Full.log").touch()
    run(base)
    assert {path.name for path in Path("logs").iterdir()} == {"m-Full.log", "other-Patch-Full.log"}
    assert [path.name for path in Path().glob("x0*")] == ["x0-Full.log"]
    run(f"{base} -Patch 2 2")
    assert not Path("logs/m-Full.log").exists() and not Path("x0-Full.log").exists()


def test_an_image_of_an_earlier_run_is_named(run):
    base = "-InEer m.eer -OutMrc o.mrc -Group 50 -PixSize 1 -Gpu -1"
    run(f"{base} -FmDose 0.16")
    _, out = run(base)
    assert "Warning: o_DW.mrc is of an earlier run; this run makes no such image." in out


def test_a_name_that_is_not_ascii_and_quotes_with_a_star_file(run):
    names = ["фильм.eer", 'it\'s "quoted".eer', "naïve movie.eer"]
    for name in names:
        Path(name).symlink_to("m.eer")
        code, _ = run(f"-InEer {shlex.quote(name)} -OutMrc o.mrc -Group 50 -PixSize 1 -OutStar 1 -Gpu -1")
        assert code == 0
        star = Path(name).with_suffix(".star")
        if name.isascii():
            value = gemmi.cif.read(str(star)).find_block("general").find_value("_rlnMicrographMovieName")
            assert gemmi.cif.as_string(value) == name
        else:  # STAR files are ASCII; RELION takes the bytes of a name as they are
            assert re.search(rf"^_rlnMicrographMovieName +'?{name}'?$", star.read_text(encoding="utf-8"), re.MULTILINE)
    assert Path("o.mrc").exists()
