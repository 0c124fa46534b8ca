"""The steps of one movie's correction: prepare, track, restore. `restframe.session` calls them in this order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from restframe import memory, pages
from restframe.arrays import AnyArray, FloatArray, IntArray
from restframe.corrected_ctf import amplitude_spectrum, ctf_of_sums, frames_per_spectrum
from restframe.detector.binned import BinnedFrames, binning_factor
from restframe.detector.defect_list import defect_regions, defect_sentence
from restframe.detector.references import References, load_references
from restframe.detector.survey import Survey, survey_frames, with_decision
from restframe.errors import InputError, ResultError, SettingsError
from restframe.kernels import thread_count
from restframe.kernels.interface import Kernels
from restframe.long_movies import (
    frames_per_sum,
    measured_of_frames,
    motion_for_sums,
    notice,
    summed_fractions,
)
from restframe.messages import Lines, Message, Setting
from restframe.movie import Movie, RawFrames
from restframe.movie.fractions import Fractions, make_fractions
from restframe.movie.rendered import RenderedMovie, all_values_finite
from restframe.movie.stated import with_metadata
from restframe.optics import critical_dose
from restframe.output.text import shift_table
from restframe.plausible import check_dose_weights, total_dose_warning, unusual_values
from restframe.restore import dose
from restframe.restore.blur import blur_weighted_sums
from restframe.restore.fourier import finish_images
from restframe.restore.gather import gather, make_resampling_map
from restframe.restore.placement import Placement, make_placement
from restframe.restore.sizes import choose_sizes
from restframe.restore.stack import corrected_frame_groups
from restframe.restore.sums import make_sums
from restframe.result import MovieInfo, Result, Timings
from restframe.settings import Detector, Exposure, Motion, Settings
from restframe.track.field import MotionField
from restframe.track.groups import group_frames
from restframe.track.measure import FrameSeries, Measured, measure, reference_frame
from restframe.track.patches import patch_shifts_from_field
from restframe.track.suspects import decide_narrow
from restframe.trajectory import intraframe_motion

Report = Callable[[str], None]
TakeStack = Callable[[Iterator[FloatArray]], None]

MIN_SIDE_PX = 8  # of a frame, an output, or a patch
MANY_BAD_PIXELS = 0.05  # of all pixels: more cannot be the camera's
NOTABLE_SHADE = 0.005  # of the area, from which on uneven light is reported
USELESS_ERROR_PX = 1.0  # a stated error from which on motion is as good as not measured
WARNING = "Warning: "


class Progress:
    """What is reported about one movie: lines of text, each said once, and the seconds since the work began."""

    def __init__(self, report: Report | None = None) -> None:
        self._report = report
        self._said: set[str] = set()
        self._begin = time.perf_counter()
        self.warnings: list[str] = []

    def say(self, line: str) -> None:
        """Report a line that was not reported before: work that is repeated says the same again."""
        if line in self._said:
            return
        self._said.add(line)
        if line.startswith(WARNING):
            self.warnings.append(line.removeprefix(WARNING))
        if self._report:
            self._report(line)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begin


@dataclass(frozen=True, eq=False)
class Prepared:
    """A movie whose frames can be read: its references, its used frames, and the plan of its sums."""

    movie: Movie  # of the fractions, where these are sums of raw frames
    info: MovieInfo
    references: References
    used: Fractions
    placement: Placement
    plan: dose.Plan
    raw: Any  # RawFrames, or what the kernels make of them
    ahead: bool  # memory allows to read the frames while another movie is corrected
    exposure: Exposure  # with what the movie's metadata state
    notes: tuple[str, ...]  # sentences for the user about the metadata

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of a frame"""
        return self.movie.shape[1], self.movie.shape[2]


