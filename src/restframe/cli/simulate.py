"""The subcommand: restframe simulate FOLDER --kind falcon --seed 1"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from restframe.errors import SettingsError
from restframe.simulate.recipe import PRESETS, Recipe


class _Parser(argparse.ArgumentParser):
    """Bad arguments end with restframe's exit code, not with argparse's."""

    def error(self, message: str):
        raise SettingsError(f"restframe simulate: {message}; see restframe simulate --help")


def parser() -> argparse.ArgumentParser:
    """The arguments of restframe simulate."""
    kinds = ", ".join(f"{k} ({r.shape[2]}x{r.shape[1]}x{r.shape[0]})" for k, r in PRESETS.items())
    out = _Parser(
        prog="restframe simulate",
        description="Make a movie with known motion: the movie, its gain, defects, the truth, and how to correct it.",
        epilog=f"Kinds: {kinds}.",
    )
    out.add_argument("folder", help="where the files go; made if it is not there")
    out.add_argument("--kind", default="falcon", choices=PRESETS, metavar="KIND", help="one of those below (falcon)")
    out.add_argument("--seed", type=int, default=1, help="another number, another movie; the same, the same bytes (1)")
    out.add_argument("--shape", type=int, nargs=3, metavar=("T", "H", "W"), help="frames, rows, columns (the kind's)")
    out.add_argument("--pixel-size", type=float, metavar="A", help="A per pixel (the kind's)")
    out.add_argument("--frame-dose", type=float, metavar="E", help="e/A² per frame (the kind's)")
    out.add_argument(
        "--format",
        default="tiff",
        choices=("tiff", "mrc", "eer"),
        help="TIFF with LZW, MRC, or EER with 10 raw frames to one (tiff)",
    )
    return out


def recipe_from(args: argparse.Namespace) -> Recipe:
    """The recipe that the arguments ask for; `SettingsError` if it can't be made."""
    wanted = {name: getattr(args, name) for name in ("shape", "pixel_size", "frame_dose")}
    given = {name: value for name, value in wanted.items() if value is not None}
    if "shape" in given:
        given["shape"] = tuple(given["shape"])
        if given["shape"][0] < 1 or min(given["shape"][1:]) < 32:
            raise SettingsError(f"--shape {given['shape']}: at least 1 frame of 32 x 32 pixels is needed")
    for name in ("pixel_size", "frame_dose"):
        if given.get(name, 1) <= 0:
            raise SettingsError(f"--{name.replace('_', '-')} {given[name]:g}: must be above 0")
    if args.seed < 0:
        raise SettingsError(f"--seed {args.seed}: must be 0 or above")
    return replace(PRESETS[args.kind], seed=args.seed, **given)


def main(argv: Sequence[str]) -> int:
    """Make the movie that ``argv`` (without 'simulate') asks for; returns the exit code."""
    args = parser().parse_args(argv)
    recipe = recipe_from(args)

    from restframe.simulate import simulate, write

    frames, height, width = recipe.shape
    print(f"Simulating {recipe.kind}, seed {recipe.seed}: {width} x {height} x {frames}", flush=True)
    show = sys.stdout.isatty()

    def progress(t: int) -> None:
        if show:
            print(f"\rframe {t + 1} of {frames}", end="\n" if t + 1 == frames else "", flush=True)

    command = write(simulate(recipe), args.folder, args.format, progress)
    print(f"{args.folder}: movie, gain.mrc, defects.txt, truth.npz, recipe.json")
    print(f"To correct it:\n{' '.join(command)}")
    return 0
