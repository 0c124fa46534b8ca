"""Simulate a movie with known motion, correct it with the command, and compare the result with the truth.

The movie, its true motion, the corrected sums, the logs and the picture demo.png are written to one folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import mrcfile
import numpy as np

from restframe.measures import BANDS, TrackError, displacement_error, still_ratio
from restframe.session import correct
from restframe.settings import Detector, Settings
from restframe.simulate import PRESETS, SimulatedMovie, simulate, write
from restframe.track.field import MotionField

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SMOOTHING = 2.5  # A, of the pictures of the sum: the standard deviation of a Gaussian
CIRCLE = 8.0  # A, drawn into the power spectra
SHOWN = 0.36  # of Nyquist, where the pictures of power spectra end


@dataclass(frozen=True)
class Tracks:
    """Displacement of the specimen at the centres of patches, from the logs and from the simulation."""

    centres: np.ndarray  # (patches, 2) x, y in pixels
    found: np.ndarray  # (t, patches, 2) pixels
    true: np.ndarray


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for all files (demo)")
    parser.add_argument("--seed", type=int, default=1, help="another number, another movie (1)")
    parser.add_argument("--shape", type=int, nargs=3, metavar=("T", "H", "W"), help="(24 2048 2048)")
    parser.add_argument("--small", type=Path, metavar="FILE.png", help="also write a smaller picture (docs/demo.png)")
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
    print(f"   took {perf_counter() - started:.1f} s; its output is in {args.out / 'restframe.out'}", flush=True)

    print("3. Compared with the truth (still ratio: 1 for a specimen that never moved; track error in A)", flush=True)
    before = correct(
        movie.counts, Settings(Detector(gain=movie.gain)), field=MotionField.at_rest(frames, (height, width))
    ).sum
    after = mrcfile.read(args.out / "sum.mrc")
    tracks = read_tracks(args.out, movie)
    report(movie, before, after, tracks)
    draw(args.out / "demo.png", before, after, tracks, recipe.pixel_size)
    if args.small:
        shrink(args.out / "demo.png", args.small)
    print(f"Picture: {args.out / 'demo.png'} ({perf_counter() - begin:.0f} s in all)")
    return 0


def read_tracks(folder: Path, movie: SimulatedMovie) -> Tracks:
    """From movie-Patch-Full.log (frame, x, y) and movie-Patch-Patch.log (frame, centre, local shift, flag).

    A shift in a log moves the content of a frame back: it is minus the displacement.
    """
    whole = np.loadtxt(folder / "movie-Patch-Full.log", ndmin=2)[:, 1:3]
    local = np.loadtxt(folder / "movie-Patch-Patch.log", ndmin=2).reshape(-1, len(whole), 6)
    centres = local[:, 0, 1:3]
    found = -(whole[:, None] + local[:, :, 3:5].transpose(1, 0, 2))
    return Tracks(centres, found, movie.truth.relative_to(0)(*centres.T))


def report(movie: SimulatedMovie, before: np.ndarray, after: np.ndarray, tracks: Tracks) -> None:
    """Print still ratio and track error of the plain sum and of the corrected one."""
    pixel_size = movie.recipe.pixel_size
    truth, still = movie.still(), movie.still_counts()
    bands = [f"{low:g}-{high:g} A" for low, high in BANDS]
    print(f"   {'':10}{''.join(f'{band:>9}' for band in bands)}     track error")
    for name, image, found in (("before", before, 0 * tracks.found), ("after", after, tracks.found)):
        ratios = still_ratio(image, truth, still, pixel_size)
        error: TrackError = displacement_error(found, tracks.true, pixel_size)
        print(f"   {name:10}{''.join(f'{value:9.2f}' for value in ratios)}     {error.total:.2f} A", flush=True)


def draw(path: Path, before: np.ndarray, after: np.ndarray, tracks: Tracks, pixel_size: float) -> None:
    """The picture: a part of the plain sum and its power spectrum, before and after, and the tracks of all patches."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    square = richest(after)
    figure = plt.figure(figsize=(13, 7), layout="constrained")
    grid = figure.add_gridspec(2, 4, width_ratios=(1, 1, 1.05, 1.05))
    for column, (name, image) in enumerate((("as recorded", before), ("corrected", after))):
        draw_part(figure.add_subplot(grid[0, column]), image, square, pixel_size)
        figure.axes[-1].set_title(f"Sum of the frames, {name}", fontsize=12)
        draw_spectrum(figure.add_subplot(grid[1, column]), image, pixel_size)
        figure.axes[-1].set_title(f"Power spectrum, {name}", fontsize=12)
    draw_tracks(figure.add_subplot(grid[:, 2:]), tracks, before.shape)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_part(axes: Axes, image: np.ndarray, square: tuple[slice, slice], pixel_size: float) -> None:
    """A part of an image, smoothed by `SMOOTHING`, with a scale bar."""
    from scipy.ndimage import gaussian_filter

    part = gaussian_filter(image, SMOOTHING / pixel_size)[square]
    middle, spread = np.median(part), part.std()
    axes.imshow(part, cmap="gray", vmin=middle - 3 * spread, vmax=middle + 3 * spread, origin="lower")
    bar = 100 / pixel_size  # 10 nm
    left, low = 0.05 * len(part), 0.05 * len(part)
    outline = {"color": "black", "lw": 7, "solid_capstyle": "butt"}
    axes.plot([left - 1, left + bar + 1], [low, low], **outline)
    axes.plot([left, left + bar], [low, low], **(outline | {"color": "white", "lw": 4}))
    axes.text(
        left + bar / 2, 1.6 * low, "10 nm", color="white", ha="center", va="bottom", fontsize=11,
        bbox={"color": "black", "alpha": 0.6, "pad": 1.5, "lw": 0},
    )  # fmt: skip
    axes.set_axis_off()


