"""The subcommand: restframe star FOLDER"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from restframe.cli.arguments import Parser
from restframe.cli.streams import say


def make_parser() -> Parser:
    """The arguments of restframe star."""
    parser = Parser(
        prog="restframe star",
        description="Write corrected_micrographs.star, and micrographs_ctf.star where CTFs were estimated, for later "
        "jobs of RELION. Movies that failed are left out.",
        epilog="A batch with -OutStar 1 writes the same files.",
    )
    add = parser.add_argument
    add("folder", help="folder of the corrected sums, or of their records")
    add("--out", metavar="FOLDER", help="where the files go (default: the folder of the sums)")
    add(
        "--relative-to",
        metavar="FOLDER",
        default=".",
        help="names in the files are relative to this folder, RELION's project (default: the present folder)",
    )
    return parser


def main(words: Sequence[str]) -> int:
    """Write the files that ``words`` (the command line after 'star') ask for. Returns the exit code."""
    arguments = make_parser().parse_args(words)

    from restframe.report.records import RecordReader, record_folder
    from restframe.report.star_set import sums_folder, write_star_set

    records = record_folder(Path(arguments.folder))
    target = Path(arguments.out) if arguments.out else sums_folder(records)
    for path in write_star_set(RecordReader(records).records(), target, Path(arguments.relative_to)):
        say(str(path))
    return 0
