"""-OutStack, -FullSum and -Align 0 through the command, on movies whose motion is known."""

import subprocess
import sys

import mrcfile
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from restframe import memory
from restframe.cli.main import main
from restframe.measures import fourier_crop
from restframe.movie.fractions import make_fractions
from restframe.prepare import wanted_sums
from restframe.restore.dose import make_plan
from restframe.settings import Exposure, Settings

T, H, W = 5, 288, 320
STEP = np.array([2, -1])  # px of the content from frame to frame, x and y
DOSE = "-PixSize 1.2 -FmDose 2 -Patch 3 3 -Gpu -1"


def restframe(text, folder, code=0):
    command = [sys.executable, "-m", "restframe", *text.split()]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == code, process.stderr
    assert bool(process.stderr) == bool(code)
    return process.stdout


def counts(seed):
    """A specimen that drifts, and the left half of it more than the right: (t, h, w), as seen in frame 0 (h, w)."""
    rng = np.random.default_rng(seed)
    scene = np.full((H + 40, W + 40), 4.0)
    for y, x in zip(rng.integers(0, H + 34, 500), rng.integers(0, W + 34, 500), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    y, x = np.mgrid[:H, :W].astype(float)
    frames = [
        ndimage.map_coordinates(scene, [20 + y - t * STEP[1], 20 + x - t * STEP[0] - 0.6 * t * (x / W - 0.5)], order=3)
        for t in range(T)
    ]
    return rng.poisson(np.maximum(frames, 0)).astype(np.uint8), frames[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two movies, a.tif and b.tif; a corrected without anything more, as plain*.mrc."""
    folder = tmp_path_factory.mktemp("more")
    for seed, name in enumerate("ab"):
        tifffile.imwrite(folder / f"{name}.tif", counts(seed)[0][:, ::-1], photometric="minisblack")
    restframe(f"-InTiff a.tif -OutMrc plain.mrc {DOSE} -FmRef 0", folder)
    return folder


def least_memory():
    """Bytes for a movie none of whose frames are kept."""
    exposure = Exposure(pixel_size=1.2, frame_dose=2)
    sums = wanted_sums(make_fractions(T, exposure), Settings(exposure=exposure))
    return memory.PROGRAM_BYTES + memory.bytes_without_frames((T, H, W), 1, make_plan(sums).group_sizes, len(sums))


def image(path):
    with mrcfile.open(path) as mrc:
        return mrc.data.astype(float)


def agreement(a, b):
    """Correlation of two images inside, their noise smoothed."""
    a, b = (ndimage.gaussian_filter(v, 1)[20:-20, 20:-20] for v in (a, b))
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_stack(folder, tmp_path):
    said = restframe(f"-InTiff {folder}/a.tif -OutMrc s.mrc -OutStack 1 {DOSE} -FmRef 0", tmp_path)
    assert "Corrected frames have been saved in:\n   s_Stk.mrc" in said
    assert {p.name for p in tmp_path.iterdir()} == {"s.mrc", "s_DW.mrc", "s_DWS.mrc", "s_Stk.mrc"}
    for suffix in ("", "_DW", "_DWS"):
        assert (tmp_path / f"s{suffix}.mrc").read_bytes() == (folder / f"plain{suffix}.mrc").read_bytes()
    movie, still = counts(0)
    stack = image(tmp_path / "s_Stk.mrc")
    assert stack.shape == (T, H, W)
    for t in range(T):
        # all show the specimen where it was at first; the last frame as it was stored does not
        assert agreement(stack[t], still) > 0.8
        assert stack[t].mean() == pytest.approx(movie[t].mean(), rel=2e-3)
    assert agreement(movie[-1].astype(float), still) < 0.3
    assert agreement(stack.sum(0), image(tmp_path / "s.mrc")) > 0.9999
    assert mrcfile.validate(tmp_path / "s_Stk.mrc")
    with mrcfile.open(tmp_path / "s_Stk.mrc") as mrc:
        assert float(mrc.voxel_size.x) == pytest.approx(1.2) and mrc.header.mz == T
        assert float(mrc.header.dmean) == pytest.approx(stack.mean(), rel=1e-5)


def test_stack_of_sums_binned_and_read_again(folder, tmp_path, monkeypatch, capsys):
    words = f"-InTiff {folder}/a.tif -OutStack 1 2 -FtBin 1.6 {DOSE}"
    restframe(f"{words} -OutMrc s.mrc", tmp_path)
    stack, size = image(tmp_path / "s_Stk.mrc"), (2 * (180 // 2), 2 * (200 // 2))
    assert stack.shape == (3, *size)
    movie = counts(0)[0]
    # binned pixels are means of sums of 2, 2 and 1 frames
    assert [v.mean() for v in stack] == pytest.approx([movie[i : i + 2].sum(0).mean() for i in (0, 2, 4)], rel=3e-3)
    with mrcfile.open(tmp_path / "s_Stk.mrc") as mrc:
        assert float(mrc.voxel_size.x) == pytest.approx(1.2 * 1.6)
    limit = least_memory() + 2 * H * W
    monkeypatch.setattr(memory, "bytes_with_frames", lambda *shape: 10**12)  # so few frames would take no more if kept
    monkeypatch.chdir(tmp_path)
    assert main(f"{words} -OutMrc again.mrc --max-memory {limit / 1000}KB".split()) == 0
    assert "Frames are read 1 at a time and again in every pass" in capsys.readouterr().out
    assert (tmp_path / "s_Stk.mrc").read_bytes() == (tmp_path / "again_Stk.mrc").read_bytes()


def test_full_sum(folder, tmp_path):
    restframe(f"-InTiff {folder}/a.tif -OutMrc s.mrc -FullSum whole {DOSE} -FmRef 0", tmp_path)
    restframe(f"-InTiff {folder}/a.tif -OutMrc g.mrc {DOSE} -FmRef 0 -Patch 0 0", tmp_path)
    assert (tmp_path / "s.mrc").read_bytes() == (folder / "plain.mrc").read_bytes()
    still, whole = counts(0)[1], image(tmp_path / "whole")
    assert agreement(whole, image(tmp_path / "g.mrc")) > 0.98  # without patches the motion is fitted anew
    left, right = slice(20, 100), slice(-100, -20)
    for side in (left, right):  # which local motion makes worse
        there, local = whole[20:-20, side], image(tmp_path / "s.mrc")[20:-20, side]
        true = still[20:-20, side]
        assert np.corrcoef(there.ravel(), true.ravel())[0, 1] < np.corrcoef(local.ravel(), true.ravel())[0, 1] - 0.01


def test_in_a_batch(folder, tmp_path):
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / "in" / f"{name}.tif").write_bytes((folder / f"{name}.tif").read_bytes())
    (tmp_path / "in" / "bad.tif").write_bytes((folder / "a.tif").read_bytes()[:200_000])
    words = f"-OutStack 1 3 -FullSum full_ {DOSE} -Iter 3"
    restframe(f"-InTiff in/ -Serial 1 -OutMrc all_ {words}", tmp_path, 6)
    good = {f"all_{n}{s}.mrc" for n in "ab" for s in ("", "_DW", "_DWS", "_Stk")} | {"full_a.mrc", "full_b.mrc"}
    assert {p.name for p in tmp_path.iterdir()} == good | {"in", "restframe"}
    restframe(f"-InTiff in/b.tif -OutMrc one.mrc {words}", tmp_path)
    for batch, alone in (("all_b", "one"), ("all_b_Stk", "one_Stk")):
        assert (tmp_path / f"{batch}.mrc").read_bytes() == (tmp_path / f"{alone}.mrc").read_bytes()
    assert (tmp_path / "full_b.mrc").read_bytes() == (tmp_path / "full_").read_bytes()


def test_a_stack_that_cannot_be_written_leaves_nothing(folder, tmp_path):
    command = f"ulimit -f 700; {sys.executable} -m restframe -InTiff {folder}/a.tif -OutMrc s.mrc -OutStack 1 {DOSE}"
    process = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 4
    assert process.stderr.startswith("Error: s_Stk.mrc cannot be written")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bin", [1, 1.6])
def test_not_aligned(folder, tmp_path, bin):
    words = f"-Align 0 -SplitSum 1 -FtBin {bin} -LogDir logs -LogFile x {DOSE}"
    said = restframe(f"-InTiff {folder}/a.tif -OutMrc s.mrc {words}", tmp_path)
    assert said.splitlines()[-1].startswith("Total time: ")
    assert "shift" not in said.split("The CPU is used")[1]
    assert "Note: -LogDir has no effect with -Align 0." in said.splitlines()
    assert {p.name for p in tmp_path.iterdir()} == {"s.mrc", "s_ODD.mrc", "s_EVN.mrc"}
    movie = counts(0)[0].astype(float)
    for suffix, frames in (("", movie), ("_ODD", movie[::2]), ("_EVN", movie[1::2])):
        found, plain = image(tmp_path / f"s{suffix}.mrc"), frames.sum(0)
        expected = fourier_crop(plain, found.shape) if bin > 1 else plain
        inside = (slice(8, -8), slice(8, -8))  # beyond the frame, a plain transform wraps round
        assert np.abs(found[inside] - expected[inside]).std() < (0.01 if bin == 1 else 0.05) * expected.std()
        assert found.mean() == pytest.approx(plain.mean(), rel=2e-3)


def test_not_aligned_uses_gain_and_defects(folder, tmp_path):
    gain = np.random.default_rng(8).uniform(0.7, 1.4, (H, W)).astype(np.float32)
    gain[100, 200] = 0
    mrcfile.write(tmp_path / "gain.mrc", gain)
    restframe(f"-InTiff {folder}/a.tif -OutMrc s.mrc -Align 0 -Gain gain.mrc -Gpu -1", tmp_path)
    found, expected = image(tmp_path / "s.mrc"), counts(0)[0].sum(0) * gain
    good = np.ones((H, W), bool)
    good[98:103, 198:203] = False
    assert np.median(np.abs(found - expected)[good]) < 0.01 * expected.std()
    assert found[100, 200] == pytest.approx(expected[90:111, 190:211].mean(), rel=0.2)
