"""What a batch writes about all its movies: the page, and the list of movies for RELION."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from restframe.cli.parse import Options
from restframe.cli.streams import say
from restframe.messages import Lines


def page_of(options: Options, records: Path) -> AbstractContextManager[object]:
    """Keeps the page of a batch up to date as long as the context lasts, where it is wanted."""
    if not options.is_on("--report"):
        return nullcontext()

    from restframe.report.page import PageBuilder
    from restframe.report.records import RecordReader
    from restframe.report.refresh import Refreshing

    title = records.parent.resolve().name or "Movies"
    return Refreshing(PageBuilder(RecordReader(records), title))


def write_star_set(options: Options, records: Path) -> None:
    """Write the list of all movies whose records are there, where it is wanted. Raises `OutputError`."""
    if not options.is_on("-OutStar") or not records.is_dir():
        return

    from restframe.report.records import RecordReader
    from restframe.report.star_set import sums_folder, write_star_set

    for path in write_star_set(RecordReader(records).records(), sums_folder(records), Path()):
        say(Lines(["", "The list of movies for RELION has been saved in:", f"   {path}"]))