def prepare(kernels: Kernels, movie: Movie, settings: Settings, refs: References) -> Prepared:
    """All that is known before frames are read. Raises `RestframeError`."""
    check_frame_size(movie)
    settings, notes = with_metadata(settings, movie)
    used = make_fractions(movie.shape[0], settings.exposure, movie.format == "eer")
    place = make_placement((movie.shape[1], movie.shape[2]), settings.sums.crop, settings.sums.magnification)
    check_sizes(place.shape, settings)
    plan = dose.make_plan(wanted_sums(used, settings))
    info = movie_info(movie)
    frames: Movie = movie
    frame_numbers: range | None = used.raw_frames
    if used.are_sums or movie.tolerated_damage or not all_values_finite(movie):
        frames, frame_numbers, refs = RenderedMovie(movie, used.frames, refs.dark), None, replace(refs, dark=None)
    shape = len(used.frames), movie.shape[1], movie.shape[2]
    image_count = len(plan.combinations) + settings.sums.global_sum
    factor = binning_factor((shape[1], shape[2]))
    memory_plan = memory.plan_memory(shape, frames.dtype, factor, plan.group_sizes, image_count, settings.machine)
    threads = thread_count(settings.machine)
    on_host = RawFrames(frames, frame_numbers, threads, memory_plan.keep_frames, memory_plan.frames_per_block)
    raw = kernels.device_frames(on_host, settings.machine.gpu_memory)
    ahead = memory_plan.fits_another_movie and raw.fits_another_movie
    return Prepared(frames, info, refs, used, place, plan, raw, ahead, settings.exposure, notes)


def movie_info(movie: Movie) -> MovieInfo:
    """The movie and its file as they are now."""
    info = MovieInfo(movie.path, movie.format, movie.shape, str(movie.dtype))
    if movie.path is not None:
        with suppress(OSError):  # it may just have been moved
            status = os.stat(movie.path)
            info = replace(info, size=status.st_size, modified=status.st_mtime)
    return info


def own_references(movie: Movie, detector: Detector) -> References:
    """The references that fit ``movie``, with the gain in its header where no other is given."""
    header_gain = movie.header_gain() if detector.gain is None else None
    shape = movie.shape[1], movie.shape[2]
    return load_references(detector, shape, header_gain, RawFrames(movie, keep_frames=False).total)


def check_frame_size(movie: Movie) -> None:
    """Raise InputError for frames in which no motion can be measured."""
    _, height, width = movie.shape
    if min(height, width) < MIN_SIDE_PX:
        name = movie.path or "The movie"
        raise InputError(
            f"{name} has frames of {width} x {height} pixels; at least {MIN_SIDE_PX} along each side are needed."
        )


def check_sizes(shape: tuple[int, int], settings: Settings) -> None:
    """Raise SettingsError where the output, or a patch, of frames (h, w) = ``shape`` would have almost no pixels."""
    height, width = shape
    bin, (columns, rows) = settings.sums.bin, settings.motion.patches
    if bin > 1 and min(choose_sizes(shape, bin).output) < MIN_SIDE_PX:
        raise SettingsError(
            Setting("bin", bin),
            f": next to nothing would be left of {width} x {height} pixels; at most "
            f"{min(height, width) / MIN_SIDE_PX:g}.",
        )
    if min(columns, rows) > 1 and (width < columns * MIN_SIDE_PX or height < rows * MIN_SIDE_PX):
        raise SettingsError(
            Setting("patches", (columns, rows)),
            f": patches of {width / columns:.3g} x {height / rows:.3g} pixels. Use at most {width // MIN_SIDE_PX} "
            f"{height // MIN_SIDE_PX}; 5 5 or 7 5 is usual, more do not make the field finer.",
        )


def check_field(field: MotionField, shape: tuple[int, int, int]) -> None:
    """Raise InputError unless ``field`` is motion of used frames of ``shape`` (t, h, w)."""
    field_shape = (field.n_frames, *field.shape)
    if field_shape != shape:
        raise InputError(
            f"The known motion is that of {field_shape[0]} frames of {field_shape[2]} x {field_shape[1]} pixels, this "
            f"movie has {shape[0]} used frames of {shape[2]} x {shape[1]}. Use the same ",
            Setting("throw"),
            ", ",
            Setting("trunc"),
            " and frames as when it was measured.",
        )
    impossibility = field.impossibility()
    if impossibility:
        raise InputError(f"The known motion cannot be right: {impossibility}. Measure it again.")


