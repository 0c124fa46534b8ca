"""Movies that are made quickly, for measuring time and memory: Poisson counts of blobs that drift."""

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
    frame_count, height, width = shape
    generator = np.random.default_rng(1)
    scene = np.zeros((height // 8 + 8, width // 8 + 8), np.uint8)
    for top, left in zip(
        generator.integers(0, height // 8, height * width // 200_000),
        generator.integers(0, width // 8, height * width // 200_000),
        strict=True,
    ):
        scene[top : top + 4, left : left + 4] = 1
    scene = scene.repeat(8, 0).repeat(8, 1)
    counts = generator.poisson(np.array([[0.6], [1.0]]), (2, 1 << 20)).astype(np.uint8)
    partial = folder / f"movie.{os.getpid()}"
    with tifffile.TiffWriter(partial, bigtiff=True) as tiff:
        for frame_index in range(frame_count):
            top, left = frame_index // 5, 20 - frame_index // 5
            structure = scene[top : top + height, left : left + width]
            frame = np.where(structure, *(_noise(values, generator, height, width) for values in counts[::-1]))
            tiff.write(frame, compression="lzw", photometric="minisblack", rowsperstrip=16)
    mrcfile.write(folder / "gain.mrc", generator.normal(1, 0.03, (height, width)).astype(np.float32), overwrite=True)
    recipe = {"pixel_size": 0.42, "voltage": 300, "frame_dose": 0.5}
    (folder / "recipe.json").write_text(json.dumps({"recipe": recipe}))
    partial.rename(folder / "movie.tif")
    return folder


def _noise(counts: np.ndarray, generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(h, w): each row is a piece of ``counts`` from a random position."""
    starts = generator.integers(0, len(counts) - width, height)
    return np.stack([counts[start : start + width] for start in starts])
