"""Is every size of frames corrected? Odd and prime sides, and those around multiples of 4 and 64, up to 600 pixels.

    python benchmarks/sizes.py              all sizes, a few minutes on 2 cores
    python benchmarks/sizes.py --sample 60  so many of them, chosen at random

Each movie shows blobs that drift by a few pixels. Every image must be finite and have the size that the manual says;
from `MEASURABLE_SIDE_PX` on, the motion must be right within `TOLERANCE_PX`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np

import restframe
from restframe.arrays import FloatArray

SIDES = sorted(
    {8, 9, 10, 11, 13, 16, 17, 31, 32, 33, 61, 599, 600}
    | {64 * multiple + offset for multiple in range(1, 10) for offset in (-3, -2, -1, 0, 1, 2, 3)}
    | {67, 97, 103, 131, 151, 179, 211, 251, 307, 353, 401, 449, 499, 547, 587}
)
MEASURABLE_SIDE_PX = 96
TOLERANCE_PX = 0.3
FRAME_COUNT = 3
DRIFT_PX = np.array([[0.0, 0.0], [1.6, -0.9], [3.1, -1.3]])  # x, y in each frame
COUNTS = 6.0
CONTRAST = 6.0
PIXELS_PER_BLOB = 150
BLOB_RADIUS_PX = 2.0


def make_movie(shape: tuple[int, int], seed: int) -> FloatArray:
    """Blobs that drift, (t, h, w) uint8."""
    rng = np.random.default_rng(seed)
    height, width = shape
    count = max(3, height * width // PIXELS_PER_BLOB)
    centres = rng.uniform((-5, -5), (width + 5, height + 5), (count, 2))
    frames = []
    for drift in DRIFT_PX:
        mean = np.full(shape, COUNTS)
        for x, y in centres + drift:
            left, top = max(int(x) - 8, 0), max(int(y) - 8, 0)
            rows, columns = np.mgrid[top : min(int(y) + 9, height), left : min(int(x) + 9, width)]
            distance = (columns - x) ** 2 + (rows - y) ** 2
            mean[rows, columns] += CONTRAST * np.exp(-distance / (2 * BLOB_RADIUS_PX**2))
        frames.append(rng.poisson(mean))
    return np.array(frames).astype(np.uint8)


def check(shape: tuple[int, int], patches: tuple[int, int], seed: int = 0) -> str:
    """Corrects one movie. What is wrong with the result; empty if nothing is."""
    height, width = shape
    result = restframe.correct(make_movie(shape, seed), patches=patches, pixel_size=1.0, frame_dose=1.0)
    for name in ("sum", "dose_weighted"):
        image = getattr(result, name)
        if image.shape != (height, width // 2 * 2) or not np.isfinite(image).all():
            return f"{name} of shape {image.shape}, finite: {np.isfinite(image).mean():.3f}"
    if min(shape) >= MEASURABLE_SIDE_PX:
        measured = result.field.global_displacement()
        error = np.abs(measured - measured[0] - DRIFT_PX).max()
        if error > TOLERANCE_PX:
            return f"motion wrong by {error:.2f} px"
    return ""


def cases() -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Shapes (h, w) and patches."""
    for index, short_side in enumerate(SIDES):
        for other in (SIDES[-1 - index], SIDES[(7 * index) % len(SIDES)], short_side):
            for shape in {(short_side, other), (other, short_side)}:
                yield shape, (3, 2) if min(shape) > 64 and index % 2 else (0, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=0, help="number of sizes; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chosen = list(dict.fromkeys(cases()))
    if arguments.sample:
        order = np.random.default_rng(arguments.seed).permutation(len(chosen))[: arguments.sample]
        chosen = [chosen[index] for index in sorted(order)]
    start, failures = time.perf_counter(), 0
    for shape, patches in chosen:
        try:
            problem = check(shape, patches, arguments.seed)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            failures += 1
            print(f"{shape[1]} x {shape[0]}, patches {patches}: {problem}", flush=True)
    print(f"{len(chosen)} sizes, {failures} wrong, {time.perf_counter() - start:.0f} s")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
