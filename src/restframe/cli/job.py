"""From the command line to one movie's job: what is read, how it is treated, where the results go."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from restframe.batch.folder import EXTENSIONS, list_movies
from restframe.cli.devices import choose_gpus, find_gpus
from restframe.cli.parse import Options
from restframe.errors import InputError, OutputError, SameFileError, SettingsError
from restframe.movie.integration import read_rows
from restframe.output.alignment import alignment_path
from restframe.output.archive import archive_path
from restframe.output.images import is_ours
from restframe.output.names import image_paths, log_dir_base, log_file_base, stack_path, whole_frame_path
from restframe.output.place import check_folder, check_place
from restframe.output.star import star_path
from restframe.settings import Detector, Exposure, Machine, Motion, Settings, Sums

INPUTS = {"-InTiff": "tiff", "-InMrc": "mrc", "-InEer": "eer"}
NEED_MOTION = ("-InAln", "-OutAln", "-OutStar", "-FullSum")
WITHOUT_ALIGN = ("-InFmMotion", "-Patch", "-LogDir", "-LogFile", "-FmDose", "-SumRange")
READ_TOO = ("-Gain", "-Dark", "-DefectFile", "-DefectMap", "-FmIntFile")  # no output may take the place of these


@dataclass(frozen=True)
class Job:
    movie: Path
    kind: str  # what its flag says that it is: mrc, tiff, eer
    images: dict[str, Path]  # Result's name of an image, or stack: its file
    folders: tuple[Path, ...]  # for outputs, to be made when missing
    log_bases: tuple[tuple[str, int], ...]  # start of the logs' names, columns of the patch logs
    in_aln: Path | None = None  # motion to be applied, not measured
    out_aln: Path | None = None
    star: Path | None = None
    archive: Path | None = None
    settings: Settings = field(default_factory=Settings)
    notes: tuple[str, ...] = ()  # lines for stdout

    @property
    def extras(self) -> list[Path]:
        """Files that are written beside images and logs."""
        return [path for path in (self.out_aln, self.star, self.archive) if path]


@dataclass(frozen=True)
class Batch:
    jobs: tuple[Job, ...]
    settings: Settings
    listing: tuple[str, ...]  # what was looked for and found, for stdout
    notes: tuple[str, ...]


def job_from(options: Options) -> Job:
    """Check everything that can be checked before the movie is opened.

    Raises InputError, SameFileError, OutputError, SettingsError or DeviceError.
    """
    flag, name = _input(options)
    movie = Path(name)
    job = _named(options, movie, INPUTS[flag])
    _check_inputs_survive(options, [job])
    if not os.path.isfile(movie):
        found = "is a folder (with -Serial 1 all its movies)" if os.path.isdir(movie) else "does not exist"
        raise InputError(f"{movie} {found}. Give the name of a movie after {flag}.")
    if not os.access(movie, os.R_OK):
        raise InputError(f"{movie} cannot be read: permission denied.")
    _check_places(job)
    settings, notes = _settings(options)
    return replace(job, settings=settings, notes=notes)


def batch_from(options: Options) -> Batch:
    """The movies of a folder as jobs, sorted by name, and their names checked.

    Raises as `job_from`, and SettingsError when there are no movies or two would give files of the same name.
    """
    if options.integer("-Serial") > 1:
        raise SettingsError("-Serial waits for no new movies yet: -Serial 1 corrects those that are there.")
    flag, start = _input(options)
    kind, suffix = INPUTS[flag], options.text("-InSuffix")
    skips = [s for value in options.values["-InSkips"] for s in re.split(r"[,\s]+", str(value)) if s]
    listing = list_movies(start, kind, suffix, skips)
    jobs = [
        _named(options, Path(listing.folder, name), kind, serial, number)
        for number, (name, serial) in enumerate(listing.movies)
    ]
    results = {os.path.realpath(path): job for job in jobs for path in job.images.values()}
    ours = [j for j in jobs if results.get(os.path.realpath(j.movie), j) is not j and is_ours(j.movie)]
    jobs = [j for j in jobs if j not in ours]
    if not jobs:
        error = SettingsError("no input image files are found.")  # callers look for just that
        ending = f"contain {suffix}" if suffix else f"end in {' or '.join(EXTENSIONS[kind])}"
        begin = f"begin with {listing.prefix} and " if listing.prefix else ""
        error.add_note(
            f"Looked in {listing.folder} for names that {begin}{ending}. Others there: {listing.passed_over}."
        )
        raise error
    _check_names_differ(jobs)
    _check_inputs_survive(options, jobs)
    _check_places(jobs[0])
    settings, notes = _settings(options)
    lines = [
        f"Directory: {listing.folder}",
        f"Prefix:    {listing.prefix}",
        f"Suffix:    {suffix}",
        f"Skips:     {' '.join(skips)}",
        *(f"added: {listing.folder}{job.movie.name}" for job in jobs),
        *(f"left out: {job.movie}, an earlier result" for job in ours),
    ]
    out = options.text("-OutMrc")
    if os.path.isdir(out) and not out.endswith("/"):
        lines.append(
            f"Note: results are called {jobs[0].images['sum']}, ...; -OutMrc {out}/ would put them in that folder."
        )
    if listing.passed_over:
        what = f"without {suffix} in the name" if suffix else "without the extension of such movies"
        lines.append(f"Files passed over, {what}: {listing.passed_over}")
    return Batch(tuple(replace(j, settings=settings) for j in jobs), settings, tuple(lines), notes)


def _named(options: Options, movie: Path, kind: str, serial: str | None = None, number: int = 0) -> Job:
    """A movie and the files that it gives; ``serial``, ``number``: its part of their names and number in a batch."""
    out, log_dir, log_file = (options.text(f) for f in ("-OutMrc", "-LogDir", "-LogFile"))
    if not out:
        raise OutputError("No output was given: say -OutMrc and the name of the corrected sum.")
    if serial is None and out.endswith(("/", os.sep)):
        raise OutputError(f"-OutMrc {out} names a folder. Give the corrected sum a name in it: -OutMrc {out}sum.mrc.")
    in_aln, out_aln, arc_dir = (options.text(f) for f in ("-InAln", "-OutAln", "-ArcDir"))
    if in_aln and out_aln:
        raise SettingsError("-InAln and -OutAln are both given: motion is either read or measured. Leave one out.")
    aligned = options.integer("-Align") != 0
    if not aligned and (given := [f for f in NEED_MOTION if options.values[f] not in (("",), (0,))]):
        raise SettingsError(f"{given[0]} has to do with motion, which -Align 0 leaves alone. Leave one of them out.")
    bases = [(log_dir_base(log_dir, movie), 6)] if log_dir and aligned else []
    bases += [(log_file_base(log_file, number), 7)] if log_file and aligned else []
    images = image_paths(out, serial or "")
    if options.integers("-OutStack")[0]:
        images["stack"] = stack_path(out, serial or "")
    if options.text("-FullSum"):
        whole_frame = whole_frame_path(options.text("-FullSum"), serial)
        if whole_frame in images.values():
            raise SettingsError(f"Two sums would both be {whole_frame}. Give another name after -FullSum.")
        images["whole_frame"] = whole_frame
    return Job(
        movie,
        kind,
        images,
        tuple(Path(folder) for folder in (log_dir if aligned else "", out_aln, arc_dir) if folder),
        tuple(bases),
        _alignment_to_read(in_aln, movie),
        alignment_path(out_aln, movie) if out_aln else None,
        star_path(images["sum"], movie) if options.integer("-OutStar") else None,
        archive_path(arc_dir, movie) if arc_dir else None,
    )


def _alignment_to_read(in_aln: str, movie: Path) -> Path | None:
    """The movie's file in the folder after -InAln; a file is taken as it is."""
    if not in_aln:
        return None
    return Path(in_aln) if os.path.isfile(in_aln) else alignment_path(in_aln, movie)


