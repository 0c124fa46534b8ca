"""Movies that cost little to make, for measuring time and memory: Poisson counts around blobs that drift."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np


def cheap_movie(folder: Path, shape: tuple[int, int, int]) -> Path:
    """A movie of blobs that drift by a pixel every five frames; counts from one large table of random numbers."""
    import mrcfile
    import tifffile

    if (folder / "movie.tif").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    t, h, w = shape
    rng = np.random.default_rng(1)
    scene = np.zeros((h // 8 + 8, w // 8 + 8), np.uint8)
    for y, x in zip(rng.integers(0, h // 8, h * w // 200_000), rng.integers(0, w // 8, h * w // 200_000), strict=True):
        scene[y : y + 4, x : x + 4] = 1
    scene = scene.repeat(8, 0).repeat(8, 1)
    counts = rng.poisson(np.array([[0.6], [1.0]]), (2, 1 << 20)).astype(np.uint8)
    partial = folder / f"movie.{os.getpid()}"
    with tifffile.TiffWriter(partial, bigtiff=True) as tiff:
        for i in range(t):
            y, x = i // 5, 20 - i // 5
            part = scene[y : y + h, x : x + w]
            frame = np.where(part, *(_noise(c, rng, h, w) for c in counts[::-1]))
            tiff.write(frame, compression="lzw", photometric="minisblack", rowsperstrip=16)
    mrcfile.write(folder / "gain.mrc", rng.normal(1, 0.03, (h, w)).astype(np.float32), overwrite=True)
    recipe = {"pixel_size": 0.42, "voltage": 300, "frame_dose": 0.5}
    (folder / "recipe.json").write_text(json.dumps({"recipe": recipe}))
    partial.rename(folder / "movie.tif")
    return folder


def _noise(counts: np.ndarray, rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """(h, w): every row a piece of ``counts`` from a random place."""
    starts = rng.integers(0, len(counts) - w, h)
    return np.stack([counts[s : s + w] for s in starts])
