"""Movies are corrected as they arrive: restframe watch DIR, and -Serial N with N above 1."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from restframe.batch.folder import ANY_KIND, kind_of, list_movies, serial_part
from restframe.batch.leases import GpuLeases
from restframe.cli.batch import ledger_of, records_folder, runner_of, summary, task_of
from restframe.cli.checks import (
    check_inputs_survive,
    check_outputs_differ,
    check_places,
    check_references_exist,
    references_of,
)
from restframe.cli.job import INPUT_FORMATS, Job, input_of, make_job, slice_of
from restframe.cli.parse import Options
from restframe.cli.progress import showing_progress
from restframe.cli.run_settings import settings_and_notes
from restframe.cli.set_files import page_of, write_star_set
from restframe.cli.streams import say
from restframe.errors import BatchError, InputError, OutputError, RestframeError, SettingsError, error_message
from restframe.files import why_unreadable
from restframe.messages import Lines
from restframe.output.images import is_ours
from restframe.settings import Settings
from restframe.termination import ending_after_work

if TYPE_CHECKING:
    from restframe.batch.ledger import Ledger
    from restframe.batch.source import Task

REFERENCE_NAME = re.compile(r"gain|superref|dark", re.IGNORECASE)  # in the names of references beside movies


def watch_folder_of(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The folder after the word watch, and the other arguments. Raises `InputError` where there is none.

    A name without a slash is always a folder: a wrong name would be a prefix for which nobody waits.
    """
    if len(arguments) < 2 or arguments[1].startswith("-"):
        raise InputError("No folder was given: restframe watch DIR -OutMrc OUT/ ...")
    folder = arguments[1]
    if "/" not in folder and not os.path.isdir(folder):
        raise InputError(
            f"{folder} is no folder. Names in the present folder that begin so would be watched with ./{folder}"
        )
    return f"{folder}/" if os.path.isdir(folder) and not folder.endswith("/") else folder, list(arguments[2:])


class MovieFinder:
    """Lists the movies of a folder, and makes the task of each. ``start``: the folder, a slash and a prefix."""

    def __init__(self, options: Options, start: str, kind: str, settings: Settings) -> None:
        self._options, self._start, self._kind, self._settings = options, start, kind, settings
        self._suffix = options.text("-InSuffix")
        self._skips = [skip for value in options.values["-InSkips"] for skip in re.split(r"[,\s]+", str(value)) if skip]
        self._recursive = options.is_on("--recursive")
        self._slice = slice_of(options)
        self._references = references_of(options)
        self._ledger: Ledger = ledger_of(options, settings)
        self._no_movies: set[Path] = set()  # references and results among the movies
        self._named_as_left_out: set[str] = set()
        self._numbers: dict[Path, int] = {}  # of the movies in the order in which they were begun
        self._movie_by_output: dict[Path, Path] = {}
        self._prefix = ""

    def find(self) -> list[Path]:
        """Files that may be movies."""
        listing = list_movies(self._start, self._kind, self._suffix, self._skips, self._recursive)
        self._prefix = listing.prefix
        for reason in listing.left_out:
            if reason not in self._named_as_left_out:
                self._named_as_left_out.add(reason)
                say(f"left out: {listing.folder}{reason}")
        paths = [Path(listing.folder, name) for name, _ in listing.movies if self._slice.holds(Path(name).name)]
        return [path for path in paths if path not in self._no_movies and not self._is_known_as_other(path)]

    def _is_known_as_other(self, path: Path) -> bool:
        """Whether the file is one of the references of this run, or is no regular file now."""
        if any(_is_same_file(path, reference) for reference in self._references):
            self._no_movies.add(path)
            return True
        return bool(why_unreadable(path))

    def task(self, movie: Path) -> Task | None:
        """What is to be done for a movie; None for a file that is none."""
        from restframe.batch.source import Earlier

        if reason := why_no_movie(movie):
            self._no_movies.add(movie)
            say(f"left out: {movie}, {reason}")
            return None
        number = self._numbers.setdefault(movie, len(self._numbers))
        serial = serial_part(movie.name, self._prefix, self._suffix)
        job = make_job(self._options, movie, kind_of(movie.name, self._kind), serial, number)
        task = task_of(replace(job, settings=self._settings))
        title = Lines([f"added: {movie}", "", f"Movie {number + 1}: {movie}"])
        try:
            self._check(job)
        except RestframeError as error:
            text = str(error_message(error)[0])
            return replace(task, title=title, earlier=Earlier((f"Error: {text}",), text, "Not corrected:"))
        return self._ledger.checked(replace(task, title=title))

    def _check(self, job: Job) -> None:
        """Raise `RestframeError` where the movie's outputs would replace an input or another movie's outputs."""
        output = job.images["sum"]
        other = self._movie_by_output.setdefault(output, job.movie)
        if other != job.movie:
            raise SettingsError(
                f"{other} and {job.movie} would both be saved as {output}. "
                "Correct one of their folders into another folder for results."
            )
        check_inputs_survive(self._options, [job])
        check_outputs_differ(job)


