"""The subcommand: restframe report FOLDER"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from restframe.cli.arguments import Parser
from restframe.cli.streams import say

ALL_ADDRESSES = "0.0.0.0"


def make_parser() -> Parser:
    """The arguments of restframe report."""
    parser = Parser(
        prog="restframe report",
        description="Write a page that shows all movies of a batch: report.html beside their records, to be opened in "
        "any browser. Copy the folders report_files and pictures with it.",
        epilog="A batch writes and refreshes the same page (--report 1).",
    )
    add = parser.add_argument
    add("folder", help="folder of the corrected sums, or of their records")
    add("--title", help="title of the page (default: the name of the folder)")
    add("--serve", type=int, metavar="PORT", help="also serve the page on this computer, and refresh it, until Ctrl-C")
    add(
        "--all-addresses",
        action="store_true",
        help="with --serve: also for other computers. Everybody who reaches this one can then see the page",
    )
    return parser


def main(words: Sequence[str]) -> int:
    """Write, and perhaps serve, the page that ``words`` (the command line after 'report') ask for."""
    arguments = make_parser().parse_args(words)

    from restframe.report.page import PageBuilder
    from restframe.report.records import RecordReader, record_folder
    from restframe.report.refresh import Refreshing
    from restframe.report.serve import LOOPBACK, make_server

    records = record_folder(Path(arguments.folder))
    builder = PageBuilder(RecordReader(records), arguments.title or page_title(Path(arguments.folder)))
    say(str(builder.write()))
    if arguments.serve is None:
        return 0
    address = ALL_ADDRESSES if arguments.all_addresses else LOOPBACK
    with make_server(records, arguments.serve, address) as server, Refreshing(builder):
        say(f"http://{LOOPBACK}:{server.server_address[1]}/")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:
            say("Ended.")
        finally:
            server.shutdown()
    return 0


def page_title(folder: Path) -> str:
    """The name of the folder of the sums, also where that of the records is given."""
    from restframe.output.names import RECORD_FOLDER

    path = folder.resolve()
    return (path.parent if path.name == RECORD_FOLDER else path).name or "Movies"
