"""Damaged and hostile input: a sample of benchmarks/bad_inputs.py, and a short fuzz of the readers."""

import runpy
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks_in_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_a_sample_of_broken_inputs():
    """In a process of their own, which may crash. benchmarks/bad_inputs.py --seed tries others."""
    bad_inputs = runpy.run_path(str(BENCHMARKS / "bad_inputs.py"))
    outcomes = bad_inputs["run_watched"](150, seed=3)
    assert len(outcomes) == 150
    assert [outcome for outcome in outcomes if outcome[1] == bad_inputs["BAD"]] == []


def test_a_fuzz_of_the_readers(tmp_path):
    runpy.run_path(str(BENCHMARKS / "fuzz_readers.py"))["fuzz"](tmp_path, 150)


def test_a_movie_in_a_batch_cannot_take_the_others_with_it(tmp_path):
    """Its strip crashes the decoder of imagecodecs."""
    frames = np.random.default_rng(0).poisson(5, (3, 48, 64)).astype(np.uint8)
    for name in ("a", "c"):
        tifffile.imwrite(tmp_path / f"{name}.tif", frames, compression="lzw", photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", frames[0], compression="lzw", rowsperstrip=48, metadata=None)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        start, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    raw = bytearray((tmp_path / "b.tif").read_bytes())
    raw[start : start + count] = (bytes.fromhex("8048a0402818") * count)[:count]
    (tmp_path / "b.tif").write_bytes(raw)
    (tmp_path / "out").mkdir()
    command = [
        sys.executable,
        "-m",
        "restframe",
        "-InTiff",
        f"{tmp_path}/",
        "-Serial",
        "1",
        "-OutMrc",
        f"{tmp_path}/out/",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 6 and "1 of 3 movies failed" in ended.stderr
    assert "b.tif: frame 1 is damaged" in ended.stdout
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mrc")) == ["a.mrc", "c.mrc"]
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "out" / "a.mrc"), mrcfile.read(tmp_path / "out" / "c.mrc"))