def why_no_movie(path: Path) -> str:
    """Why a file among the movies is none: a result of ours, or one frame that is called a reference."""
    if is_ours(path):
        return "a result"
    if REFERENCE_NAME.search(path.name):
        from restframe.movie import open_movie

        try:
            if open_movie(path).shape[0] == 1:
                return "a reference"
        except RestframeError:
            return ""
    return ""


def _is_same_file(path: Path, other: Path) -> bool:
    try:
        return path.name == other.name and os.path.samefile(path, other)
    except OSError:
        return False


def correct_arriving(options: Options, leases: GpuLeases, start: str = "") -> BatchError | None:
    """Correct movies as they arrive. ``start``: the folder after the word watch; empty: as the flags say.

    Returns the error to raise at the end if movies failed.
    """
    kind, idle_seconds = ANY_KIND, math.inf
    if not start:
        input_flag, start = input_of(options)
        kind = INPUT_FORMATS[input_flag]
    if options.integer("-Serial") > 1:
        idle_seconds = float(options.integer("-Serial"))
    list_movies(start, kind, recursive=False)  # raises where there is no such folder
    check_references_exist(options)
    output_folder = os.path.dirname(options.text("-OutMrc")) or "."
    if not os.path.isdir(output_folder):
        raise OutputError(f"The folder {output_folder} for the results does not exist. Make it first.")
    example = make_job(options, Path(os.path.dirname(start), "movie.mrc"), "mrc", "movie")
    check_places(example)
    settings, notes = settings_and_notes(options, leases)
    end = "at the end of this process" if math.isinf(idle_seconds) else f"after {idle_seconds:g} s without new movies"
    say(Lines([*notes, f"Watching: {start}, until SIGINT or SIGTERM, or {end}"]))
    return _watch(options, MovieFinder(options, start, kind, settings), settings, records_folder(example), idle_seconds)


def _watch(
    options: Options, finder: MovieFinder, settings: Settings, records: Path, idle_seconds: float
) -> BatchError | None:
    from restframe.batch.lock import FolderLock, state_path
    from restframe.batch.status import RunCounts, StatusFile
    from restframe.batch.watch import FolderWatch, WatchRules

    rules = WatchRules(idle_seconds, options.number("--settle"), options.is_on("--newest-first"))
    source, counts = FolderWatch(finder.find, finder.task, rules), RunCounts()
    part = slice_of(options).name

    def stop(name: str) -> None:
        say(f"{name}: ends after the movies in hand. A second signal ends at once.")
        source.stop()

    with ExitStack() as stack:
        stack.enter_context(FolderLock(state_path(records, "lock", part), source.stop))
        stack.enter_context(page_of(options, records))  # ends last, when the run has said that it ended
        stack.enter_context(StatusFile(state_path(records, "running", part), counts, source.waiting))
        stack.enter_context(showing_progress(counts, source.waiting))
        stack.enter_context(ending_after_work(stop))
        failures = runner_of(options)(source, settings, say, counts)
    write_star_set(options, records)
    return summary(failures, counts.count(), counts.count("skipped"))
