"""From the command line to one movie's job: what is read, how it is treated, where the results go."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from restframe.cli.devices import choose_gpus, find_gpus
from restframe.cli.parse import Options
from restframe.errors import InputError, OutputError, SameFileError, SettingsError
from restframe.movie.integration import read_rows
from restframe.output.names import image_paths, log_dir_base, log_file_base
from restframe.output.place import check_folder, check_place
from restframe.settings import Detector, Exposure, Machine, Motion, Settings, Sums

INPUTS = {"-InTiff": "tiff", "-InMrc": "mrc", "-InEer": "eer"}
READ_TOO = ("-Gain", "-Dark", "-DefectFile", "-DefectMap", "-FmIntFile")  # no output may take the place of these


@dataclass(frozen=True)
class Job:
    movie: Path
    kind: str  # what its flag says that it is: mrc, tiff, eer
    images: dict[str, Path]  # Result's name of an image: its file
    log_dir: Path | None  # to be made when missing
    log_bases: tuple[tuple[str, int], ...]  # start of the logs' names, columns of the patch logs
    settings: Settings
    notes: tuple[str, ...]  # lines for stdout


def job_from(options: Options) -> Job:
    """Check everything that can be checked before the movie is opened.

    Raises InputError, SameFileError, OutputError, SettingsError or DeviceError.
    """
    kind, movie = _input(options)
    if not options.text("-OutMrc"):
        raise OutputError("No output was given: say -OutMrc and the name of the corrected sum.")
    images = image_paths(options.text("-OutMrc"))
    _check_inputs_survive(options, movie, images)
    if not os.path.isfile(movie):
        found = "is no file (folders need -Serial, not there yet)" if os.path.exists(movie) else "does not exist"
        raise InputError(f"{movie} {found}. Give the name of a movie after {kind}.")
    if not os.access(movie, os.R_OK):
        raise InputError(f"{movie} cannot be read: permission denied.")
    log_dir = Path(options.text("-LogDir")) if options.text("-LogDir") else None
    log_file = options.text("-LogFile")
    for path in images.values():
        check_place(path)
    if log_dir:
        check_folder(log_dir)
    if log_file:
        check_place(Path(f"{log_file_base(log_file)}-Full.log"))
    bases = [(log_dir_base(str(log_dir), movie), 6)] if log_dir else []
    bases += [(log_file_base(log_file), 7)] if log_file else []
    gpus, device = choose_gpus(options.integers("-Gpu"), options.integer("-UseGpus"), find_gpus)
    settings = settings_from(options, gpus)
    return Job(movie, INPUTS[kind], images, log_dir, tuple(bases), settings, (device, *_notes(options, settings)))


def _input(options: Options) -> tuple[str, Path]:
    names = {flag: options.text(flag) for flag in INPUTS if options.text(flag)}
    if not names:
        raise InputError("No input was given: say -InTiff, -InMrc or -InEer and the name of a movie.")
    if len(names) > 1:
        raise SettingsError(f"{' and '.join(names)} are both given. Leave one out: a run corrects one movie.")
    return next((flag, Path(name)) for flag, name in names.items())


def _check_inputs_survive(options: Options, movie: Path, images: dict[str, Path]) -> None:
    references = [Path(options.text(f)) for f in READ_TOO if options.text(f)]
    for read in (movie, *references):
        for written in images.values():
            same = os.path.realpath(read) == os.path.realpath(written)
            if same or (os.path.exists(read) and os.path.exists(written) and os.path.samefile(read, written)):
                raise SameFileError(f"{written} would overwrite the input {read}. Give another name after -OutMrc.")


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
        ),
        machine=Machine(
            gpus=gpus,
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
    if options.integers("-Patch")[2]:
        notes.append("Note: the overlap after -Patch has no effect in restframe: patches always overlap.")
    return notes
