"""The command: restframe -InTiff movie.tif -OutMrc sum.mrc ..."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from restframe.cli.devices import start_cuda
from restframe.cli.help import echo, help_text, version_text
from restframe.cli.job import Batch, Job, batch_from, job_from
from restframe.cli.parse import parse
from restframe.cli.streams import errors_as_messages, say, working
from restframe.cli.wording import with_flags
from restframe.errors import BatchError
from restframe.messages import Lines

if TYPE_CHECKING:
    from restframe.batch.source import Task

MAX_FAILURE_NAMES = 20  # in the message on stderr; stdout has all


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` without the program's name. Returns the exit code (restframe.errors says which)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None and Path(sys.argv[0]).name.lower().startswith("ctffind"):  # a link
        arguments.insert(0, "ctffind")
    return errors_as_messages(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    words = [argument.lower() for argument in arguments]
    if words[:1] == ["simulate"]:
        from restframe.cli.simulate import main as simulate

        return simulate(arguments[1:])
    if words == ["doctor"]:
        from restframe.cli.doctor import main as doctor

        return doctor(say)
    if words[:1] == ["ctf"]:
        from restframe.cli.ctf import main as estimate

        return estimate(arguments[1:])
    if words[:1] == ["ctffind"]:
        from restframe.cli.ctffind import main as ctffind

        return ctffind(arguments[1:])
    if not words or {"--help", "-help", "-h"} & set(words):
        say(Lines.verbatim(help_text()))
    elif words in (["--version"], ["-version"], ["-v"]):
        say(Lines.verbatim(version_text()))
    else:
        _correct(arguments)
    return 0


def _correct(arguments: list[str]) -> None:
    """Read, correct, write: one movie, or with -Serial all of a folder."""
    start = perf_counter()
    options = parse(arguments)
    start_cuda(options.integers("-Gpu"))
    say(Lines((*echo(options), *options.notes)))
    if options.integer("-Serial"):
        failed = _correct_batch(batch_from(options))
    else:
        failed = None
        _correct_one(job_from(options))
    say(f"Total time: {perf_counter() - start:f} sec")
    if failed:
        raise failed


def _correct_one(job: Job) -> None:
    say(Lines(job.notes))

    from restframe.batch.runner import run

    with working(f"correcting {job.movie.name}"):
        run([_task(job)], job.settings, say)


def _correct_batch(batch: Batch) -> BatchError | None:
    """The error to raise at the end if movies failed."""
    say(Lines((*batch.notes, *batch.listing)))

    from restframe.batch.runner import run
    from restframe.batch.source import with_titles

    movie_count = len(batch.jobs)
    with working(f"correcting {movie_count} movies"):
        failures = run(with_titles([_task(job) for job in batch.jobs]), batch.settings, say)
    say(Lines(["", f"Movies corrected: {movie_count - len(failures)} of {movie_count}"]))
    if not failures:
        return None
    reasons = (f"   {failure.movie}: {with_flags(failure.reason)}" for failure in failures)
    say(Lines(["Movies that failed:", *reasons]))
    names = ", ".join(str(failure.movie) for failure in failures[:MAX_FAILURE_NAMES])
    more = f" and {len(failures) - MAX_FAILURE_NAMES} more" if len(failures) > MAX_FAILURE_NAMES else ""
    return BatchError(f"{len(failures)} of {movie_count} movies failed: {names}{more}. stdout says why.")


def _task(job: Job) -> Task:
    """What is to be done for a movie, and where its files go."""
    from restframe.batch.source import Task
    from restframe.output.sink import FileSink, Outputs
    from restframe.output.stack import StackFile

    outputs = Outputs(
        job.images, job.folders, job.log_bases, job.out_aln, job.star, job.archive, job.record, job.defects
    )
    stack = StackFile(job.images["stack"], job.settings.output_pixel_size) if "stack" in job.images else None
    return Task(job.movie, job.kind, FileSink(outputs, stack), job.in_aln)
