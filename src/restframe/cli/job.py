"""One movie's job: what is read, how it is treated, where the results go."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from restframe.batch.slices import Slice
from restframe.cli.clients import is_called_by_relion
from restframe.cli.parse import Options
from restframe.errors import InputError, OutputError, SettingsError
from restframe.output.alignment import alignment_path
from restframe.output.archive import archive_path
from restframe.output.command import NO_COMMAND, Command
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
from restframe.output.star import star_path
from restframe.settings import Settings

INPUT_FORMATS = {"-InTiff": "tiff", "-InMrc": "mrc", "-InEer": "eer"}
NEED_MOTION = ("-InAln", "-OutAln", "-OutStar", "-FullSum")
LOG_DIR_COLUMNS = 6  # of the logs of patches after -LogDir
LOG_FILE_COLUMNS = 7  # after -LogFile


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


def input_of(options: Options) -> tuple[str, str]:
    """The flag of the input and its text."""
    inputs = {flag: options.text(flag) for flag in INPUT_FORMATS if options.text(flag)}
    if not inputs:
        raise InputError("No input was given: say -InTiff, -InMrc or -InEer and the name of a movie.")
    if len(inputs) > 1:
        raise SettingsError(f"{' and '.join(inputs)} are both given. Leave one out: a run corrects one kind of movies.")
    return next(iter(inputs.items()))


def slice_of(options: Options) -> Slice:
    """The share of the movies that this process corrects. Raises SettingsError."""
    text = options.text("--slice")
    try:
        return Slice.parse(text)
    except SettingsError as error:
        raise SettingsError(f"--slice {text}: {error}") from None


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