def wanted_sums(used: Fractions, settings: Settings) -> list[dose.Sum]:
    """The sums to be made, the plain one first."""
    frame_count = len(used.frames)
    all_frames = np.ones(frame_count)
    odd = (np.arange(frame_count) % 2 == 0).astype(float)  # the first, third, ... frame
    halves = {"odd": odd, "even": 1 - odd} if settings.sums.split else {}
    pixel_size = settings.unbinned_output_pixel_size
    if not (settings.motion.align and pixel_size > 0 and used.dose.sum() > 0):
        return dose.unweighted_sums(frame_count, {"sum": all_frames, **halves})
    highest_frequency = np.array([dose.frequency_samples()[-1] / pixel_size])
    smallest_critical_dose = float(critical_dose(highest_frequency, settings.exposure.voltage)[0])
    check_dose_weights(used.accumulated.tolist(), smallest_critical_dose, settings.exposure)
    weighted = {"dose_weighted": all_frames}
    if settings.sums.dose_range:
        low, high = settings.sums.dose_range
        weighted["dose_weighted_range"] = ((used.accumulated >= low) & (used.accumulated <= high)).astype(float)
    plain = dose.unweighted_sums(frame_count, {"sum": all_frames})
    voltage = settings.exposure.voltage
    return plain + dose.dose_weighted_sums(used.accumulated, pixel_size, voltage, weighted | halves)


@dataclass(frozen=True, eq=False)
class Tracked:
    """What is known of a movie before its sums are made."""

    survey: Survey
    measured: Measured  # motion that was given has no notes and no numbers
    timings: Timings

    @property
    def global_shifts(self) -> FloatArray:
        """(t, 2) pixels, relative to the first frame."""
        whole: FloatArray = self.measured.field.global_displacement()
        shifts: FloatArray = -(whole - whole[0])
        return shifts


def track(
    kernels: Kernels, prepared: Prepared, settings: Settings, field: MotionField | None, progress: Progress
) -> Tracked:
    """Bad pixels, calibration and motion (``field``, where it is known)."""
    frame_count, shape = len(prepared.used.frames), prepared.shape
    if field is not None:
        check_field(field, (frame_count, *shape))
    for note in (
        *unusual_values(settings),
        *total_dose_warning(prepared.used.accumulated.tolist(), settings.exposure),
    ):
        progress.say(note)
    _say_how_frames_are_read(kernels, prepared, progress)
    shown = settings.motion.align or field is not None
    if not shown:
        field = MotionField.at_rest(frame_count, shape)
    binning = binning_factor(shape)
    size = frames_per_sum((frame_count, *shape), binning, settings.machine)
    factor = binning if field is None and size == 1 else 0
    survey, binned = survey_frames(kernels, prepared.raw, prepared.references, settings.detector.find_defects, factor)
    pages.trim_heap()
    _say_what_was_found(prepared, survey, settings, progress)
    survey_seconds = progress.seconds
    if field is None and size > 1:
        progress.say(notice(size, Setting("max_memory") if settings.machine.max_memory else None))
        measured = measure_on_sums(kernels, prepared, size, settings)
    elif field is None:
        measured = measure_binned(kernels, binned, prepared, survey, settings)
    else:
        local = shown and min(settings.motion.patches) > 1
        measured = Measured(field, patch_shifts_from_field(field, settings.motion.patches) if local else None)
    del binned
    pages.trim_heap()
    survey = decided_survey(kernels, prepared, survey, measured)
    _say_bad_pixels(prepared, survey, progress)
    reference = _reference_frame(frame_count, settings.motion, progress)
    measured = replace(measured, field=measured.field.relative_to(reference))
    tracked = Tracked(survey, measured, Timings(survey_seconds, progress.seconds))
    _say_motion(tracked, shown, progress)
    return tracked


def measure_on_sums(kernels: Kernels, prepared: Prepared, size: int, settings: Settings) -> Measured:
    """The motion that sums of ``size`` frames show, interpolated for the frames."""
    movie, references = prepared.movie, prepared.references
    stored, dark = (movie.movie, movie.dark) if isinstance(movie, RenderedMovie) else (movie, references.dark)
    sums = summed_fractions(prepared.used, size)
    rendered = RenderedMovie(stored, sums.frames, dark)
    block = prepared.raw.frames_per_block
    on_host = RawFrames(rendered, None, thread_count(settings.machine), False, block)
    raw = kernels.device_frames(on_host, settings.machine.gpu_memory)
    of_sums = replace(prepared, movie=rendered, references=replace(references, dark=None), used=sums, raw=raw)
    factor = binning_factor(prepared.shape)
    survey, binned = survey_frames(kernels, raw, of_sums.references, settings.detector.find_defects, factor)
    settings_of_sums = replace(settings, motion=motion_for_sums(settings.motion, size))
    measured = measure_binned(kernels, binned, of_sums, survey, settings_of_sums)
    return measured_of_frames(measured, sums, prepared.used)


