"""The subcommand: restframe simulate FOLDER --kind falcon --seed 1"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from restframe.cli.arguments import Parser
from restframe.errors import SettingsError
from restframe.simulate.recipe import PRESETS, Recipe

MIN_SIDE_PX = 32  # of a simulated frame


def make_parser() -> argparse.ArgumentParser:
    """The arguments of restframe simulate."""
    shapes = {kind: recipe.shape for kind, recipe in PRESETS.items()}
    kinds = ", ".join(f"{kind} ({width}x{height}x{frames})" for kind, (frames, height, width) in shapes.items())
    parser = Parser(
        prog="restframe simulate",
        description="Make a movie with known motion: the movie, its gain, defects, the truth, and how to correct it.",
        epilog=f"Kinds: {kinds}.",
    )
    add = parser.add_argument
    add("folder", help="where the files go; it is made if missing")
    add("--kind", default="falcon", choices=PRESETS, metavar="KIND", help="one of those below (default: falcon)")
    add("--seed", type=int, default=1, help="of the random numbers; an equal seed gives equal bytes (default: 1)")
    add("--shape", type=int, nargs=3, metavar=("T", "H", "W"), help="frames, rows, columns (default: the kind's)")
    add("--pixel-size", type=float, metavar="A", help="A per pixel (default: the kind's)")
    add("--frame-dose", type=float, metavar="E", help="e/A² per frame (default: the kind's)")
    add(
        "--format",
        default="tiff",
        choices=("tiff", "mrc", "eer"),
        help="TIFF with LZW, MRC, or EER with 10 raw frames per frame (default: tiff)",
    )
    return parser


def recipe_from(arguments: argparse.Namespace) -> Recipe:
    """The recipe that the arguments ask for. Raises SettingsError for values that no movie can have."""
    requested = {name: getattr(arguments, name) for name in ("shape", "pixel_size", "frame_dose")}
    changes = {name: value for name, value in requested.items() if value is not None}
    if "shape" in changes:
        frames, height, width = changes["shape"] = tuple(changes["shape"])
        if frames < 1 or min(height, width) < MIN_SIDE_PX:
            raise SettingsError(
                f"--shape {changes['shape']}: at least 1 frame of {MIN_SIDE_PX} x {MIN_SIDE_PX} pixels is needed"
            )
    for name in ("pixel_size", "frame_dose"):
        if changes.get(name, 1) <= 0:
            raise SettingsError(f"--{name.replace('_', '-')} {changes[name]:g}: must be above 0")
    if arguments.seed < 0:
        raise SettingsError(f"--seed {arguments.seed}: must be 0 or above")
    return replace(PRESETS[arguments.kind], seed=arguments.seed, **changes)


def main(words: Sequence[str]) -> int:
    """Make the movie that ``words`` (the command line after 'simulate') asks for. Returns the exit code."""
    arguments = make_parser().parse_args(words)
    recipe = recipe_from(arguments)

    from restframe.simulate import simulate, write

    frame_count, height, width = recipe.shape
    print(f"Simulating {recipe.kind}, seed {recipe.seed}: {width} x {height} x {frame_count}", flush=True)
    on_terminal = sys.stdout.isatty()

    def show_progress(frame: int) -> None:
        if on_terminal:
            end = "\n" if frame + 1 == frame_count else ""
            print(f"\rframe {frame + 1} of {frame_count}", end=end, flush=True)

    command = write(simulate(recipe), arguments.folder, arguments.format, show_progress)
    print(f"{arguments.folder}: movie, gain.mrc, defects.txt, truth.npz, recipe.json")
    print(f"To correct it:\n{' '.join(command)}")
    return 0
