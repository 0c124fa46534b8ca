"""The files of one movie: its sums and, where asked for, logs, motion, frames, a copy of the raw movie, the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from restframe.detector.defect_list import defect_file_text
from restframe.detector.references import References
from restframe.errors import OutputError
from restframe.kernels import thread_count
from restframe.kernels.interface import Kernels
from restframe.messages import Lines, Message
from restframe.movie import Movie
from restframe.output.alignment import alignment_text
from restframe.output.archive import archive_writer
from restframe.output.command import NO_COMMAND, Command
from restframe.output.ctf import diagnostic_image, motioncor_lines, motioncor_text
from restframe.output.images import mrc_writer
from restframe.output.logs import log_files
from restframe.output.names import log_paths
from restframe.output.pictures import jpeg_writer, make_pictures
from restframe.output.place import Writer, explaining, place_all
from restframe.output.record import (
    FailedMovie,
    OutputFile,
    PictureFiles,
    RunEntry,
    StepSeconds,
    write_failure,
    write_record,
)
from restframe.output.relion_gain import RelionGain, relion_gain
from restframe.output.stack import StackFile
from restframe.output.star import polynomial_distance_px, star_text, unequal
from restframe.output.write import write_result
from restframe.pipeline import TakeStack
from restframe.progress import Report
from restframe.result import Result

POLYNOMIAL_TOLERANCE_PX = 0.5  # rms between the field and RELION's polynomial from which on a warning is printed


@dataclass(frozen=True, eq=False)
class Corrected:
    """One corrected movie, as a sink takes it."""

    result: Result
    movie: Movie  # as stored
    references: References
    kernels: Kernels  # where the references lie
    reading_seconds: float = 0.0
    lines: tuple[str, ...] = ()  # of text that were reported


@dataclass(frozen=True)
class Outputs:
    """Names of the files of one movie."""

    images: Mapping[str, Path]  # Result's name of an image: its file; only those that the result has are written
    folders: tuple[Path, ...] = ()  # made when they are missing
    log_bases: tuple[tuple[str, int], ...] = ()  # start of the logs' names, number of columns of the logs of patches
    alignment: Path | None = None
    star: Path | None = None
    archive: Path | None = None
    record: Path | None = None
    defects: Path | None = None  # list of the bad pixels
    pictures: Mapping[str, Path] | None = None  # kind of picture: its file; only those with a record are made
    plot: Path | None = None  # a figure, drawn from the record
    ctf: tuple[Path, Path] | None = None  # text and image
    power_spectrum: Path | None = None
    durable: bool = False  # all but pictures and plot are forced to the disk, the record after the others


@dataclass(frozen=True)
class FileSink:
    """Puts the files of one movie in place. It can be pickled."""

    outputs: Outputs
    stack_file: StackFile | None = None  # takes the corrected frames
    fingerprint: str = ""  # of what the outputs depend on, for the record
    command: Command = NO_COMMAND  # of the run, for the record
    wording: Callable[[str], str] = str  # from a line of text to what is printed and recorded

    @property
    def stack(self) -> TakeStack | None:
        return self.stack_file.take if self.stack_file else None

    def save(self, corrected: Corrected, report: Report) -> None:
        """Write all files, the unweighted sum last, as programs take it for success; then the record.

        ``report`` is told where they are. Raises `OutputError`; then no new image, log or motion is left.
        """
        start = perf_counter()
        lines = list(corrected.lines)

        def say(line: str) -> None:
            lines.append(line)
            report(line)

        say("Saving motion corrected images ......")
        outputs, result = self.outputs, corrected.result
        texts = self._texts(result)
        others: dict[Path, Writer] = {}
        star_problem = self._add_star(corrected, texts, others, say)
        for folder in outputs.folders:
            with explaining(folder):
                folder.mkdir(parents=True, exist_ok=True)
        if outputs.archive:
            others |= archive_writers(outputs.archive, corrected, say)
        if self.stack_file:
            self.stack_file.set_pixel_size(result.pixel_size)
            others[self.stack_file.target] = self.stack_file.write
        self._add_ctf(result, texts, others, say)
        logs = [path for base, _ in outputs.log_bases for path in log_paths(base)]
        record = [outputs.record] if outputs.record else []  # of other outputs than those that are put in place now
        obsolete = [*record, *(path for path in logs if path not in texts)]
        images = write_result(result, outputs.images, texts, others, obsolete, outputs.durable)
        last_lines = self._last_lines(images, list(others))
        if star_problem is None:
            last_lines.append("Motion corrected images saved.")
        if outputs.record:
            files = self._files(images, list(texts), list(others))
            seconds = StepSeconds(corrected.reading_seconds, perf_counter() - start)
            text = tuple(map(self.wording, (*lines, *last_lines)))
            entry = RunEntry(self.fingerprint, text, self.command, outputs.durable)
            pictures = write_pictures(result, outputs.pictures) if outputs.pictures else None
            write_record(outputs.record, result, files, seconds, entry, pictures)
            if outputs.plot:
                draw_plot(outputs.record, outputs.plot)
        for line in last_lines:
            report(line)
        if star_problem is not None:
            raise star_problem

    def fail(self, movie: Path, reason: str, lasting: bool) -> None:
        """Write the record of a movie that could not be corrected. Its earlier outputs, if any, are left."""
        if self.outputs.record:
            text = self.wording(Message("Error: ", reason))
            entry = RunEntry(self.fingerprint, (text,), self.command, self.outputs.durable)
            with suppress(OutputError):  # the disk may be full, which then is the reason
                write_failure(self.outputs.record, FailedMovie(movie, self.wording(reason), lasting), entry)

    def _last_lines(self, images: list[Path], others: list[Path]) -> list[str]:
        """Where the outputs are."""
        lines: list[str] = [Lines(["Corrected sum has been saved in:", f"   {path}"]) for path in images]
        if self.stack_file:
            lines.append(Lines(["Corrected frames have been saved in:", f"   {self.stack_file.target}"]))
        return lines + [
            f"Warning: {path} is of an earlier run; this run makes no such image."
            for path in self.outputs.images.values()
            if path not in (*images, *others) and path.exists()
        ]

    def discard(self) -> None:
        """Remove what was written and not put in place."""
        if self.stack_file:
            self.stack_file.discard()

    def _texts(self, result: Result) -> dict[Path, str]:
        """Names and content of the logs and the saved motion."""
        outputs, settings = self.outputs, result.settings
        patches, exposure = settings.motion.patches, settings.exposure
        texts: dict[Path, str] = {}
        for base, columns in outputs.log_bases:
            texts |= log_files(result, base, patch_mode=min(patches) > 1, columns=columns)
        if outputs.alignment:
            texts[outputs.alignment] = alignment_text(result, exposure.throw, exposure.trunc, patches)
        if outputs.defects:
            texts[outputs.defects] = defect_file_text(result.bad_pixels, result.movie_shape[1:])
        return texts

    def _add_star(
        self, corrected: Corrected, texts: dict[Path, str], others: dict[Path, Writer], report: Report
    ) -> Exception | None:
        """Add the STAR file, and the gain that it names. Returns the error where it cannot be made: the images are
        saved all the same.
        """
        star, result = self.outputs.star, corrected.result
        if star is None:
            return None
        try:
            gain = relion_gain(corrected, star.parent)
            texts[star] = star_text(result, result.movie.path or "", result.settings, gain.star)
            others |= gain.files
            say_about_star(star, result, gain, report)
        except Exception as error:
            return error
        return None

    def _add_ctf(self, result: Result, texts: dict[Path, str], others: dict[Path, Writer], report: Report) -> None:
        """Add the files of the CTF and of the power spectrum, and report the CTF as MotionCor3 does."""
        if self.outputs.ctf and result.ctf:
            text, image = self.outputs.ctf
            texts[text] = motioncor_text(result.ctf)
            others[image] = mrc_writer(diagnostic_image(result.ctf), 1.0)
            report(Lines(motioncor_lines(result.ctf)))
        if self.outputs.power_spectrum and result.power_spectrum is not None:
            writer = mrc_writer(result.power_spectrum, result.power_spectrum_pixel_size)
            others[self.outputs.power_spectrum] = writer

    def _files(self, images: list[Path], texts: list[Path], others: list[Path]) -> list[OutputFile]:
        """What was written, with the kind of each file."""
        outputs = self.outputs
        kinds = {path: name for name, path in outputs.images.items()}
        kinds |= {path: "log" for path in texts}
        text, image = outputs.ctf or (None, None)
        spectra = (("ctf", text), ("ctf_image", image), ("power_spectrum", outputs.power_spectrum))
        known = (
            *spectra,
            ("alignment", outputs.alignment),
            ("star", outputs.star),
            ("archive", outputs.archive),
            ("defects", outputs.defects),
        )
        kinds |= {path: kind for kind, path in known if path}
        kinds |= {path: "gain" for path in others if path not in kinds}
        if self.stack_file:
            kinds[self.stack_file.target] = "stack"
        return [OutputFile(kinds[path], path) for path in (*others, *texts, *images)]


def write_pictures(result: Result, paths: Mapping[str, Path]) -> PictureFiles:
    """Put the pictures of a movie in place; their folders are made. Raises `OutputError`."""
    pictures = make_pictures(result)
    targets = tuple(paths[picture.kind] for picture in pictures.pictures)
    for folder in {target.parent for target in targets}:
        with explaining(folder):
            folder.mkdir(parents=True, exist_ok=True)
    place_all([(path, jpeg_writer(one.pixels)) for path, one in zip(targets, pictures.pictures, strict=True)])
    return PictureFiles(pictures, targets)


def draw_plot(record: Path, target: Path) -> None:
    """The figure of a movie, from its record. matplotlib is loaded only here. Raises `OutputError`."""
    from restframe.report.plots import plot_record

    plot_record(record, target)


def say_about_star(star: Path, result: Result, gain: RelionGain, report: Report) -> None:
    """Where RELION's description of the motion differs from the result, and what RELION has to be given."""
    if unequal(result):
        report(f"Note: {star}: RELION's frames are other sums of raw frames; the motion is interpolated for them.")
    if gain.files:
        report(f"Gain for RELION: {gain.star.name}")
    if result.settings.detector.dark is not None:
        report(f"Warning: {star}: RELION subtracts no dark reference.")
    if result.patches is not None:
        distance_px = polynomial_distance_px(result, result.settings)
        warning = "Warning: " if distance_px > POLYNOMIAL_TOLERANCE_PX else ""
        report(f"{warning}Local motion for RELION: a polynomial, {distance_px:.3f} px rms from the field")


def archive_writers(archive: Path, corrected: Corrected, report: Report) -> dict[Path, Writer]:
    """The copy of the raw movie and what writes it; empty for a movie that is not copied."""
    movie, settings = corrected.movie, corrected.result.settings
    if movie.format == "eer":
        report("Note: EER movies are not archived: its events take less room than frames.")
        return {}
    if settings.detector.dark is not None:
        report("Note: the archive holds the raw counts and the gain, not the dark reference.")
    gain = corrected.references.on_host(corrected.kernels).gain
    return {archive: archive_writer(movie, gain, thread_count(settings.machine), report)}