def measure_binned(
    kernels: Kernels, binned: BinnedFrames, prepared: Prepared, survey: Survey, settings: Settings
) -> Measured:
    """The motion that the binned frames show."""
    used, motion = prepared.used, settings.motion
    counts = survey.calibration.mean_counts
    group_sizes, exposure = motion.group, settings.exposure
    if prepared.movie.format == "eer" and exposure.integration is None and exposure.eer_grouping == group_sizes[0]:
        group_sizes = (1, 1)  # they are groups of raw frames, which the fractions are
    grouping = [group_frames(used.weight, size) for size in group_sizes]
    series = FrameSeries(binned, prepared.shape, counts, used.dose, used.accumulated, *grouping)
    return measure(kernels, series, motion, settings.exposure, survey.suspects)


def decided_survey(kernels: Kernels, prepared: Prepared, survey: Survey, measured: Measured) -> Survey:
    """The survey with the bad pixels that are the camera's.

    The final motion decides on narrow ones, measured or known, so that motion that is read back gives the same sums.
    """
    suspects = survey.suspects
    if suspects is None:
        return survey
    camera, _ = decide_narrow(suspects, measured.field.global_displacement())
    broad_camera = np.zeros(survey.shape, bool) if measured.decision is None else measured.decision.broad_camera
    return with_decision(kernels, survey, prepared.references, camera, broad_camera)


def _reference_frame(frame_count: int, motion: Motion, progress: Progress) -> int:
    """The frame whose positions the sums show, from 0 among the used ones."""
    reference = reference_frame(frame_count, motion.reference)
    # callers that count from one give the number of frames for the last
    if motion.reference > frame_count:
        given = Setting("reference", motion.reference)
        progress.say(Message("Warning: ", given, f": the last frame used, {reference} from 0, is the reference."))
    return reference


def _say_how_frames_are_read(kernels: Kernels, prepared: Prepared, progress: Progress) -> None:
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


def _say_what_was_found(prepared: Prepared, survey: Survey, settings: Settings, progress: Progress) -> None:
    say, detector = progress.say, settings.detector
    for note in prepared.movie.damage_report() if isinstance(prepared.movie, RenderedMovie) else ():
        say(note)
    if survey.gain_check and survey.gain_check.better:
        say(survey.gain_check.better.advice(detector.rot_gain, detector.flip_gain))
    say(f"Frames read, small frames made: {progress.seconds:.2f} sec")


def _say_bad_pixels(prepared: Prepared, survey: Survey, progress: Progress) -> None:
    say = progress.say
    pixel_count, bad_count = prepared.shape[0] * prepared.shape[1], len(survey.bad_rows)
    say(f"Bad pixels: {bad_count} of {pixel_count}, filled with the local mean")
    if sentence := defect_sentence(defect_regions(bad_positions(survey), survey.shape)):
        say(sentence)
    suspects = survey.suspects
    if suspects is not None and (shaded := float((suspects.broad | suspects.unlit).mean())) > NOTABLE_SHADE:
        say(
            f"Light on the detector is uneven: {shaded:.1%} of the area (edge of the beam, shadows, steps of the gain) "
            "is not used to measure motion. The sums keep it."
        )
    if (fraction := bad_count / pixel_count) > MANY_BAD_PIXELS:
        say(f"Warning: {fraction:.0%} of all pixels are bad. Are gain, defects and movie of the same camera and mode?")


def bad_positions(survey: Survey) -> IntArray:
    """Bad pixels, (n, 2) x, y."""
    return np.stack([survey.bad_columns, survey.bad_rows], 1)


def _say_motion(tracked: Tracked, shown: bool, progress: Progress) -> None:
    say, measured = progress.say, tracked.measured
    if shown:
        say(
            Lines.verbatim("\n".join(shift_table(tracked.global_shifts)))
        )  # in one piece: nothing may come between its lines
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


