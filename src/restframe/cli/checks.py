"""What is checked before any work: inputs that would be replaced, names that collide, places that take no files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from restframe.cli.job import Job
from restframe.cli.parse import Options
from restframe.errors import ReferenceInputError, SameFileError, SettingsError
from restframe.files import why_unreadable
from restframe.output.drafts import remove_abandoned
from restframe.output.names import RECORD_FOLDER
from restframe.output.place import check_folder, check_place

REFERENCE_INPUTS = ("-Gain", "-Dark", "-DefectFile", "-DefectMap", "-FmIntFile")  # no output may replace these


def references_of(options: Options) -> list[Path]:
    """The files of references, defects and exposures."""
    return [Path(options.text(flag)) for flag in REFERENCE_INPUTS if options.text(flag)]


def check_references_exist(options: Options) -> None:
    """Raise `ReferenceInputError` where a reference is no readable file: no movie can be corrected then.

    Runs that wait for movies would tell it when the first one arrives.
    """
    for flag in REFERENCE_INPUTS:
        path = options.text(flag)
        if path and not os.path.exists(path) and why_unreadable(path) is None:
            raise ReferenceInputError(f"{flag} {path} does not exist. Check the name.")
        if path and os.path.isfile(path) and not os.access(path, os.R_OK):
            raise ReferenceInputError(f"{flag} {path} cannot be read: permission denied.")


def check_inputs_survive(options: Options, jobs: Sequence[Job]) -> None:
    references = references_of(options)
    known_motion = (job.in_aln for job in jobs if job.in_aln)
    inputs = (*(job.movie for job in jobs), *references, *known_motion)
    real_folder = cache(os.path.realpath)  # a batch has thousands of files in few folders
    input_by_identity = {identity: path for path in inputs for identity in _identities(path, real_folder)}
    for job in jobs:
        for output in (*job.images.values(), *job.extras, *job.logs):
            for identity in _identities(output, real_folder):
                if identity in input_by_identity:
                    raise SameFileError(
                        f"{output} would overwrite the input {input_by_identity[identity]}. "
                        "Give the output another name."
                    )


def _identities(path: Path, real_folder: Callable[[Path], str]) -> list[object]:
    """Keys that are equal for two names of the same file, whether it exists or not."""
    identities: list[object] = [(real_folder(path.parent), path.name)]
    with suppress(OSError):
        status = os.stat(path)
        identities.append((status.st_dev, status.st_ino))
    return identities


def check_outputs_differ(job: Job) -> None:
    """Raise SettingsError where two files of one movie would have one name."""
    outputs = [*job.images.values(), *job.extras, *job.logs]
    real_paths = [os.path.abspath(path) for path in outputs]
    for number, path in enumerate(real_paths):
        if path in real_paths[:number]:
            raise SettingsError(f"Two outputs would both be {outputs[number]}. Give one of them another name.")


def check_names_differ(jobs: Sequence[Job]) -> None:
    job_by_name: dict[object, Job] = {}
    for job in jobs:
        global_sums = [job.images["global_sum"]] if "global_sum" in job.images else []
        log_bases = [base for base, _ in job.log_bases]
        for name in (job.images["sum"], *global_sums, *job.extras, *log_bases):
            if name in job_by_name:
                raise SettingsError(
                    f"{job_by_name[name].movie} and {job.movie} would both be saved as {name}. "
                    "Tell them apart with -InSuffix or -InSkips."
                )
            job_by_name[name] = job


def folders_of(job: Job) -> list[Path]:
    """All folders in which a run writes files, those of the pictures and of the session page too."""
    pictures = (job.pictures or {}).values()
    folders = [path.parent for path in (*job.images.values(), *job.extras, *job.logs, *pictures)]
    if job.record and job.record.parent.name == RECORD_FOLDER and job.record.parent.is_dir():
        folders += [path for path in job.record.parent.iterdir() if path.is_dir()]
    return folders


def check_places(job: Job) -> None:
    """Raise OutputError where a file cannot be written. Removes what a run that was killed left in the folders."""
    remove_abandoned(folders_of(job))
    for path in (*job.images.values(), *([job.star] if job.star else [])):
        check_place(path)
    for folder in (*job.folders, *([job.record.parent] if job.record else [])):
        check_folder(folder)
    for path in job.logs:
        if path.parent.is_dir():
            check_place(path)