def _input(options: Options) -> tuple[str, str]:
    names = {flag: options.text(flag) for flag in INPUTS if options.text(flag)}
    if not names:
        raise InputError("No input was given: say -InTiff, -InMrc or -InEer and the name of a movie.")
    if len(names) > 1:
        raise SettingsError(f"{' and '.join(names)} are both given. Leave one out: a run corrects one kind of movies.")
    return next(iter(names.items()))


def _check_names_differ(jobs: Sequence[Job]) -> None:
    seen: dict[object, Job] = {}
    for job in jobs:
        whole_frame = [job.images[n] for n in ("whole_frame",) if n in job.images]
        for name in (job.images["sum"], *whole_frame, *job.extras, *(base for base, _ in job.log_bases)):
            if name in seen:
                raise SettingsError(
                    f"{seen[name].movie} and {job.movie} would both be saved as {name}. "
                    "Tell them apart with -InSuffix or -InSkips."
                )
            seen[name] = job


def _check_inputs_survive(options: Options, jobs: Sequence[Job]) -> None:
    references = [Path(options.text(f)) for f in READ_TOO if options.text(f)]
    read = {key: path for path in (*(job.movie for job in jobs), *references) for key in _identities(path)}
    for job in jobs:
        for written in (*job.images.values(), *job.extras):
            for key in _identities(written):
                if key in read:
                    raise SameFileError(
                        f"{written} would overwrite the input {read[key]}. Give the output another name."
                    )


def _identities(path: Path) -> list[object]:
    """What tells that two names mean the same file, whether it is there or not."""
    keys: list[object] = [os.path.realpath(path)]
    with suppress(OSError):
        status = os.stat(path)
        keys.append((status.st_dev, status.st_ino))
    return keys


