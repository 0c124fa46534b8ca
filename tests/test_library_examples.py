"""Every example of docs/library.md runs, one after the other, in a folder with a small movie."""

import re
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

PAGE = (Path(__file__).parents[1] / "docs" / "library.md").read_text()
EXAMPLES = dict(re.findall(r"^## \d+\. ([^\n]+)\n.*?```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("library")
    rng = np.random.default_rng(2)
    scene = np.full((288, 328), 4.0)
    for y, x in zip(rng.integers(0, 280, 260), rng.integers(0, 320, 260), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    frames = rng.poisson([np.roll(scene, frame, 1)[:, 8:] for frame in range(6)]).astype(np.uint8)
    tifffile.imwrite(path / "movie.tif", frames, compression="lzw", photometric="minisblack")
    gain = rng.normal(1, 0.05, frames.shape[1:]).astype(np.float32)
    mrcfile.write(path / "gain.mrc", gain, overwrite=True)
    return path


def test_there_are_ten():
    assert len(EXAMPLES) == 10


@pytest.mark.parametrize("title", EXAMPLES)
def test_example(folder, monkeypatch, title):
    monkeypatch.chdir(folder)
    exec(compile(EXAMPLES[title], title, "exec"), {"__name__": "example"})
