"""Many movies: -Serial. Their records are the ledger, so that a second run goes on where the first one stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from restframe.cli.job import Job, slice_of
from restframe.cli.movies import Batch
from restframe.cli.parse import Options
from restframe.cli.progress import showing_progress
from restframe.cli.set_files import page_of, write_star_set
from restframe.cli.streams import printed, say
from restframe.cli.wording import with_flags
from restframe.errors import BatchError
from restframe.messages import Lines

if TYPE_CHECKING:
    from restframe.batch.ledger import Ledger
    from restframe.batch.runner import Failure
    from restframe.batch.source import Task
    from restframe.settings import Settings

Runner = Callable[..., "list[Failure]"]

MAX_FAILURE_NAMES = 20  # in the message on stderr; stdout has all


def task_of(job: Job) -> Task:
    """What is to be done for a movie, and where its files go."""
    from restframe.batch.source import Task
    from restframe.output.sink import FileSink, Outputs
    from restframe.output.stack import StackFile

    outputs = Outputs(
        images=job.images,
        folders=job.folders,
        log_bases=job.log_bases,
        alignment=job.out_aln,
        star=job.star,
        archive=job.archive,
        record=job.record,
        defects=job.defects,
        pictures=job.pictures,
        plot=job.plot,
        ctf=job.ctf,
        power_spectrum=job.power_spectrum,
        durable=job.durable,
    )
    stack = StackFile(job.images["stack"], job.settings.output_pixel_size) if "stack" in job.images else None
    return Task(job.movie, job.kind, FileSink(outputs, stack, command=job.command, wording=printed), job.in_aln)


def ledger_of(options: Options, settings: Settings) -> Ledger:
    """What earlier runs did, and which of it is done again."""
    from restframe.batch.ledger import Ledger

    return Ledger.of(settings, options.is_on("--redo"), options.is_on("--retry-failed"))


def correct_batch(batch: Batch, options: Options) -> BatchError | None:
    """Correct the movies of a folder. Returns the error to raise at the end if movies failed."""
    say(Lines((*batch.notes, *batch.listing)))

    from restframe.batch.ledger import LedgerSource
    from restframe.batch.lock import FolderLock, state_path
    from restframe.batch.source import with_titles
    from restframe.batch.status import RunCounts, StatusFile, Waiting

    movie_count, counts = len(batch.jobs), RunCounts()
    if not movie_count:  # of this slice
        return summary([], 0, 0)
    with ExitStack() as stack:
        records, part = records_folder(batch.jobs[0]), slice_of(options).name
        stack.enter_context(FolderLock(state_path(records, "lock", part)))
        stack.enter_context(page_of(options, records))  # ends last, when the run has said that it ended
        source = LedgerSource(with_titles([task_of(job) for job in batch.jobs]), ledger_of(options, batch.settings))

        def waiting() -> Waiting:
            return Waiting(source.remaining)

        stack.enter_context(StatusFile(state_path(records, "running", part), counts, waiting))
        stack.enter_context(showing_progress(counts, waiting))
        failures = runner_of(options)(source, batch.settings, say, counts)
    write_star_set(options, records)
    return summary(failures, movie_count, counts.count("skipped"))


def runner_of(options: Options) -> Runner:
    """What corrects the movies: this computer, or a cluster."""
    from restframe.batch.runner import run

    if not options.text("--cluster"):
        return run
    from restframe.batch.cluster import run_on_cluster

    return partial(run_on_cluster, options.text("--cluster"))


def records_folder(job: Job) -> Path:
    """Where the records of a batch lie."""
    assert job.record is not None, "each movie of a batch has a record"
    return job.record.parent


def summary(failures: Sequence[Failure], movie_count: int, skipped_count: int) -> BatchError | None:
    """Print the end of a batch. Returns the error to raise if movies failed."""
    lines = ["", f"Movies corrected: {movie_count - len(failures)} of {movie_count}"]
    if skipped_count:
        lines.append(f"By earlier runs: {skipped_count} (--redo 1 corrects them again)")
    say(Lines(lines))
    if not failures:
        return None
    reasons = (f"   {failure.movie}: {with_flags(failure.reason)}" for failure in failures)
    say(Lines(["Movies that failed:", *reasons]))
    names = ", ".join(str(failure.movie) for failure in failures[:MAX_FAILURE_NAMES])
    more = f" and {len(failures) - MAX_FAILURE_NAMES} more" if len(failures) > MAX_FAILURE_NAMES else ""
    return BatchError(f"{len(failures)} of {movie_count} movies failed: {names}{more}. stdout says why.")
