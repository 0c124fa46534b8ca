"""Peak memory of one movie's process (ru_maxrss), with the raw frames kept and with --max-memory, and whether both
give the same bytes.

`--super-resolution` makes the K3 movie of MotionCor2's manual, section 1.1: 11520 x 8184 x 100, 8 bits. It needs about
4 GB of disk and is simulated cheaply: Poisson counts around a smooth image that drifts by known shifts.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from movies import DEFAULT_CACHE
from speed_cpu import movie_folder, restframe_command, run, show

SUPER = (100, 8184, 11520)  # (t, h, w)


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", default="falcon", help="of restframe simulate")
    parser.add_argument("--movie", type=Path, help="a folder that restframe simulate made, instead of --kind")
    parser.add_argument("--size", type=int, help="at most so many pixels along an edge")
    parser.add_argument("--super-resolution", action="store_true")
    parser.add_argument("--limit", default="", help="for the second run: as after --max-memory; without it, one run")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE)
    parser.add_argument("--json", type=Path, help="write the results there")
    args = parser.parse_args()

    if args.super_resolution:
        movie = cheap_movie(args.cache / "files-k3-super-resolution", SUPER)
    else:
        movie = (args.movie or movie_folder(args.kind, args.size, None, args.cache)).resolve()
    costs, files = {}, {}
    print(f"{movie.name}\n{'':<40}{'wall':>10} {'CPU':>10} {'peak memory':>12}")
    for name, more in {"frames kept": (), f"--max-memory {args.limit}": ("--max-memory", args.limit)}.items():
        if more and not args.limit:
            continue
        with tempfile.TemporaryDirectory() as folder:
            costs[name] = run(restframe_command(movie, args.threads, Path(folder), *more), Path(folder))
            files[name] = {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.mrc"))}
        show(name, costs[name])
    same = len(files) > 1 and all(other == next(iter(files.values())) for other in files.values())
    if len(files) > 1:
        print("The same bytes." if same else "NOT the same bytes.")
    if args.json:
        result = {"movie": str(movie), "runs": {k: asdict(v) for k, v in costs.items()}, "same_bytes": same}
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if len(files) > 1 and not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
