"""The command: restframe -InTiff movie.tif -OutMrc sum.mrc ..."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, NoReturn

from restframe.cli.devices import start_cuda
from restframe.cli.help import echo, help_text, version_text
from restframe.cli.job import Batch, Job, batch_from, job_from
from restframe.cli.parse import parse
from restframe.cli.streams import errors_as_messages, say, working
from restframe.cli.wording import with_flags
from restframe.errors import BatchError

if TYPE_CHECKING:
    from restframe.output.place import Writer
    from restframe.output.stack import StackFile
    from restframe.result import Result
    from restframe.settings import Settings

FAR = 0.5  # pixels between the field and RELION's polynomial
MOST_NAMES = 20  # of failed movies in the message on stderr; stdout has all


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` without the program's name. Returns the exit code (restframe.errors says which)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return errors_as_messages(lambda: _run(arguments))


def command() -> NoReturn:
    """`main` as a process of its own, which ends at once: to take libraries down one by one takes 0.15 s."""
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(arguments: list[str]) -> int:
    words = [a.lower() for a in arguments]
    if words[:1] == ["simulate"]:
        from restframe.cli.simulate import main as simulate

        return simulate(arguments[1:])
    if not words or {"--help", "-help", "-h"} & set(words):
        say(help_text())
    elif words in (["--version"], ["-version"], ["-v"]):
        say(version_text())
    else:
        _correct(arguments)
    return 0


def _correct(arguments: list[str]) -> None:
    """Read, correct, write: one movie, or with -Serial all of a folder."""
    start = perf_counter()
    options = parse(arguments)
    start_cuda(options.integers("-Gpu"))
    say("\n".join((*echo(options), *options.notes)))
    if options.integer("-Serial"):
        failed = _batch(batch_from(options))
    else:
        failed = None
        _one(job_from(options))
    say(f"Total time: {perf_counter() - start:f} sec")
    if failed:
        raise failed


def _one(job: Job) -> None:
    say("\n".join(job.notes))

    from restframe.movie import open_movie
    from restframe.output.alignment import read_alignment, settings_with
    from restframe.output.text import movie_lines
    from restframe.pipeline import correct, single_blas_thread

    movie = open_movie(job.movie, job.kind, job.settings.exposure.eer_sampling)
    for line in movie_lines(movie, job.kind, job.settings.exposure.eer_sampling):
        say(line)
    settings, field = job.settings, None
    if job.in_aln:
        alignment = read_alignment(job.in_aln)
        settings, field = settings_with(alignment, settings), alignment.field
    with single_blas_thread(), _stack(job) as stack:
        with working(f"{job.movie.name} is brought to rest"):
            result = correct(movie, settings, field=field, stack=stack.take if stack else None, report=say)
        _save(job, stack, result, settings, say)


def _batch(batch: Batch) -> BatchError | None:
    """What to raise at the end if movies failed."""
    say("\n".join((*batch.notes, *batch.listing)))

    from restframe.batch.serial import Task, run_batch
    from restframe.output.alignment import read_alignment

    with ExitStack() as drafts:
        tasks = []
        for job in batch.jobs:
            stack = drafts.enter_context(_stack(job))
            motion = partial(read_alignment, job.in_aln) if job.in_aln else None
            save = partial(_save, job, stack)
            tasks.append(Task(job.movie, job.kind, batch.settings, save, motion, stack.take if stack else None))
        with working(f"{len(tasks)} movies are brought to rest"):
            failures = run_batch(tasks, batch.settings.detector, say)
    say(f"\nMovies corrected: {len(tasks) - len(failures)} of {len(tasks)}")
    if not failures:
        return None
    say("Movies that failed:\n" + "\n".join(f"   {f.movie}: {with_flags(f.reason)}" for f in failures))
    names = ", ".join(str(f.movie) for f in failures[:MOST_NAMES])
    more = f" and {len(failures) - MOST_NAMES} more" if len(failures) > MOST_NAMES else ""
    return BatchError(f"{len(failures)} of {len(tasks)} movies failed: {names}{more}. stdout says why.")


@contextmanager
def _stack(job: Job) -> Iterator[StackFile | None]:
    """Where corrected frames go, if they are wanted; what is not put in place is removed."""
    if "stack" not in job.images:
        yield None
        return
    from restframe.output.stack import StackFile
    from restframe.pipeline import output_pixel

    file = StackFile(job.images["stack"], output_pixel(job.settings) * job.settings.sums.bin)
    try:
        yield file
    finally:
        file.discard()


def _save(job: Job, stack: StackFile | None, result: Result, settings: Settings, say: Callable[[str], None]) -> None:
    from restframe.output.alignment import alignment_text
    from restframe.output.logs import log_files
    from restframe.output.star import polynomial, star_text, summed, unequal
    from restframe.output.write import write_result

    say("Saving motion corrected images ......")
    patches, exposure = settings.motion.patches, settings.exposure
    texts: dict[Path, str] = {}
    for base, columns in job.log_bases:
        texts |= log_files(result, base, patch_mode=min(patches) > 1, columns=columns)
    if job.out_aln:
        texts[job.out_aln] = alignment_text(result, exposure.throw, exposure.trunc, patches)
    if job.star:
        texts[job.star] = star_text(result, job.movie, settings)
        if unequal(result):
            say(f"Warning: {job.star}: RELION takes all frames for sums of {summed(result)} raw frames; some are not.")
        if result.patches is not None:
            apart = polynomial(result.field)[1]
            say(
                f"{'Warning: ' * (apart > FAR)}Local motion for RELION: a polynomial, {apart:.3f} px rms from the field"
            )
    for folder in job.folders:
        folder.mkdir(parents=True, exist_ok=True)
    more: dict[Path, Writer] = {**_archive(job, say), **({stack.target: stack.write} if stack else {})}
    for path in write_result(result, job.images, texts, more):
        say(f"Corrected sum has been saved in:\n   {path}")
    if stack:
        say(f"Corrected frames have been saved in:\n   {stack.target}")
    say("Motion corrected images saved.")


def _archive(job: Job, say: Callable[[str], None]) -> dict[Path, Writer]:
    """The copy of the raw movie, if one is to be made."""
    if not job.archive:
        return {}
    from restframe.kernels import thread_count
    from restframe.movie import open_movie
    from restframe.output.archive import archive_writer
    from restframe.pipeline import own_references

    movie, settings = open_movie(job.movie, job.kind), job.settings
    if movie.format == "eer":
        say("Note: -ArcDir has no effect on an EER movie: its events take less room than frames.")
        return {}
    if settings.detector.dark is not None:
        say("Note: the archive holds the raw counts and the gain, not the dark reference.")
    gain = own_references(movie, settings.detector).gain
    return {job.archive: archive_writer(movie, gain, thread_count(settings.machine), say)}


if __name__ == "__main__":
    command()
