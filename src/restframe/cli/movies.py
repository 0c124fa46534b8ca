"""The movies of a run as jobs, each checked: one movie, or those of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from restframe.batch.folder import EXTENSIONS, Listing, list_movies
from restframe.batch.leases import GpuLeases
from restframe.cli.checks import check_inputs_survive, check_names_differ, check_outputs_differ, check_places
from restframe.cli.clients import RELION_EER_GROUPING, is_relions_eer
from restframe.cli.job import INPUT_FORMATS, Job, input_of, make_job, slice_of
from restframe.cli.parse import Options
from restframe.cli.run_settings import relions_fractions, settings_and_notes
from restframe.errors import InputError, SettingsError
from restframe.files import check_regular
from restframe.output.images import is_ours
from restframe.settings import Settings

RELION_NOTE = (
    f"Note: called by RELION: each fraction is the sum of {RELION_EER_GROUPING} raw frames, RELION's default, and "
    "-Throw, -Trunc and -FmDose count fractions. With another grouping in RELION give -FmIntFile."
)


@dataclass(frozen=True)
class Batch:
    """The movies of a folder."""

    jobs: tuple[Job, ...]
    settings: Settings
    listing: tuple[str, ...]  # lines for stdout: where movies were looked for, and which were found
    notes: tuple[str, ...]


def job_from(options: Options, leases: GpuLeases | None = None) -> Job:
    """Check everything that can be checked before the movie is opened.

    Raises InputError, SameFileError, OutputError, SettingsError or DeviceError.
    """
    input_flag, name = input_of(options)
    movie = Path(name)
    job = make_job(options, movie, INPUT_FORMATS[input_flag])
    check_inputs_survive(options, [job])
    check_outputs_differ(job)
    check_regular(movie)
    if not os.path.isfile(movie):
        problem = "is a folder (with -Serial 1 all its movies)" if os.path.isdir(movie) else "does not exist"
        raise InputError(f"{movie} {problem}. Give the name of a movie after {input_flag}.")
    if not os.access(movie, os.R_OK):
        raise InputError(f"{movie} cannot be read: permission denied.")
    check_places(job)
    settings, notes = settings_and_notes(options, leases, is_for_one_movie=True)
    if is_relions_eer(options, name):
        settings = relions_fractions(movie, settings)
        notes += (RELION_NOTE,)
    return replace(job, settings=settings, notes=notes)


def batch_from(options: Options, leases: GpuLeases | None = None) -> Batch:
    """The movies of a folder as jobs, sorted by name, after a check of their names.

    Raises as `job_from`, and SettingsError when there are no movies or two would give files of the same name.
    """
    input_flag, folder_and_prefix = input_of(options)
    kind, suffix = INPUT_FORMATS[input_flag], options.text("-InSuffix")
    skips = [skip for value in options.values["-InSkips"] for skip in re.split(r"[,\s]+", str(value)) if skip]
    listing = list_movies(folder_and_prefix, kind, suffix, skips, options.is_on("--recursive"))
    share = slice_of(options)
    names = [(name, serial) for name, serial in listing.movies if share.holds(os.path.basename(name))]
    all_jobs = [
        make_job(options, Path(listing.folder, name), kind, serial, number)
        for number, (name, serial) in enumerate(names)
    ]
    earlier_results = _earlier_results(all_jobs)
    jobs = [job for job in all_jobs if job not in earlier_results]
    if not jobs and not (listing.movies and share.count > 1):
        raise _no_movies(listing, kind, suffix)
    check_names_differ(jobs)
    check_inputs_survive(options, jobs)
    for job in jobs:
        check_outputs_differ(job)
    for job in jobs[:1]:
        check_places(job)
    settings, notes = settings_and_notes(options, leases)
    lines = [
        f"Directory: {listing.folder}",
        f"Prefix:    {listing.prefix}",
        f"Suffix:    {suffix}",
        f"Skips:     {' '.join(skips)}",
        *(f"added: {listing.folder}{os.path.relpath(job.movie, listing.folder)}" for job in jobs),
        *(f"left out: {job.movie}, an earlier result" for job in earlier_results),
        *(f"left out: {listing.folder}{reason}" for reason in listing.left_out),
    ]
    output = options.text("-OutMrc")
    if jobs and os.path.isdir(output) and not output.endswith("/"):
        lines.append(
            f"Note: results are called {jobs[0].images['sum']}, ...; -OutMrc {output}/ would put them in that folder."
        )
    if listing.passed_over:
        reason = f"without {suffix} in the name" if suffix else "without the extension of such movies"
        lines.append(f"Files passed over, {reason}: {listing.passed_over}")
    if share.count > 1:
        lines.append(f"Slice:     {share.index}/{share.count}: {len(jobs)} of {len(listing.movies)} movies")
    return Batch(tuple(replace(job, settings=settings) for job in jobs), settings, tuple(lines), notes)


def _earlier_results(jobs: Sequence[Job]) -> list[Job]:
    """Jobs whose movie is an image that restframe made of another movie of the batch."""
    job_by_image = {os.path.realpath(path): job for job in jobs for path in job.images.values()}
    return [job for job in jobs if job_by_image.get(os.path.realpath(job.movie), job) is not job and is_ours(job.movie)]


def _no_movies(listing: Listing, kind: str, suffix: str) -> SettingsError:
    error = SettingsError("no input image files are found.")  # programs look for exactly this text
    ending = f"contain {suffix}" if suffix else f"end in {' or '.join(EXTENSIONS[kind])}"
    beginning = f"begin with {listing.prefix} and " if listing.prefix else ""
    error.add_note(
        f"Looked in {listing.folder} for names that {beginning}{ending}. Others there: {listing.passed_over}."
    )
    return error
