"""Every example of docs/library.md runs, one after the other, in a folder with a small movie."""

import re
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from restframe.optics import CtfParameters
from restframe.simulate.ice_images import IceImage, simulate_ice

PAGE = (Path(__file__).parents[1] / "docs" / "library.md").read_text()
EXAMPLES = dict(re.findall(r"^## \d+\. ([^\n]+)\n.*?```python\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("library")
    rng = np.random.default_rng(2)
    optics = CtfParameters(voltage=300, defocus=14000, astigmatism=900, astigmatism_angle=30)
    ice = simulate_ice(IceImage(328, 0.85, optics, strength=20.0, bfactor=60.0, seed=2))[:288]
    scene = np.maximum(20 + 4 * ice / ice.std(), 0)  # its CTF is found sooner than that of noise
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