def _check_places(job: Job) -> None:
    for path in (*job.images.values(), *([job.star] if job.star else [])):
        check_place(path)
    for folder in job.folders:
        check_folder(folder)
    for base, columns in job.log_bases:
        if columns == 7:
            check_place(Path(f"{base}-Full.log"))


def _settings(options: Options) -> tuple[Settings, tuple[str, ...]]:
    """The settings and lines for stdout about them. Raises SettingsError or DeviceError."""
    gpus, device = choose_gpus(options.integers("-Gpu"), options.integer("-UseGpus"), find_gpus)
    settings = settings_from(options, gpus)
    return settings, (device, *_notes(options, settings))


def settings_from(options: Options, gpus: tuple[int, ...] = ()) -> Settings:
    """The library's settings that the flags mean. Raises SettingsError for values that don't go together."""
    frame_dose, voltage = options.number("-FmDose"), options.number("-kV")
    rows = read_rows(options.text("-FmIntFile")) if options.text("-FmIntFile") else None
    if (frame_dose > 0 or any(row.dose for row in rows or ())) and not 80 <= voltage <= 300:
        raise SettingsError(f"-kV {voltage:g}: dose weighting knows 80 to 300. Give such a voltage, or no dose.")
    patch, group = options.integers("-Patch")[:2], options.integers("-Group")
    low, high = options.numbers("-SumRange")
    return Settings(
        detector=Detector(
            gain=options.text("-Gain") or None,
            dark=options.text("-Dark") or None,
            rot_gain=options.integer("-RotGain"),
            flip_gain=options.integer("-FlipGain"),
            inv_gain=options.integer("-InvGain") != 0,
            defect_file=options.text("-DefectFile") or None,
            defect_map=options.text("-DefectMap") or None,
        ),
        exposure=Exposure(
            pixel_size=options.number("-PixSize"),
            voltage=voltage,
            frame_dose=frame_dose,
            initial_dose=options.number("-InitDose"),
            throw=options.integer("-Throw"),
            trunc=options.integer("-Trunc"),
            integration=rows,
            eer_sampling=options.integer("-EerSampling"),
        ),
        motion=Motion(
            align=options.integer("-Align") != 0,
            patches=(patch[0], patch[1]),
            iterations=options.integer("-Iter"),
            tolerance=options.number("-Tol"),
            bfactor=(options.numbers("-Bft")[0], options.numbers("-Bft")[1]),
            group=(max(group[0], 1), max(group[1], 1)),
            phase_only=options.integer("-PhaseOnly") != 0,
            reference=options.integer("-FmRef"),
            weights=options.text("--weights"),
        ),
        sums=Sums(
            bin=options.number("-FtBin"),
            sum_range=(max(low, 0.0), high) if high > 0 and high - max(low, 0.0) > 1 else (0.0, 0.0),
            split=options.integer("-SplitSum") != 0,
            whole_frame=bool(options.text("-FullSum")),
            stack_group=max(options.integers("-OutStack")[1], 1),
            during_frame=options.integer("-InFmMotion") != 0 and options.integer("-Align") != 0,
            crop=(options.integers("-Crop")[0], options.integers("-Crop")[1]),
            magnification=(options.numbers("-Mag")[0], options.numbers("-Mag")[1], options.numbers("-Mag")[2]),
        ),
        machine=Machine(
            gpus=gpus,
            gpu_memory=options.number("-GpuMemUsage"),
            threads=options.integer("--threads"),
            max_memory=_bytes("--max-memory", options.text("--max-memory")),
        ),
    )


def _bytes(flag: str, text: str) -> int:
    """Bytes in "6GB", "1.5 GiB", "800M"; 0 for nothing. Raises SettingsError for anything else."""
    if not text:
        return 0
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([KMGT])(i?)B?", text.strip(), re.IGNORECASE)
    if not match or float(match[1]) == 0:
        raise SettingsError(f"{flag} {text}: expected a number above 0 and a unit, such as 6GB or 800MB.")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** ("KMGT".index(match[2].upper()) + 1))


def _notes(options: Options, settings: Settings) -> list[str]:
    """What happens that a user may not expect."""
    notes = []
    exposure = settings.exposure
    rows = exposure.integration if isinstance(exposure.integration, tuple) else ()
    if (exposure.frame_dose > 0 or any(row.dose for row in rows)) and exposure.pixel_size == 0:
        notes.append("Warning: no dose weighting, which needs -PixSize.")
    if not settings.motion.align:
        notes += [f"Note: {flag} has no effect with -Align 0." for flag in WITHOUT_ALIGN if flag in options.given]
    if not options.integer("-Serial"):
        without = [f for f in ("-InSuffix", "-InSkips") if f in options.given]
        notes += [f"Note: {flag} has no effect without -Serial 1." for flag in without]
    if options.integers("-Patch")[2]:
        notes.append("Note: the overlap after -Patch has no effect in restframe: patches always overlap.")
    return notes
