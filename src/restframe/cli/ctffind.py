"""A stand-in for ctffind: it asks CTFFIND 5's questions on stdout, reads the answers from stdin, and writes its files.

Programs start it as ``ctffind``, a link to restframe, or as ``restframe ctffind``. Older programs answer fewer
questions: at the end of the input everything else takes its default.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from restframe.cli.streams import say
from restframe.errors import InputError, SettingsError
from restframe.messages import Lines
from restframe.version import VERSION

if TYPE_CHECKING:
    from restframe.arrays import FloatArray
    from restframe.ctf.estimate import Ctf, CtfRequest

SPECTRUM_INPUT = "--amplitude-spectrum-input"
PROMPT_WIDTH = 50  # characters of a question with its default, as CTFFIND prints them
YES, NO = ("yes", "y", "true", "1"), ("no", "n", "false", "0")
VERSION_OF_CTFFIND = "5.0.2"  # whose questions and files these are


@dataclass(frozen=True)
class Answers:
    """What was answered; lengths in A, angles in degrees, phase shifts in rad."""

    input_name: str
    is_movie: bool
    output_name: str
    pixel_size: float
    voltage: float
    spherical_aberration: float
    amplitude_contrast: float
    box: int
    resolution: tuple[float, float]
    defocus: tuple[float, float]
    phase_shift: tuple[float, float] | None
    tilt: bool
    notes: tuple[str, ...]  # lines for stdout


class Dialogue:
    """Questions on stdout and answers from stdin, one a line."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers

    def text(self, question: str, default: str) -> str:
        """The answer, or ``default`` for an empty line and at the end of the input."""
        sys.stdout.write(f"{f'{question} [{default}]':<{PROMPT_WIDTH}} : ")
        sys.stdout.flush()  # programs wait for the question
        return self._answers.readline().strip() or default

    def number(self, question: str, default: float) -> float:
        """The answer as a number. Raises SettingsError."""
        answer = self.text(question, f"{default:g}")
        try:
            return float(answer)
        except ValueError:
            raise SettingsError(f"{question}: {answer!r} is not a number.") from None

    def choice(self, question: str, default: bool) -> bool:
        """The answer as yes or no. Raises SettingsError."""
        answer = self.text(question, "yes" if default else "no").lower()
        if answer not in (*YES, *NO):
            raise SettingsError(f"{question}: {answer!r} is neither yes nor no.")
        return answer in YES


def ask(dialogue: Dialogue, image_count: Callable[[str], int]) -> Answers:
    """All questions in CTFFIND 5's order. ``image_count`` tells how many images a file holds."""
    notes: list[str] = []
    input_name = dialogue.text("Input image file name", "input.mrc")
    is_movie = False
    if image_count(input_name) > 1:
        is_movie = dialogue.choice("Input is a movie (stack of frames)", False)
        if is_movie:
            dialogue.number("Number of frames to average together", 1)
    output_name = dialogue.text("Output diagnostic image file name", "diagnostic_output.mrc")
    pixel_size = dialogue.number("Pixel size", 1.0)
    voltage = dialogue.number("Acceleration voltage", 300.0)
    spherical_aberration = dialogue.number("Spherical aberration", 2.7)
    amplitude_contrast = dialogue.number("Amplitude contrast", 0.07)
    box = int(dialogue.number("Size of amplitude spectrum to compute", 512))
    resolution = dialogue.number("Minimum resolution", 30.0), dialogue.number("Maximum resolution", 5.0)
    defocus = dialogue.number("Minimum defocus", 5000.0), dialogue.number("Maximum defocus", 50000.0)
    dialogue.number("Defocus search step", 100.0)
    _ask_astigmatism(dialogue, notes)
    phase_shift = None
    if dialogue.choice("Find additional phase shift?", False):
        phase_shift = (
            dialogue.number("Minimum phase shift (rad)", 0.0),
            dialogue.number("Maximum phase shift (rad)", 3.15),
        )
        dialogue.number("Phase shift search step", 0.5)
    tilt = dialogue.choice("Determine sample tilt?", False)
    _ask_thickness(dialogue, notes)
    _ask_expert(dialogue, notes)
    return Answers(
        input_name,
        is_movie,
        output_name,
        pixel_size,
        voltage,
        spherical_aberration,
        amplitude_contrast,
        box,
        resolution,
        defocus,
        phase_shift,
        tilt,
        tuple(notes),
    )


def _ask_astigmatism(dialogue: Dialogue, notes: list[str]) -> None:
    known = dialogue.choice("Do you know what astigmatism is present?", False)
    dialogue.choice("Slower, more exhaustive search?", False)
    if known:
        dialogue.number("Known astigmatism", 0.0)
        dialogue.number("Known astigmatism angle", 0.0)
        notes.append("Note: the astigmatism is estimated all the same.")
    elif dialogue.choice("Use a restraint on astigmatism?", False):
        dialogue.number("Expected (tolerated) astigmatism", 200.0)


def _ask_thickness(dialogue: Dialogue, notes: list[str]) -> None:
    if not dialogue.choice("Determine sample thickness?", False):
        return
    dialogue.choice("Use brute force 1D search?", True)
    dialogue.choice("Use 2D refinement?", True)
    dialogue.number("Low resolution limit for nodes", 30.0)
    dialogue.number("High resolution limit for nodes", 3.0)
    dialogue.choice("Use rounded square for nodes?", False)
    dialogue.choice("Downweight nodes?", False)
    notes.append("Note: the thickness is part of the model, but it is not reported.")