def draw_spectrum(axes: Axes, image: np.ndarray, pixel_size: float) -> None:
    """The power spectrum of an image out to `SHOWN` of Nyquist, with a circle at `CIRCLE`."""
    spectrum = power(image)
    axes.imshow(spectrum, cmap="gray", vmin=0.9, vmax=1.4, origin="lower")
    middle = (len(spectrum) - 1) / 2
    radius = middle / SHOWN * 2 * pixel_size / CIRCLE
    angle = np.linspace(0, 2 * np.pi, 200)
    axes.plot(middle + radius * np.cos(angle), middle + radius * np.sin(angle), "--", color="C1", lw=1.3)
    axes.text(middle + 0.75 * radius, middle + 0.75 * radius, f"{CIRCLE:g} Å", color="C1", fontsize=12, weight="bold")
    axes.set_axis_off()


def draw_tracks(axes: Axes, tracks: Tracks, shape: tuple[int, int]) -> None:
    """The measured motion of each patch on top of the true one, enlarged."""
    magnify = 0.75 * np.ptp(tracks.centres, axis=0).max() / 4 / np.abs(tracks.true).max()
    for patch, centre in enumerate(tracks.centres):
        for motion, style in (
            (tracks.true, {"color": "0.72", "lw": 6, "label": "true motion"}),
            (tracks.found, {"color": "C3", "lw": 1.4, "label": "measured by restframe"}),
        ):
            path_x, path_y = (centre + magnify * motion[:, patch]).T
            style = style if patch == 0 else style | {"label": None}
            axes.plot(path_x, path_y, solid_capstyle="round", solid_joinstyle="round", **style)
        axes.plot(*centre, "o", color="k", ms=4, label="first frame" if patch == 0 else None)
    axes.set_title(f"Motion of the specimen in each patch, enlarged {magnify:.0f} times", fontsize=12)
    axes.set_xlabel("x (pixels)")
    axes.set_ylabel("y (pixels)")
    axes.set_aspect("equal")
    axes.set(xlim=(0, shape[1]), ylim=(0, shape[0] * 1.07))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", ncols=3, frameon=False)


def shrink(path: Path, small: Path, width: int = 1000) -> None:
    """A copy of a picture with fewer pixels and colours, for the documentation."""
    from PIL import Image

    with Image.open(path) as picture:
        resized = picture.convert("RGB").resize((width, round(picture.height * width / picture.width)), Image.LANCZOS)
    greys = [(level, level, level) for level in np.linspace(0, 255, 24).astype(int)]
    red, orange = np.array([214, 39, 40]), np.array([255, 127, 14])  # those of the plots
    blends = [tuple((colour + step * (255 - colour)).astype(int)) for colour in (red, orange) for step in (0, 0.3, 0.6)]
    palette = Image.new("P", (1, 1))
    palette.putpalette([int(value) for colour in (*greys, *blends) for value in colour])
    resized.quantize(palette=palette, dither=Image.Dither.NONE).save(small, optimize=True)


def richest(image: np.ndarray, side: int = 420) -> tuple[slice, slice]:
    """The square of an image in which the contrast is highest."""
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


def power(image: np.ndarray, side: int = 320) -> np.ndarray:
    """Mean power spectrum of overlapping tiles out to `SHOWN` of Nyquist, in units of the noise, smoothed a little."""
    from scipy.ndimage import gaussian_filter

    window = np.hanning(side)[:, None] * np.hanning(side)[None]
    origins = [
        (y, x)
        for y in range(0, image.shape[0] - side + 1, side // 2)
        for x in range(0, image.shape[1] - side + 1, side // 2)
    ]
    total = np.zeros((side, side))
    for y, x in origins:
        tile = image[y : y + side, x : x + side]
        total += np.abs(np.fft.fftshift(np.fft.fft2((tile - tile.mean()) * window))) ** 2
    total /= np.median(total[: side // 16])  # the highest frequencies are noise alone
    reach = round(SHOWN * side / 2)
    keep = slice(side // 2 - reach, side // 2 + reach + 1)
    return gaussian_filter(total, 0.8)[keep, keep]


if __name__ == "__main__":
    sys.exit(main())