def restore(
    kernels: Kernels,
    prepared: Prepared,
    settings: Settings,
    tracked: Tracked,
    stack: TakeStack | None,
    progress: Progress,
) -> Result:
    """The sums. Releases the raw frames as soon as they are not needed."""
    used, raw = prepared.used, prepared.raw
    survey, measured = tracked.survey, tracked.measured
    _say_about_sums(prepared, settings, progress)
    images: dict[str, AnyArray] = {}
    if settings.sums.global_sum:
        images["global_sum"] = sum_after_global_motion(kernels, prepared, settings, tracked)
    calibration = survey.calibration
    sizes = choose_sizes(prepared.placement.shape, settings.sums.bin)
    resampling = make_resampling_map(kernels, measured.field, prepared.placement, sizes)
    if stack:
        stack(corrected_frame_groups(kernels, raw, calibration, resampling, settings.sums.stack_group))
    spectrum_pixel_size = 0.0
    if settings.transfer.power_spectrum:
        group_size = frames_per_spectrum(used.dose)
        groups = corrected_frame_groups(kernels, raw, calibration, resampling, group_size)
        images["power_spectrum"], spectrum_pixel_size = amplitude_spectrum(groups, settings.output_pixel_size)
    if settings.sums.intraframe_motion:
        moved = intraframe_motion(measured.field.global_displacement(), [len(numbers) for numbers in used.frames])
        images |= blur_weighted_sums(kernels, raw, calibration, resampling, prepared.plan, moved)
        raw.release()
    else:
        images |= make_sums(kernels, raw, calibration, resampling, prepared.plan)
    progress.say(f"Correction of local motion: {progress.seconds:.6f} sec")
    check_finite(images, measured.field)
    ctf = ctf_of_sums(images, settings, progress.say)
    return Result(
        **images,
        ctf=ctf,
        power_spectrum_pixel_size=spectrum_pixel_size,
        pixel_size=settings.output_pixel_size,
        field=measured.field,
        patches=measured.patches,
        global_shifts=tracked.global_shifts,
        movie_shape=(len(used.frames), *prepared.shape),
        movie_format=prepared.movie.format,
        frames=used.frames,
        dose=used.dose,
        accumulated_dose=used.accumulated,
        bad_pixels=bad_positions(survey),
        gain_check=survey.gain_check,
        motion_report=measured.report,
        decisions=measured.notes,
        numbers={
            "bad_pixels": float(len(survey.bad_rows)),
            "counts_per_pixel": float(np.sum(calibration.mean_counts, dtype=float)),
            **measured.numbers,
        },
        warnings=tuple(progress.warnings),
        movie=prepared.info,
        settings=settings,
        timings=replace(tracked.timings, sums=progress.seconds),
    )


def check_finite(images: Mapping[str, AnyArray], field: MotionField) -> None:
    """Raise ResultError where a pixel or the motion is not finite: no such result is ever given or saved."""
    if not np.isfinite(field.amplitudes).all():
        raise ResultError(
            "The motion is not finite. Check the values in the movie, the references and the known motion."
        )
    for name, image in images.items():
        count = int(image.size - np.isfinite(image).sum())
        if count:
            raise ResultError(
                f"{count} of {image.size} pixels of the image {name} are not finite, so nothing is saved. Check the "
                "values in the movie and its references."
            )


def sum_after_global_motion(kernels: Kernels, prepared: Prepared, settings: Settings, tracked: Tracked) -> AnyArray:
    """The plain sum after the correction of global motion alone."""
    place, calibration = prepared.placement, tracked.survey.calibration
    sizes = choose_sizes(place.shape, settings.sums.bin)
    plan = dose.unweighted_plan(len(prepared.used.frames))
    resampling = make_resampling_map(kernels, tracked.measured.field.global_only(), place, sizes)
    gathered = gather(kernels, prepared.raw, calibration, resampling, plan.coefficients)
    images: dict[str, AnyArray] = finish_images(kernels, gathered, resampling.spec(plan, calibration))
    return images["sum"]


def _say_about_sums(prepared: Prepared, settings: Settings, progress: Progress) -> None:
    if any(not wanted.frames.any() for wanted in prepared.plan.sums if wanted.name == "dose_weighted_range"):
        dose_range = Setting("sum_range", settings.sums.sum_range)
        progress.say(Message("Warning: no frame lies within ", dose_range, ": that sum (_DWS) is zero everywhere."))
    if prepared.placement.stretched:
        major, minor, angle = settings.sums.magnification
        progress.say(f"Mag stretch: {major / minor:.3f}  {-angle:.3f}")
