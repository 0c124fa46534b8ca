"""From the command line to one movie's job: what is read, how it is treated, where the results go."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from restframe.batch.folder import EXTENSIONS, Listing, list_movies
from restframe.batch.leases import GpuLeases
from restframe.batch.slices import Slice
from restframe.cli.clients import RELION_EER_GROUPING, is_called_by_relion, is_relions_eer
from restframe.cli.devices import WantedGpus, choose_gpus, find_gpus
from restframe.cli.flags import FLAGS, FlagValue
from restframe.cli.parse import Options
from restframe.errors import InputError, OutputError, ReferenceInputError, SameFileError, SettingsError
from restframe.files import check_regular, why_unreadable
from restframe.movie import open_movie
from restframe.movie.integration import read_rows
from restframe.output.alignment import alignment_path
from restframe.output.archive import archive_path
from restframe.output.command import NO_COMMAND, Command
from restframe.output.drafts import remove_abandoned
from restframe.output.images import is_ours
from restframe.output.names import (
    ctf_paths,
    image_paths,
    log_dir_base,
    log_file_base,
    log_paths,
    picture_paths,
    plot_path,
    power_spectrum_path,
    record_path,
    stack_path,
    whole_frame_path,
)
from restframe.output.place import check_folder, check_place
from restframe.output.star import star_path
from restframe.settings import SETTINGS, Row, Settings, usable_dose_range, with_choices

INPUT_FORMATS = {"-InTiff": "tiff", "-InMrc": "mrc", "-InEer": "eer"}
NEED_MOTION = ("-InAln", "-OutAln", "-OutStar", "-FullSum")
NO_EFFECT_WITHOUT_ALIGN = ("-InFmMotion", "-Patch", "-LogDir", "-LogFile", "-FmDose", "-SumRange")
REFERENCE_INPUTS = ("-Gain", "-Dark", "-DefectFile", "-DefectMap", "-FmIntFile")  # no output may replace these
LOG_DIR_COLUMNS = 6  # of the logs of patches after -LogDir
LOG_FILE_COLUMNS = 7  # after -LogFile
EER_SAMPLING_MEANT = {4: 3}  # programs that mean 4 pixels along each axis
RELION_NOTE = (
    f"Note: called by RELION: each fraction is the sum of {RELION_EER_GROUPING} raw frames, RELION's default, and "
    "-Throw, -Trunc and -FmDose count fractions. With another grouping in RELION give -FmIntFile."
)
MEMORY_SIZE = re.compile(r"(\d+\.?\d*|\.\d+)\s*([KMGT])(i?)B?", re.IGNORECASE)


@dataclass(frozen=True)
class Job:
    """One movie: what is read, the settings, and the files that are written."""

    movie: Path
    kind: str  # format that its flag says: mrc, tiff, eer
    images: dict[str, Path]  # Result's name of an image, or stack: its file
    folders: tuple[Path, ...]  # for outputs; made when missing
    log_bases: tuple[tuple[str, int], ...]  # start of the logs' names, number of columns of the logs of patches
    in_aln: Path | None = None  # motion to be applied, not measured
    out_aln: Path | None = None
    star: Path | None = None
    archive: Path | None = None
    record: Path | None = None  # JSON record of the correction
    defects: Path | None = None  # list of the bad pixels
    pictures: dict[str, Path] | None = None  # kind of picture: its file
    plot: Path | None = None
    ctf: tuple[Path, Path] | None = None  # text and image
    power_spectrum: Path | None = None
    command: Command = NO_COMMAND
    durable: bool = True  # files are forced to the disk
    settings: Settings = field(default_factory=Settings)
    notes: tuple[str, ...] = ()  # lines for stdout

    @property
    def extras(self) -> list[Path]:
        """Files that are written beside images and logs."""
        paths = (self.out_aln, self.star, self.archive, self.record, self.defects)
        paths = (*paths, *(self.ctf or ()), self.power_spectrum)
        return [path for path in paths if path]

    @property
    def logs(self) -> list[Path]:
        """All logs that may be written or, where an earlier run left them, removed."""
        return [path for base, _ in self.log_bases for path in log_paths(base)]


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
    _check_names_differ(jobs)
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


def make_job(options: Options, movie: Path, kind: str, serial: str | None = None, number: int = 0) -> Job:
    """A movie and the files that it gives. In a batch, ``serial`` is its part of their names and ``number`` counts."""
    output, log_dir, log_file = (options.text(flag) for flag in ("-OutMrc", "-LogDir", "-LogFile"))
    in_aln, out_aln, archive_folder = (options.text(flag) for flag in ("-InAln", "-OutAln", "-ArcDir"))
    in_batch = serial is not None
    defects_folder = options.text("--write-defects") if in_batch else ""
    _check_outputs(options, in_batch)
    if not options.is_on("-Align"):
        log_dir = log_file = ""
    log_bases = [(log_dir_base(log_dir, movie), LOG_DIR_COLUMNS)] if log_dir else []
    log_bases += [(log_file_base(log_file, number), LOG_FILE_COLUMNS)] if log_file else []
    log_file_folder = os.path.dirname(log_file_base(log_file, number)) if log_file else ""
    images = image_paths(output, serial or "")
    if options.is_on("-OutStack"):
        images["stack"] = stack_path(output, serial or "")
    if options.text("-FullSum"):
        global_sum = whole_frame_path(options.text("-FullSum"), serial)
        if global_sum in images.values():
            raise SettingsError(f"Two sums would both be {global_sum}. Give another name after -FullSum.")
        images["global_sum"] = global_sum
    wants_plot = options.is_on("--plot")
    wants_record = in_batch or options.is_on("--record") or wants_plot
    record = record_path(images["sum"], in_batch) if wants_record else None
    wants_pictures = options.is_on("--thumbnails") and (in_batch or wants_plot or "--thumbnails" in options.given)
    return Job(
        movie,
        kind,
        images,
        tuple(Path(folder) for folder in (log_dir, log_file_folder, out_aln, archive_folder, defects_folder) if folder),
        tuple(log_bases),
        in_aln=_alignment_to_read(in_aln, movie),
        out_aln=alignment_path(out_aln, movie) if out_aln else None,
        star=star_path(images["sum"], movie, is_called_by_relion(options)) if options.is_on("-OutStar") else None,
        archive=archive_path(archive_folder, movie) if archive_folder else None,
        ctf=ctf_paths(images["sum"]) if options.number("-Cs") > 0 and options.number("-PixSize") > 0 else None,
        power_spectrum=power_spectrum_path(images["sum"]) if options.is_on("--power-spectrum") else None,
        defects=_defects_path(options.text("--write-defects"), movie, in_batch),
        record=record,
        pictures=picture_paths(record) if record and wants_pictures else None,
        plot=plot_path(record) if record and wants_plot else None,
        command=options.command,
        durable=options.is_on("--fsync"),
    )


def _defects_path(name: str, movie: Path, in_batch: bool) -> Path | None:
    """The list of bad pixels; in a batch ``name`` is a folder."""
    if not name:
        return None
    return Path(name, f"{movie.stem}.txt") if in_batch else Path(name)


def _check_outputs(options: Options, in_batch: bool) -> None:
    """Raise OutputError without a usable name for the sum, SettingsError for outputs that exclude each other, or
    cannot be made.
    """
    if options.is_on("--plot"):
        from restframe.report.plots import check_matplotlib

        check_matplotlib()
    output = options.text("-OutMrc")
    if not output:
        raise OutputError("No output was given: say -OutMrc and the name of the corrected sum.")
    if not in_batch and output.endswith(("/", os.sep)):
        raise OutputError(
            f"-OutMrc {output} names a folder. Give the corrected sum a name in it: -OutMrc {output}sum.mrc."
        )
    if options.text("-InAln") and options.text("-OutAln"):
        raise SettingsError("-InAln and -OutAln are both given: motion is either read or measured. Leave one out.")
    excluded = [flag for flag in NEED_MOTION if options.values[flag] not in (("",), (0,))]
    if not options.is_on("-Align") and excluded:
        raise SettingsError(f"{excluded[0]} needs motion, which -Align 0 does not measure. Leave one of them out.")


def _alignment_to_read(in_aln: str, movie: Path) -> Path | None:
    """The movie's file in the folder after -InAln, MOVIE.aln or MOVIE.star; a file is taken as it is."""
    if not in_aln:
        return None
    is_folder = os.path.isdir(in_aln) or not os.path.lexists(in_aln)
    if not is_folder:
        return Path(in_aln)
    alignment = alignment_path(in_aln, movie)
    star = alignment.with_suffix(".star")
    return star if star.exists() and not alignment.exists() else alignment


