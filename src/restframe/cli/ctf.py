"""The subcommand: restframe ctf MICROGRAPH... --pixel-size 0.85 --output-dir ctf"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from restframe.cli.ctffind import read_images
from restframe.cli.streams import say
from restframe.errors import InputError, RestframeError, SettingsError

if TYPE_CHECKING:
    from restframe.ctf.estimate import Ctf, CtfRequest
    from restframe.output.ctf import MicrographCtf

HEADINGS = (
    ("U (A)", 9),
    ("V (A)", 9),
    ("+-", 6),
    ("angle", 7),
    ("phase", 7),
    ("tilt", 6),
    ("fit to A", 9),
    ("score", 8),
)
STAR_NAME, JSON_NAME = "micrographs_ctf.star", "micrographs_ctf.json"


class _Parser(argparse.ArgumentParser):
    """Wrong arguments end with restframe's exit code, not with argparse's."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"restframe ctf: {message}; see restframe ctf --help")


def make_parser() -> argparse.ArgumentParser:
    """The arguments of restframe ctf."""
    parser = _Parser(
        prog="restframe ctf",
        description="Estimate the contrast transfer function of micrographs by maximum likelihood, with errors.",
        epilog="The table on stdout has defocus in A, angles in degrees; 'no fit' where an image holds no evidence.",
    )
    add = parser.add_argument
    add("micrographs", nargs="+", metavar="MICROGRAPH", help="MRC, TIFF or EER; the frames of a movie are averaged")
    add("--pixel-size", type=float, metavar="A", help="A per pixel (default: the header's)")
    add("--kv", type=float, default=300.0, metavar="KV", help="acceleration voltage (default: 300)")
    add("--cs", type=float, default=2.7, metavar="MM", help="spherical aberration (default: 2.7)")
    add("--amplitude-contrast", type=float, default=0.07, metavar="A", help="0 to 1 (default: 0.07)")
    add(
        "--defocus",
        type=float,
        nargs=2,
        default=(2000.0, 50000.0),
        metavar=("MIN", "MAX"),
        help="where to look, in A (default: 2000 50000)",
    )
    add("--phase-shift", type=float, nargs=2, metavar=("MIN", "MAX"), help="of a phase plate, degrees (default: none)")
    add("--tilt", action="store_true", help="fit a plane of defocus")
    add("--correct", action="store_true", help="correct the motion of movies instead of averaging their frames")
    add("--output-dir", metavar="FOLDER", help=f"write {STAR_NAME} (RELION), {JSON_NAME} and diagnostic images there")
    return parser


def main(words: Sequence[str]) -> int:
    """Estimate all micrographs that ``words`` (the command line after 'ctf') name. Returns the exit code."""
    arguments = make_parser().parse_args(words)
    folder = Path(arguments.output_dir) if arguments.output_dir else None
    if folder:
        from restframe.output.place import check_folder

        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
    names = [Path(name) for name in arguments.micrographs]
    width = max(len(str(name)) for name in names)
    say(" ".join([f"{'micrograph':<{width}}", *(f"{text:>{size}}" for text, size in HEADINGS)]))
    rows: list[MicrographCtf] = []
    failures = 0
    for name in names:
        try:
            rows += _one(name, arguments, folder)
        except RestframeError as error:
            if len(names) == 1:
                raise
            failures += 1
            say(f"{name!s:<{width}} failed: {error}")
            continue
        say(f"{name!s:<{width}} {table_row(rows[-1].ctf)}")
    if folder:
        _write_tables(folder, rows)
    if failures and len(names) > 1:
        say(f"{failures} of {len(names)} micrographs failed")
    if failures == len(names):
        raise InputError("No micrograph could be used. stdout says why.")
    return 0


def table_row(ctf: Ctf) -> str:
    """One line of the table."""
    if not ctf.found:
        return f"{'no fit':>{HEADINGS[0][1]}}"
    values = (
        f"{ctf.defocus_u:.0f}",
        f"{ctf.defocus_v:.0f}",
        f"{ctf.errors.defocus:.0f}",
        f"{ctf.astigmatism_angle:.1f}",
        f"{ctf.phase_shift:.1f}",
        f"{ctf.tilt_angle:.1f}",
        f"{ctf.quality.fit_resolution:.2f}",
        f"{ctf.quality.score:.4f}",
    )
    return " ".join(f"{value:>{size}}" for value, (_, size) in zip(values, HEADINGS, strict=True))


def _one(name: Path, arguments: argparse.Namespace, folder: Path | None) -> list[MicrographCtf]:
    from restframe.ctf.estimate import estimate
    from restframe.movie import open_movie
    from restframe.output.ctf import MicrographCtf, diagnostic_image
    from restframe.output.images import write_mrc

    if not name.is_file():
        problem = "is not a file" if name.exists() else "does not exist"
        raise InputError(f"{name} {problem}. Give the name of a micrograph.")
    pixel_size = header_pixel_size(name) if arguments.pixel_size is None else arguments.pixel_size
    request = _request(arguments, pixel_size)
    if arguments.correct and open_movie(name).shape[0] > 1:
        from restframe.session import correct

        image = correct(name, pixel_size=pixel_size).sum
    else:
        image = read_images(name, is_movie=True)[0]
    ctf = estimate(image, request)
    diagnostic = ""
    if folder:
        target = folder / f"{name.stem}.ctf"
        write_mrc(target, diagnostic_image(ctf), 1.0)
        diagnostic = str(target)
    return [MicrographCtf(str(name), diagnostic, ctf)]


def _request(arguments: argparse.Namespace, pixel_size: float) -> CtfRequest:
    import numpy as np

    from restframe.ctf.estimate import CtfRequest
    from restframe.ctf.model import Microscope
    from restframe.ctf.search import SearchRange

    phase_shift = None
    if arguments.phase_shift:
        low, high = np.deg2rad(arguments.phase_shift)
        phase_shift = float(low), float(high)
    low_defocus, high_defocus = arguments.defocus
    where = SearchRange(low_defocus, high_defocus, phase_shift=phase_shift)
    microscope = Microscope(arguments.kv, arguments.cs, arguments.amplitude_contrast)
    return CtfRequest(pixel_size, microscope, where, arguments.tilt)


def header_pixel_size(name: Path) -> float:
    """The pixel size in A in the header of an MRC file. Raises SettingsError where there is none, InputError."""
    import mrcfile

    pixel_size = 0.0
    if name.suffix.lower() in (".mrc", ".mrcs", ".st"):
        try:
            with mrcfile.open(name, header_only=True, permissive=True) as file:
                pixel_size = float(file.voxel_size.x)
        except (ValueError, OSError) as error:
            raise InputError(f"{name}: the header of this MRC file cannot be read: {error}.") from error
    if not pixel_size > 0:
        raise SettingsError(f"{name}: the pixel size is not in the file. Give it with --pixel-size.")
    return pixel_size


def _write_tables(folder: Path, rows: Sequence[MicrographCtf]) -> None:
    from restframe.output.ctf import ctf_record, relion_star
    from restframe.output.place import place_all
    from restframe.output.write import text_writer

    records = [{"micrograph": row.name, "image": row.image or None, **ctf_record(row.ctf)} for row in rows]
    place_all(
        [
            (folder / JSON_NAME, text_writer(json.dumps(records, indent=1) + "\n")),
            (folder / STAR_NAME, text_writer(relion_star(rows))),
        ]
    )
    say(f"{folder / STAR_NAME}: {sum(row.ctf.found for row in rows)} of {len(rows)} micrographs have a fit")
