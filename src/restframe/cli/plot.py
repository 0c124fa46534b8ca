"""The subcommand: restframe plot RECORD"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from restframe.cli.arguments import Parser
from restframe.cli.streams import say
from restframe.output.names import plot_path


def make_parser() -> Parser:
    """The arguments of restframe plot."""
    parser = Parser(
        prog="restframe plot",
        description="Draw one movie from its record: global and local motion, image, spectrum, doses, bad pixels.",
        epilog="Records are written with --record, and by batches to the folder restframe beside the sums.",
    )
    parser.add_argument("record", help="the movie's record, a .json file")
    parser.add_argument("--out", metavar="FILE", help=".png, .svg or .pdf (default: RECORD_plot.png beside the record)")
    return parser


def main(words: Sequence[str]) -> int:
    """Draw what ``words`` (the command line after 'plot') ask for. Returns the exit code."""
    arguments = make_parser().parse_args(words)

    from restframe.report.plots import plot_record

    record = Path(arguments.record)
    target = Path(arguments.out) if arguments.out else plot_path(record)
    plot_record(record, target)
    say(str(target))
    return 0
