"""The command: restframe -InTiff movie.tif -OutMrc sum.mrc ..."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from time import perf_counter

from restframe.batch.leases import GpuLeases
from restframe.cli.batch import correct_batch, task_of
from restframe.cli.devices import start_cuda
from restframe.cli.help import echo, help_text, version_text
from restframe.cli.job import Job
from restframe.cli.movies import batch_from, job_from
from restframe.cli.parse import parse
from restframe.cli.streams import errors_as_messages, say, working
from restframe.cli.watch import correct_arriving, watch_folder_of
from restframe.compile_ahead import start_early
from restframe.messages import Lines
from restframe.output.command import Command

SUBCOMMANDS = ("simulate", "ctf", "ctffind", "status", "plot", "report", "star", "warm-up")  # modules here with main


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` without the program's name. Returns the exit code (restframe.errors says which)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None and Path(sys.argv[0]).name.lower().startswith("ctffind"):  # a link
        arguments.insert(0, "ctffind")
    return errors_as_messages(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    words = [argument.lower() for argument in arguments]
    if words and words[0] in SUBCOMMANDS:
        return int(import_module(f"restframe.cli.{words[0].replace('-', '_')}").main(arguments[1:]))
    if words == ["doctor"]:
        from restframe.cli.doctor import main as doctor

        return doctor(say)
    if not words or {"--help", "-help", "-h"} & set(words):
        say(Lines.verbatim(help_text()))
    elif words in (["--version"], ["-version"], ["-v"]):
        say(Lines.verbatim(version_text()))
    else:
        _correct(arguments)
    return 0


def _correct(arguments: list[str]) -> None:
    """Read, correct, write: one movie, with -Serial all of a folder, or movies as they arrive."""
    start = perf_counter()
    watched, command = "", Command.given_here(arguments)
    if arguments[:1] == ["watch"]:
        watched, arguments = watch_folder_of(arguments)
    options = replace(parse(arguments), command=command)
    gpus = options.integers("-Gpu")
    start_cuda(gpus)
    if min(gpus, default=-1) < 0:
        start_early(options.integer("--threads"))
    say(Lines((*echo(options), *options.notes)))
    failed = None
    with GpuLeases() as leases:
        if watched or options.integer("-Serial") > 1:
            failed = correct_arriving(options, leases, watched)
        elif options.integer("-Serial"):
            failed = correct_batch(batch_from(options, leases), options)
        else:
            _correct_one(job_from(options, leases))
    say(f"Total time: {perf_counter() - start:f} sec")
    if failed:
        raise failed


def _correct_one(job: Job) -> None:
    say(Lines(job.notes))

    from restframe.batch.runner import run

    with working(f"correcting {job.movie.name}"):
        run([task_of(job)], job.settings, say)