def slice_of(options: Options) -> Slice:
    """The share of the movies that this process corrects. Raises SettingsError."""
    text = options.text("--slice")
    try:
        return Slice.parse(text)
    except SettingsError as error:
        raise SettingsError(f"--slice {text}: {error}") from None


def input_of(options: Options) -> tuple[str, str]:
    """The flag of the input and its text."""
    inputs = {flag: options.text(flag) for flag in INPUT_FORMATS if options.text(flag)}
    if not inputs:
        raise InputError("No input was given: say -InTiff, -InMrc or -InEer and the name of a movie.")
    if len(inputs) > 1:
        raise SettingsError(f"{' and '.join(inputs)} are both given. Leave one out: a run corrects one kind of movies.")
    return next(iter(inputs.items()))


def _check_names_differ(jobs: Sequence[Job]) -> None:
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


def check_outputs_differ(job: Job) -> None:
    """Raise SettingsError where two files of one movie would have one name."""
    outputs = [*job.images.values(), *job.extras, *job.logs]
    real_paths = [os.path.abspath(path) for path in outputs]
    for number, path in enumerate(real_paths):
        if path in real_paths[:number]:
            raise SettingsError(f"Two outputs would both be {outputs[number]}. Give one of them another name.")


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


def check_places(job: Job) -> None:
    """Raise OutputError where a file cannot be written. Removes what a run that was killed left in the folders."""
    outputs = (*job.images.values(), *job.extras, *job.logs)
    remove_abandoned(path.parent for path in outputs)
    for path in (*job.images.values(), *([job.star] if job.star else [])):
        check_place(path)
    for folder in (*job.folders, *([job.record.parent] if job.record else [])):
        check_folder(folder)
    for path in job.logs:
        if path.parent.is_dir():
            check_place(path)


