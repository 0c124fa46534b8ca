"""Simulate a movie with known motion, correct it with the command, and show what that was worth.

Leaves the movie, its truth, the corrected sums and the logs in a folder, and demo.png.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import mrcfile
import numpy as np

from restframe.measures import BANDS, TrackError, displacement_error, still_ratio
from restframe.pipeline import correct
from restframe.settings import Detector, Settings
from restframe.simulate import PRESETS, Simulated, simulate, write
from restframe.track.field import MotionField


@dataclass(frozen=True)
class Tracks:
    """Displacement of the specimen at the centres of patches, as the logs tell it."""

    centres: np.ndarray  # (p, 2) x, y in pixels
    found: np.ndarray  # (t, p, 2) pixels
    true: np.ndarray


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for all files (demo)")
    parser.add_argument("--seed", type=int, default=1, help="another number, another movie (1)")
    parser.add_argument("--shape", type=int, nargs=3, metavar=("T", "H", "W"), help="(24 2048 2048)")
    args = parser.parse_args()
    begin = perf_counter()

    recipe = replace(PRESETS["demo"], seed=args.seed)
    if args.shape:
        recipe = replace(recipe, shape=tuple(args.shape))
    frames, height, width = recipe.shape
    dose = f"{frames} frames of {recipe.frame_dose:g} e/A²"
    print(f"1. A movie with known motion: {width} x {height}, {dose}", flush=True)
    movie = simulate(recipe)
    command = write(movie, args.out)

    print(f"2. {' '.join(command)}", flush=True)
    started = perf_counter()
    done = subprocess.run([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, check=False)
    (args.out / "restframe.out").write_text(done.stdout)
    if done.returncode:
        print(done.stdout)
        return done.returncode
    print(f"   took {perf_counter() - started:.1f} s; what it said is in {args.out / 'restframe.out'}", flush=True)

    print("3. Against the truth (still ratio: 1 is a specimen that never moved; track error in A)", flush=True)
    before = correct(
        movie.counts, Settings(Detector(gain=movie.gain)), field=MotionField.at_rest(frames, (height, width))
    ).sum
    after = mrcfile.read(args.out / "sum.mrc")
    tracks = read_tracks(args.out, movie)
    report(movie, before, after, tracks)
    draw(args.out / "demo.png", before, after, tracks, recipe.pixel_size)
    print(f"Picture: {args.out / 'demo.png'} ({perf_counter() - begin:.0f} s in all)")
    return 0


def read_tracks(folder: Path, movie: Simulated) -> Tracks:
    """From movie-Patch-Full.log (frame, x, y) and movie-Patch-Patch.log (frame, centre, local shift, flag).

    A shift is what brings the content of a frame to rest: minus the displacement.
    """
    whole = np.loadtxt(folder / "movie-Patch-Full.log", ndmin=2)[:, 1:3]
    local = np.loadtxt(folder / "movie-Patch-Patch.log", ndmin=2).reshape(-1, len(whole), 6)
    centres = local[:, 0, 1:3]
    found = -(whole[:, None] + local[:, :, 3:5].transpose(1, 0, 2))
    return Tracks(centres, found, movie.truth.relative_to(0)(*centres.T))


def report(movie: Simulated, before: np.ndarray, after: np.ndarray, tracks: Tracks) -> None:
    """Print still ratio and track error of the plain sum and of the corrected one."""
    pixel_size = movie.recipe.pixel_size
    truth, still = movie.still(), movie.still_counts()
    bands = [f"{low:g}-{high:g} A" for low, high in BANDS]
    print(f"   {'':10}{''.join(f'{band:>9}' for band in bands)}     track error")
    for name, image, found in (("before", before, 0 * tracks.found), ("after", after, tracks.found)):
        kept = still_ratio(image, truth, still, pixel_size)
        error: TrackError = displacement_error(found, tracks.true, pixel_size)
        print(f"   {name:10}{''.join(f'{v:9.2f}' for v in kept)}     {error.total:.2f} A", flush=True)


def draw(path: Path, before: np.ndarray, after: np.ndarray, tracks: Tracks, pixel_size: float) -> None:
    """The picture: a part of the image, smoothed to about 10 A, and its power spectrum, before and after, and the
    tracks of all patches."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from scipy.ndimage import gaussian_filter

    square = richest(after)
    figure = plt.figure(figsize=(15, 7.9), layout="constrained")
    grid = figure.add_gridspec(2, 4)
    for column, (name, image) in enumerate((("before", before), ("after", after))):
        part, spectrum = gaussian_filter(image, 2.5 / pixel_size)[square], power(image)
        middle, spread = np.median(part), part.std()
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(part, cmap="gray", vmin=middle - 3 * spread, vmax=middle + 3 * spread, origin="lower")
        axes.set_title(f"{name}: {len(part) * pixel_size / 10:.0f} nm of the sum", fontsize=12)
        axes.set_axis_off()
        axes = figure.add_subplot(grid[1, column])
        axes.imshow(spectrum, cmap="gray", vmin=0.9, vmax=1.35, origin="lower")
        axes.set_title(f"{name}: power spectrum to {4 * pixel_size:g} A", fontsize=12)
        axes.set_axis_off()

    axes = figure.add_subplot(grid[:, 2:])
    magnify = 0.75 * np.ptp(tracks.centres, axis=0).max() / 4 / np.abs(tracks.true).max()
    for p, centre in enumerate(tracks.centres):
        for shown, style in (
            (tracks.true, {"color": "0.72", "lw": 6, "label": "true"}),
            (tracks.found, {"color": "C3", "lw": 1.4, "label": "found"}),
        ):
            path_x, path_y = (centre + magnify * shown[:, p]).T
            style = style if p == 0 else style | {"label": None}
            axes.plot(path_x, path_y, solid_capstyle="round", solid_joinstyle="round", **style)
        axes.plot(*centre, "o", color="k", ms=4, label="first frame" if p == 0 else None)
    axes.set_title(f"motion of the specimen in each patch, {magnify:.0f} times enlarged", fontsize=12)
    axes.set_xlabel("x, pixels")
    axes.set_ylabel("y, pixels")
    axes.set_aspect("equal")
    axes.set(xlim=(0, before.shape[1]), ylim=(0, before.shape[0] * 1.07))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", ncols=3, frameon=False)
    figure.savefig(path, dpi=110)


