"""restframe warm-up: compile all loops for the CPU now, so that no movie has to wait for that."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from restframe.cli.arguments import Parser
from restframe.cli.streams import say
from restframe.cores import available_cores
from restframe.errors import OutputError
from restframe.loop_files import CONFIGURED_FOLDER, loop_files
from restframe.processor import MARKER, describe, portable_processor, set_processor


def main(argv: Sequence[str]) -> int:
    """Compile what is missing, and say what was done and where it is. Raises `OutputError` if it cannot be kept."""
    arguments = make_parser().parse_args(argv)
    start = time.perf_counter()
    files = loop_files()
    place = files.writable_place()
    if place is None:
        raise OutputError(
            f"No folder for compiled loops can be written. Set {CONFIGURED_FOLDER} to one that can be written."
        )
    files.remove(MARKER)
    if arguments.portable:
        set_processor(os.environ, portable_processor())

    from restframe.compile_ahead import compile_missing, loops, missing_loops, process_count, start_helpers

    missing = missing_loops()
    say(f"{len(loops())} loops for {describe()}, {len(missing)} of them to be compiled")
    say(f"They are kept in {place.folder}")
    if missing:
        processes = arguments.processes or process_count(available_cores(), len(missing))
        helpers = start_helpers(processes)
        for name in compile_missing(0, processes):
            say(f"  {name}")
        for helper in helpers:
            helper.wait()
    still_missing = missing_loops()
    if still_missing:
        raise OutputError(f"{len(still_missing)} loops could not be kept in {place.folder}: is the disk full?")
    if arguments.portable:
        files.write(MARKER, portable_processor().encode("ascii"))
        say("Runs use these loops on every processor that contains the portable one.")
    say(f"Done in {time.perf_counter() - start:.1f} sec")
    return 0


def make_parser() -> Parser:
    """The arguments of restframe warm-up."""
    parser = Parser(
        prog="restframe warm-up",
        description="Compile all loops for the CPU now, for all types of movies, so that the first movie need not "
        f"wait. They are kept in the folder {CONFIGURED_FOLDER}, in the installation, or in the user's cache, "
        "whichever can be written first.",
    )
    parser.add_argument(
        "--portable",
        action="store_true",
        help="for all processors of this family, not for this one alone: x86-64 with AVX2 (Intel since 2013, AMD since "
        "2015), or any ARM. For images of containers. Most loops are up to a tenth slower.",
    )
    parser.add_argument(
        "--processes", type=int, default=0, help="processes that compile at a time (default: one for each core)"
    )
    return parser
