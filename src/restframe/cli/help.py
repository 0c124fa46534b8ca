"""Text made from the table of flags: help, parameter echo, docs/flags.md, version."""

from __future__ import annotations

import textwrap
from itertools import groupby

from restframe.cli.flags import FLAGS, Flag, Status
from restframe.cli.parse import Options, show
from restframe.version import BUILT, VERSION


def help_text() -> str:
    """All parameters with brief descriptions."""
    lines = [
        "",
        "Usage: restframe Tags",
        "",
        "  restframe -InTiff movie.tif -OutMrc sum.mrc -Gain gain.mrc -Patch 5 5 -PixSize 0.85 -kV 300 -FmDose 1.2",
        "",
        "Tags may be written in any case, lists with blanks or commas; the first of a repeated tag counts.",
        "restframe simulate --help: make movies with known motion. restframe --version: version and build date.",
    ]
    for group, flags in groupby(FLAGS, key=lambda flag: flag.group):
        lines += ["", f"{group}:"]
        for flag in flags:
            lines += textwrap.wrap(
                _described(flag), 110, initial_indent=f"{flag.name:<15}  ", subsequent_indent=" " * 17
            )
    return "\n".join(lines)


def _described(flag: Flag) -> str:
    facts = [f"default {show(flag.default)}"] if show(flag.default) else []
    facts += [flag.unit] if flag.unit else []
    return f"{flag.help} ({'; '.join(facts)})" if facts else flag.help


def echo(options: Options) -> list[str]:
    """Every parameter with its value, as MotionCor2 prints them at the start; inert ones only when given."""
    shown = [f for f in FLAGS if f.status is not Status.INERT or f.name in options.given]
    return ["", *(f"{f.name:<15}  {show(options.values[f.name])}" for f in shown), ""]


def version_text() -> str:
    """Version and build date, and the version whose text this program speaks: callers compare that line exactly."""
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
        "Made from the table in `src/restframe/cli/flags.py` by `python -m restframe.cli.help > docs/flags.md`; a test",
        "compares both.",
        "",
        "Flags are known in any case. Lists are written with blanks, with commas, or as one argument. Values end at",
        "the next `-letter` or `--letter`, so negative numbers are values. The first of a repeated flag counts; a flag",
        "without a value counts as not given; unknown flags are reported on stdout and left out.",
        "",
        "*Since*: the version in which the flag began to work. *No effect*: any value is accepted and reported on",
        "stdout. *Manual*: the section of the manual of MotionCor2.",
    ]
    for group, flags in groupby(FLAGS, key=lambda flag: flag.group):
        lines += ["", f"## {group}", "", "| flag | values | default | unit | manual | since | what it does |"]
        lines += ["|---|---|---|---|---|---|---|"]
        lines += [_row(flag) for flag in flags]
    return "\n".join(lines) + "\n"


def _row(flag: Flag) -> str:
    names = {int: "integer", float: "number", str: "text"}
    kind = "any" if flag.status is Status.INERT else " \\| ".join(flag.choices) or names[flag.type]
    count = "" if flag.status is Status.INERT or flag.arity == 1 else f"{flag.arity or 'any number of'} × "
    since = flag.since if flag.status is Status.WORKS else "no effect"
    cells = (f"`{flag.name}`", count + kind, show(flag.default), flag.unit, flag.manual, since, flag.help)
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print(flags_markdown(), end="")
