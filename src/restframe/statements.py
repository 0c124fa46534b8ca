"""Messages about one movie, in the order of the steps. `cli/` puts flags in the place of settings."""

from __future__ import annotations

from restframe.arrays import FloatArray
from restframe.detector.defect_list import defect_regions, defect_sentence
from restframe.detector.survey import Survey
from restframe.kernels.interface import Kernels
from restframe.messages import Lines, Message, Setting
from restframe.movie.rendered import RenderedMovie
from restframe.output.text import shift_table
from restframe.prepare import Prepared
from restframe.progress import Progress
from restframe.settings import Settings
from restframe.track.measure import Measured

MANY_BAD_PIXELS = 0.05  # of all pixels: more cannot be the camera's
NOTABLE_SHADE = 0.005  # of the area, from which on uneven light is reported
USELESS_ERROR_PX = 1.0  # a stated error from which on motion is as good as not measured


def say_how_frames_are_read(kernels: Kernels, prepared: Prepared, progress: Progress) -> None:
    """Also report the notes about the movie and its references that precede the reading of frames."""
    raw, say = prepared.raw, progress.say
    for note in (*prepared.notes, *prepared.used.notes, *prepared.references.notes):
        say(note)
    if prepared.references.gain is None:
        say("Warning: Gain ref not found.")
        say("......   Gain correction will be skipped.")
    if not kernels.is_compiled():
        say(kernels.compiling_notice)
    if not raw.keep_frames:
        how = f"Frames are read {raw.frames_per_block} at a time and again in every pass, as "
        say(Message(how, raw.limiting_setting, " asks."))


def say_what_was_found(prepared: Prepared, survey: Survey, settings: Settings, progress: Progress) -> None:
    say, detector = progress.say, settings.detector
    for note in prepared.movie.damage_report() if isinstance(prepared.movie, RenderedMovie) else ():
        say(note)
    if survey.gain_check and survey.gain_check.better:
        say(survey.gain_check.better.advice(detector.rot_gain, detector.flip_gain))
    say(f"Frames read, small frames made: {progress.seconds:.2f} sec")


def say_bad_pixels(prepared: Prepared, survey: Survey, progress: Progress) -> None:
    say = progress.say
    pixel_count, bad_count = prepared.shape[0] * prepared.shape[1], len(survey.bad_rows)
    say(f"Bad pixels: {bad_count} of {pixel_count}, filled with the local mean")
    if sentence := defect_sentence(defect_regions(survey.bad_positions, survey.shape)):
        say(sentence)
    suspects = survey.suspects
    if suspects is not None and (shaded := float((suspects.broad | suspects.unlit).mean())) > NOTABLE_SHADE:
        say(
            f"Light on the detector is uneven: {shaded:.1%} of the area (edge of the beam, shadows, steps of the gain) "
            "is not used to measure motion. The sums keep it."
        )
    if (fraction := bad_count / pixel_count) > MANY_BAD_PIXELS:
        say(f"Warning: {fraction:.0%} of all pixels are bad. Are gain, defects and movie of the same camera and mode?")


def say_motion(measured: Measured, global_shifts: FloatArray | None, progress: Progress) -> None:
    """``global_shifts``: (t, 2) pixels; None: nothing was measured, so no table is shown."""
    say = progress.say
    if global_shifts is not None:
        # in one piece: nothing may come between the lines of the table
        say(Lines.verbatim("\n".join(shift_table(global_shifts))))
        say(f"Global shifts are corrected: {progress.seconds:.6f} sec")
    if measured.report:
        say(f"Stated error of the motion: {measured.report.stated_error:.2f} pixels (standard deviation)")
    for note in measured.notes:
        say(note)
    error_px = measured.report.stated_error if measured.report else 0.0
    if error_px > USELESS_ERROR_PX:
        say(
            f"Warning: too little signal to measure the motion: it may be wrong by {error_px:.1f} pixels "
            "(stated error)."
        )


def say_about_sums(prepared: Prepared, settings: Settings, progress: Progress) -> None:
    if any(not wanted.frames.any() for wanted in prepared.plan.sums if wanted.name == "dose_weighted_range"):
        dose_range = Setting("sum_range", settings.sums.sum_range)
        progress.say(Message("Warning: no frame lies within ", dose_range, ": that sum (_DWS) is zero everywhere."))
    if prepared.placement.stretched:
        major, minor, angle = settings.sums.magnification
        progress.say(f"Mag stretch: {major / minor:.3f}  {-angle:.3f}")