def settings_and_notes(
    options: Options, leases: GpuLeases | None = None, is_for_one_movie: bool = False
) -> tuple[Settings, tuple[str, ...]]:
    """The settings and lines for stdout about them. ``leases`` holds the GPUs where some of several are wanted.

    Raises SettingsError, DeviceError or NoFreeGpuError.
    """
    if options.text("--cluster"):  # whose workers have GPUs or not
        gpus = tuple(gpu for gpu in options.integers("-Gpu") if gpu >= 0)
        settings = settings_from(options, gpus)
        return settings, tuple(_notes(options, settings))
    wanted = WantedGpus(options.integers("-Gpu"), options.integer("-UseGpus"), is_for_one_movie)
    gpus, device = choose_gpus(wanted, find_gpus, leases or GpuLeases())
    settings = settings_from(options, gpus)
    return settings, (device, *_notes(options, settings))


def settings_from(options: Options, gpus: tuple[int, ...] = ()) -> Settings:
    """The library's settings that the flags mean. Raises SettingsError for values that exclude each other."""
    choices = {flag.field: _field_value(flag.field, options.values[flag.name]) for flag in FLAGS if flag.field}
    integration = options.text("-FmIntFile")
    choices |= {
        "eer_grouping": _eer_grouping(options),
        "eer_sampling": EER_SAMPLING_MEANT.get(options.integer("-EerSampling"), options.integer("-EerSampling")),
        "gpus": gpus,
        "group": tuple(max(size, 1) for size in options.integers("-Group")),
        "global_sum": bool(options.text("-FullSum")),
        "integration": read_rows(integration) if integration else None,
        "intraframe_motion": options.is_on("-InFmMotion") and options.is_on("-Align"),
        "max_memory": _memory_in_bytes("--max-memory", options.text("--max-memory")),
        "stack_group": max(options.integers("-OutStack")[1], 1),
        "sum_range": usable_dose_range(*options.numbers("-SumRange")) or (0.0, 0.0),
    }
    given = frozenset(flag.field for flag in FLAGS if flag.field and flag.name in options.given)
    return replace(with_choices(Settings(), choices), given=given)


