"""Text made from the table of flags: help, parameter echo, docs/flags.md, version."""

from __future__ import annotations

import textwrap
from itertools import groupby

from restframe.cli.flags import FLAGS, Flag, Status, values_text
from restframe.cli.parse import Options
from restframe.fields import bounds_text
from restframe.version import BUILT, VERSION

NAME_WIDTH = 15  # characters, as MotionCor2 prints parameters
HELP_WIDTH = 110
TYPE_NAMES = {int: "integer", float: "number", str: "text"}


def help_text() -> str:
    """All parameters with brief descriptions."""
    lines = [
        "",
        "Usage: restframe Tags",
        "",
        "  restframe -InTiff movie.tif -OutMrc sum.mrc -Gain gain.mrc -Patch 5 5 -PixSize 0.85 -kV 300 -FmDose 1.2",
        "",
        "Tags may be written in any case, lists with blanks or commas; the first of a repeated tag counts.",
        "restframe report FOLDER: a page of all movies of a batch. restframe plot RECORD: a figure of one movie.",
        "restframe star FOLDER: corrected_micrographs.star for RELION. Each has --help.",
        "restframe watch DIR -OutMrc OUT/ ...: correct movies as they arrive. restframe status OUT: how far it is.",
        "restframe simulate --help: make movies with known motion. restframe --version: version and build date.",
        "restframe warm-up: compile all loops now, so that the first movie need not wait, for example in an image.",
        "restframe doctor: versions, devices and folders of this installation, a short test, and advice.",
    ]
    for group, flags in groupby(FLAGS, key=lambda flag: flag.group):
        lines += ["", f"{group}:"]
        for flag in flags:
            first_indent, indent = f"{flag.name:<{NAME_WIDTH}}  ", " " * (NAME_WIDTH + 2)
            lines += textwrap.wrap(
                _description(flag), HELP_WIDTH, initial_indent=first_indent, subsequent_indent=indent
            )
    return "\n".join(lines)


def _description(flag: Flag) -> str:
    facts = [_bounds(flag), f"default {values_text(flag.default)}" if values_text(flag.default) else "", flag.unit]
    facts = [fact for fact in facts if fact]
    return f"{flag.description} ({'; '.join(facts)})" if facts else flag.description


def _bounds(flag: Flag) -> str:
    """For example "0 to 3", "1 or more"; nothing where any value is taken."""
    if flag.low is None:
        return ""
    return "0 or 1" if (flag.low, flag.high) == (0, 1) and flag.type is int else bounds_text(flag.low, flag.high)


def echo(options: Options) -> list[str]:
    """Every parameter with its value, as MotionCor2 prints them at the start; inert ones only when given."""
    flags = [flag for flag in FLAGS if flag.status is not Status.INERT or flag.name in options.given]
    return ["", *(f"{flag.name:<{NAME_WIDTH}}  {values_text(options.values[flag.name])}" for flag in flags), ""]


def version_text() -> str:
    """Version, build date, and the version whose text this program writes: callers compare that line exactly."""
    return "\n".join(
        (
            f"restframe {VERSION}",
            f"Built on {BUILT}",
            "It speaks the command line, files and text of",
            "MotionCor2 version 1.5.0",
        )
    )


def flags_markdown() -> str:
    """The text of docs/flags.md."""
    lines = [
        "# Flags",
        "",
        "Made from the tables in `src/restframe/cli/flags.py` and `src/restframe/settings.py` by",
        "`python -m restframe.cli.help > docs/flags.md`; a test compares both.",
        "",
        "Flags may be written in any case, and lists with blanks, with commas, or as one argument. Values end at the",
        "next `-letter` or `--letter`, so negative numbers are values. The first of a repeated flag counts. A flag",
        "without a value counts as not given, except switches that begin with `--` (such as `--record`): there",
        "it means 1. Unknown flags are reported on stdout and left out.",
        "",
        "*Since*: the version in which the flag began to work. *No effect*: any value is accepted and reported on",
        "stdout. *Manual*: the section of the manual of MotionCor2.",
    ]
    for group, flags in groupby(FLAGS, key=lambda flag: flag.group):
        lines += ["", f"## {group}", "", "| flag | values | default | unit | manual | since | what it does |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [_table_row(flag) for flag in flags]
    return "\n".join(lines) + "\n"


def _table_row(flag: Flag) -> str:
    inert = flag.status is Status.INERT
    kind = "any" if inert else " \\| ".join(flag.choices) or TYPE_NAMES[flag.type]
    count = "" if inert or flag.arity == 1 else f"{flag.arity or 'any number of'} × "
    bounds = f", {_bounds(flag)}" if _bounds(flag) else ""
    since = "no effect" if inert else flag.since
    cells = (
        f"`{flag.name}`",
        count + kind + bounds,
        values_text(flag.default),
        flag.unit,
        flag.manual,
        since,
        flag.description,
    )
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print(flags_markdown(), end="")
