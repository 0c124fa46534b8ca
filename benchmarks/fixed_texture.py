"""How well a movie is tracked in which a tenth of the area shows a texture that is fixed on the detector.

Simulated demo movies of 12 x 1024 x 1024 pixels. Square blocks of them are replaced by Poisson counts of a texture that
does not move, of the same mean. For each seed and contrast: the track error as a multiple of that of the movie without
the texture, and the same when the blocks are listed as defects.

    python benchmarks/fixed_texture.py --seeds 5 1 2 3 --contrasts 0.02 0.05 0.1 0.4
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from restframe import measure_motion
from restframe.arrays import AnyArray, BoolArray
from restframe.measures import track_error
from restframe.simulate import PRESETS, SimulatedMovie, simulate

SHARE = 0.1  # of the area
BLOCK_SIDE_PX = 144


def with_fixed_texture(
    counts: AnyArray, contrast: float, smoothing_px: float, generator: np.random.Generator
) -> tuple[AnyArray, BoolArray]:
    """Counts (t, h, w) whose blocks show a texture of ``contrast`` (standard deviation over mean), and the mask."""
    shape = counts.shape[1:]
    pattern = gaussian_filter(generator.standard_normal(shape), smoothing_px)
    rate = counts.mean() * np.clip(1 + contrast * pattern / pattern.std(), 0.05, None)
    replaced = np.zeros(shape, bool)
    for _ in range(round(SHARE * replaced.size / BLOCK_SIDE_PX**2)):
        row, column = (generator.integers(0, length - BLOCK_SIDE_PX) for length in shape)
        replaced[row : row + BLOCK_SIDE_PX, column : column + BLOCK_SIDE_PX] = True
    counts = counts.copy()
    counts[:, replaced] = np.minimum(generator.poisson(rate[replaced], (len(counts), int(replaced.sum()))), 255)
    return counts, replaced


def error(movie: SimulatedMovie, counts: AnyArray, defects: BoolArray | None = None) -> float:
    """Track error in A."""
    recipe = movie.recipe
    measured = measure_motion(
        counts,
        gain=movie.gain,
        defect_map=None if defects is None else defects.astype(np.uint8),
        pixel_size=recipe.pixel_size,
        frame_dose=recipe.frame_dose,
        patches=(5, 5),
    )
    return track_error(measured.field, movie.truth, recipe.pixel_size).total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[5, 1, 2, 3])
    parser.add_argument("--contrasts", type=float, nargs="+", default=[0.02, 0.05, 0.1, 0.4])
    parser.add_argument("--smoothing", type=float, default=1.5, help="pixels; 1.5")
    parser.add_argument("--side", type=int, default=1024, help="pixels; 1024")
    arguments = parser.parse_args()
    ratios = []
    for seed in arguments.seeds:
        shape = (12, arguments.side, arguments.side)
        movie = simulate(replace(PRESETS["demo"], shape=shape, seed=seed, pixel_size=1.5, frame_dose=4.0))
        clean = error(movie, movie.counts)
        print(f"seed {seed}: {clean:.3f} A without texture", flush=True)
        for contrast in arguments.contrasts:
            generator = np.random.default_rng([seed, 31])
            counts, replaced = with_fixed_texture(movie.counts, contrast, arguments.smoothing, generator)
            with_texture, listed = error(movie, counts), error(movie, counts, replaced)
            ratios.append((with_texture / clean, listed / clean))
            print(f"  contrast {contrast:g}: {with_texture / clean:.2f} of it; listed {listed / clean:.2f}", flush=True)
    means = np.mean(ratios, axis=0)
    print(f"mean: {means[0]:.2f}; listed {means[1]:.2f}")


if __name__ == "__main__":
    main()