def _ask_expert(dialogue: Dialogue, notes: list[str]) -> None:
    if not dialogue.choice("Do you want to set expert options?", False):
        return
    if dialogue.choice("Resample micrograph if pixel size too small?", True):
        dialogue.number("Target pixel size after resampling", 1.4)
    if dialogue.choice("Do you already know the defocus?", False):
        for question in ("Known defocus 1", "Known defocus 2", "Known defocus astigmatism", "Known phase shift"):
            dialogue.number(question, 0.0)
        notes.append("Note: the defocus is estimated all the same.")
    dialogue.number("Desired number of parallel threads", 1)


def main(words: Sequence[str]) -> int:
    """Ask, estimate, write. ``words``: options; `SPECTRUM_INPUT` says that the input is an amplitude spectrum."""
    lowered = [word.lower() for word in words]
    if "--version" in lowered:
        say(
            Lines([f"restframe {VERSION}", f"ctffind version {VERSION_OF_CTFFIND} (the text that this program speaks)"])
        )
        return 0
    if "--help" in lowered or "-h" in lowered:
        say("restframe ctffind: asks CTFFIND's questions on stdout and reads the answers from stdin; docs/ctf.md")
        return 0
    version = f"            Version : {VERSION_OF_CTFFIND} (restframe {VERSION})"
    say(Lines(["", "", "        **   Welcome to Ctffind   **", "", version, ""]))
    answers = ask(Dialogue(sys.stdin), _image_count)
    say(Lines(["", ""]))  # the last question ends without a new line
    run(answers, spectrum_input=SPECTRUM_INPUT in lowered)
    return 0


def run(answers: Answers, spectrum_input: bool) -> None:
    """Estimate, write the files, print the summary. Raises `RestframeError`."""
    from restframe.output.ctf import (
        CtffindHeader,
        ctffind_profile_text,
        ctffind_text,
        diagnostic_image,
        side_file,
        summary_lines,
    )
    from restframe.output.images import mrc_stack_writer
    from restframe.output.place import check_place, place_all
    from restframe.output.write import text_writer

    output = Path(answers.output_name)
    check_place(output)
    if output.exists() and Path(answers.input_name).exists() and output.samefile(answers.input_name):
        raise SettingsError(f"{output} is the input. Give the diagnostic image another name.")
    request = request_from(answers)
    images = read_images(answers.input_name, answers.is_movie)
    ctfs: list[Ctf] = []
    for number, image in enumerate(images, 1):
        if len(images) > 1:
            say(f"Working on micrograph {number} of {len(images)}")
        ctfs.append(_estimate(image, request, spectrum_input))
    header = CtffindHeader(answers.input_name, len(ctfs), answers.box, answers.resolution, answers.defocus)
    summary, profile = side_file(output, ".txt"), side_file(output, "_avrot.txt")
    diagnostics = [diagnostic_image(ctf, answers.box) for ctf in ctfs]
    place_all(
        [
            (profile, text_writer(ctffind_profile_text(ctfs, header))),
            (summary, text_writer(ctffind_text(ctfs, header))),
            (output, mrc_stack_writer(diagnostics, 1.0)),
        ]
    )
    for note in answers.notes:
        say(note)
    for ctf in ctfs:
        say(Lines(summary_lines(ctf)))
    files = (
        f"Summary of results                          : {summary}",
        f"Detailed results, including 1D fit profiles : {profile}",
        f"Diagnostic image                            : {output}",
    )
    say(Lines(["", "", *files, ""]))


def request_from(answers: Answers) -> CtfRequest:
    """What the answers ask for. Raises SettingsError for values that cannot be used."""
    from restframe.ctf.estimate import CtfRequest
    from restframe.ctf.model import Microscope
    from restframe.ctf.search import SearchRange

    if not 16 <= answers.box <= 8192:
        raise SettingsError(f"Size of amplitude spectrum to compute: {answers.box}: expected 16 to 8192.")
    if answers.resolution[0] <= 0:
        raise SettingsError(f"Minimum resolution: {answers.resolution[0]:g}: expected a value above 0.")
    if not 0 < answers.resolution[1] < answers.resolution[0]:
        limits = f"Minimum resolution {answers.resolution[0]:g} A, maximum resolution {answers.resolution[1]:g} A"
        raise SettingsError(f"{limits}: expected a smaller value for the maximum.")
    microscope = Microscope(answers.voltage, answers.spherical_aberration, answers.amplitude_contrast)
    low, high = answers.defocus
    where = SearchRange(low, high, phase_shift=answers.phase_shift, min_frequency=1 / answers.resolution[0])
    return CtfRequest(answers.pixel_size, microscope, where, answers.tilt)


def _estimate(image: FloatArray, request: CtfRequest, spectrum_input: bool) -> Ctf:
    from restframe.ctf.estimate import estimate, estimate_from_amplitudes

    return estimate_from_amplitudes(image, request) if spectrum_input else estimate(image, request)


def _image_count(name: str) -> int:
    from restframe.movie import open_movie

    if not Path(name).is_file():
        raise InputError(f"{name} does not exist. Give the name of a micrograph.")
    return open_movie(name).shape[0]


def read_images(name: str | Path, is_movie: bool) -> list[FloatArray]:
    """The images of a file, or the mean of all its frames. Raises `InputError`."""
    import numpy as np

    from restframe.movie import open_movie, read_frames

    frames = read_frames(open_movie(name))
    if is_movie:
        return [np.mean(frames, axis=0, dtype=np.float32)]
    return [np.asarray(frame, np.float32) for frame in frames]