def _eer_grouping(options: Options) -> int:
    """Raw frames in a fraction of an EER movie: -Group says so where nothing else does, as in MotionCor."""
    if options.text("-FmIntFile") or "--eer-grouping" in options.given:
        return options.integer("--eer-grouping")
    group = options.integer("-Group")
    return group if group > 1 else 0


def relions_fractions(movie: Path, settings: Settings) -> Settings:
    """Settings for an EER movie whose fractions RELION counts by its default: whole ones from raw frame 0 on.

    RELION means its own fractions with -Throw, -Trunc and -FmDose, too. Raises `InputError` for a movie that cannot be
    read.
    """
    raw_count = open_movie(movie).shape[0]
    exposure = settings.exposure
    throw, trunc = exposure.throw * RELION_EER_GROUPING, exposure.trunc * RELION_EER_GROUPING
    if raw_count < RELION_EER_GROUPING:
        return settings
    rows = (Row(raw_count, RELION_EER_GROUPING),)
    changed = replace(
        exposure,
        integration=rows,
        throw=throw,
        trunc=trunc + raw_count % RELION_EER_GROUPING,
        frame_dose=exposure.frame_dose / RELION_EER_GROUPING,
    )
    return replace(settings, exposure=changed)


def _field_value(field_name: str, values: tuple[FlagValue, ...]) -> object:
    """A flag's values as the field takes them."""
    setting_info = SETTINGS[field_name]
    if setting_info.count != 1:
        return values[: setting_info.count]
    if setting_info.value_type is object:
        return values[0] or None
    return values[0] != 0 if setting_info.value_type is bool else values[0]


def _memory_in_bytes(flag: str, text: str) -> int:
    """Bytes in "6GB", "1.5 GiB", "800M"; 0 for an empty text. Raises SettingsError for anything else."""
    if not text:
        return 0
    match = MEMORY_SIZE.fullmatch(text.strip())
    if not match or float(match[1]) == 0:
        raise SettingsError(f"{flag} {text}: expected a number above 0 and a unit, such as 6GB or 800MB.")
    base, exponent = 1024 if match[3] else 1000, "KMGT".index(match[2].upper()) + 1
    return int(float(match[1]) * base**exponent)


def _notes(options: Options, settings: Settings) -> list[str]:
    """Consequences of the flags that a user may not expect."""
    notes = []
    exposure = settings.exposure
    rows = exposure.integration if isinstance(exposure.integration, tuple) else ()
    has_dose = exposure.frame_dose > 0 or any(row.dose for row in rows)
    if has_dose and exposure.pixel_size == 0 and "-InEer" not in options.given:  # EER movies may state it
        notes.append("Warning: no dose weighting, which needs -PixSize.")
    if settings.transfer.spherical_aberration > 0 and exposure.pixel_size == 0:
        notes.append("Warning: no CTF estimation, which needs -PixSize.")
    if not settings.motion.align:
        without_effect = [flag for flag in NO_EFFECT_WITHOUT_ALIGN if flag in options.given]
        notes += [f"Note: {flag} has no effect with -Align 0." for flag in without_effect]
    if not options.is_on("-Serial"):
        without_effect = [flag for flag in ("-InSuffix", "-InSkips") if flag in options.given]
        notes += [f"Note: {flag} has no effect without -Serial 1." for flag in without_effect]
    if options.integer("-EerSampling") in EER_SAMPLING_MEANT:
        notes.append(
            "Note: -EerSampling 4 is taken for 4 pixels per physical pixel along each axis, as -EerSampling 3."
        )
    if options.integers("-Patch")[2]:
        notes.append("Note: the overlap after -Patch has no effect in restframe: patches always overlap.")
    return notes
