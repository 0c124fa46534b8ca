"""Movies of very many frames: bounded memory, time in proportion, and motion for every frame."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy import ndimage

import restframe
from restframe.long_movies import MAX_MEASURED_FRAMES, frames_per_sum, summed_fractions
from restframe.movie.fractions import make_fractions
from restframe.settings import Exposure, Machine

SPEED = np.array([0.02, -0.014])  # px per frame, x and y


def counts(frames, side, rate=1.0):
    """A specimen that moves steadily, (t, h, w) uint8."""
    rng = np.random.default_rng(8)
    scene = ndimage.gaussian_filter(rng.normal(0, 1, (side + 40, side + 40)), 2)
    scene = rate * np.clip(1 + 4 * scene, 0.05, None)
    for frame in range(frames):
        moved = ndimage.shift(scene, SPEED[::-1] * frame, order=1)[20 : 20 + side, 20 : 20 + side]
        yield rng.poisson(moved).astype(np.uint8)


@pytest.mark.parametrize("frames", [100, 512, 513, 1600, 5000])
def test_how_many_frames_are_summed(frames):
    size = frames_per_sum((frames, 512, 512), 1, Machine())
    assert size == -(-frames // MAX_MEASURED_FRAMES)
    less = frames_per_sum((frames, 512, 512), 1, Machine(max_memory=800_000_000))
    assert less >= size and frames / less <= 150
    assert frames_per_sum((frames, 512, 512), 1, Machine(max_memory=100_000_000)) == -(-frames // 24)


@pytest.mark.parametrize(("throw", "size"), [(0, 2), (3, 4), (0, 7)])
def test_sums_of_fractions_keep_their_dose(throw, size):
    used = make_fractions(50, Exposure(frame_dose=0.5, throw=throw))
    sums = summed_fractions(used, size)
    assert sums.raw_frames == used.raw_frames and sums.dose.sum() == pytest.approx(used.dose.sum())
    assert sums.accumulated[-1] == used.accumulated[-1] and sums.accumulated[0] == used.accumulated[size - 1]
    assert [len(raw) for raw in sums.frames][:-1] == [size] * (len(sums.frames) - 1)


@pytest.mark.parametrize("patches", [(0, 0), (2, 2)])
def test_every_frame_has_its_motion(patches):
    frames = 600
    said = []
    result = restframe.correct(np.stack(list(counts(frames, 96, 0.5))), patches=patches, report=said.append)
    sentence = "Motion is measured on sums of 2 frames and interpolated."
    assert sentence in said and sentence in result.decisions
    assert result.field.n_frames == len(result.global_shifts) == frames
    shifts = result.global_shifts - result.global_shifts.mean(0)
    truth = -np.outer(np.arange(frames) - (frames - 1) / 2, SPEED)
    assert np.sqrt(((shifts - truth) ** 2).sum(1).mean()) < 0.15
    if result.patches is not None:
        assert result.patches.raw.shape[1] == frames and not result.patches.fitted[:, 0].any()


def test_the_limit_of_memory_holds(tmp_path):
    """Motion of 300 frames of 384² pixels takes 0.85 GB where it is measured on all of them."""
    with tifffile.TiffWriter(tmp_path / "m.tif") as tiff:
        for frame in counts(300, 384, 3.0):
            tiff.write(frame, photometric="minisblack")
    words = ["-InTiff", "m.tif", "-OutMrc", "o.mrc", "-LogDir", ".", "-Gpu", "-1", "--max-memory", "550MB"]
    code = "import sys; from restframe.cli.main import main; from restframe.output.record import peak_memory_bytes; "
    code += f"code = main({words}); print(peak_memory_bytes()); sys.exit(code)"
    for _ in range(2):  # the first run may compile loops, which takes memory
        process = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert (process.returncode, process.stderr) == (0, "")
        assert "frames, as --max-memory asks, and interpolated." in process.stdout
    assert int(process.stdout.splitlines()[-1]) < 550_000_000
    shifts = np.loadtxt(tmp_path / "m-Full.log")[:, 1:]
    truth = -np.outer(np.arange(300), SPEED * [1, -1])  # rows of TIFF files are reversed
    assert len(shifts) == 300 and np.abs(shifts - truth).max() < 0.3
    assert Path(tmp_path / "o.mrc").exists()