def richest(image: np.ndarray, side: int = 512) -> tuple[slice, slice]:
    """The square of an image in which there is most to see."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(image - image.mean(), 5)
    side = min(side, *image.shape)
    step = max(1, side // 4)
    squares = [
        (slice(y, y + side), slice(x, x + side))
        for y in range(0, image.shape[0] - side + 1, step)
        for x in range(0, image.shape[1] - side + 1, step)
    ]
    return max(squares, key=lambda square: smooth[square].var())


def power(image: np.ndarray, side: int = 384) -> np.ndarray:
    """Mean power spectrum of overlapping tiles out to half of Nyquist, in units of the noise, smoothed a little."""
    from scipy.ndimage import gaussian_filter

    window = np.hanning(side)[:, None] * np.hanning(side)[None]
    corners = [
        (y, x)
        for y in range(0, image.shape[0] - side + 1, side // 2)
        for x in range(0, image.shape[1] - side + 1, side // 2)
    ]
    total = np.zeros((side, side))
    for y, x in corners:
        tile = image[y : y + side, x : x + side]
        total += np.abs(np.fft.fftshift(np.fft.fft2((tile - tile.mean()) * window))) ** 2
    total /= np.median(total[: side // 16])  # the highest frequencies are noise alone
    keep = slice(side // 4, side - side // 4)
    return gaussian_filter(total, 0.8)[keep, keep]


if __name__ == "__main__":
    sys.exit(main())
