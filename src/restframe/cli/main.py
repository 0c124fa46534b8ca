"""The command: restframe -InTiff movie.tif -OutMrc sum.mrc ..."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from restframe.cli.help import echo, help_text, version_text
from restframe.cli.job import Job, job_from
from restframe.cli.parse import parse
from restframe.cli.streams import errors_as_messages, say, working


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` without the program's name. Returns the exit code (restframe.errors says which)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return errors_as_messages(lambda: _run(arguments))


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
    """One movie: read, correct, write."""
    start = perf_counter()
    options = parse(arguments)
    say("\n".join((*echo(options), *options.notes)))
    job = job_from(options)
    say("\n".join(job.notes))

    from restframe.movie import open_movie
    from restframe.pipeline import correct

    sampling = job.settings.exposure.eer_sampling
    movie = open_movie(job.movie, job.kind, sampling)
    frames, height, width = movie.shape
    say(f"Movie: {movie.format.upper()}, {width} x {height} pixels, {frames} frames, {movie.dtype}")
    if movie.format != job.kind:
        say(f"Warning: {job.movie} was given as {job.kind.upper()}; it is read as what it is.")
    if movie.format != "eer" and sampling > 1:
        say(f"Note: -EerSampling {sampling} has no effect on a {movie.format.upper()} movie.")
    with working(f"{job.movie.name} is brought to rest"):
        result = correct(movie, job.settings, report=say)
    _save(job, result)
    say(f"Total time: {perf_counter() - start:f} sec")


def _save(job: Job, result) -> None:
    from restframe.output.logs import log_files
    from restframe.output.write import write_result

    say("Saving motion corrected images ......")
    patch_mode = min(job.settings.motion.patches) > 1
    logs: dict[Path, str] = {}
    for base, columns in job.log_bases:
        logs |= log_files(result, base, patch_mode=patch_mode, columns=columns)
    if job.log_dir:
        job.log_dir.mkdir(parents=True, exist_ok=True)
    for path in write_result(result, job.images, logs):
        say(f"Corrected sum has been saved in:\n   {path}")
    say("Motion corrected images saved.")


if __name__ == "__main__":
    sys.exit(main())
