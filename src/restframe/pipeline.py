"""The steps of one movie's correction that read its frames: track and restore. They follow `prepare`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from restframe import pages
from restframe.arrays import AnyArray, FloatArray
from restframe.corrected_ctf import amplitude_spectrum, ctf_of_sums, frames_per_spectrum
from restframe.detector.binned import BinnedFrames, binning_factor
from restframe.detector.survey import Survey, survey_frames, with_decision
from restframe.errors import InputError, ResultError
from restframe.kernels import thread_count
from restframe.kernels.interface import Kernels
from restframe.long_movies import (
    frames_per_sum,
    measured_of_frames,
    motion_for_sums,
    notice,
    summed_fractions,
)
from restframe.messages import Message, Setting
from restframe.movie import RawFrames
from restframe.movie.rendered import RenderedMovie
from restframe.plausible import total_dose_warning, unusual_values
from restframe.prepare import Prepared
from restframe.progress import Progress
from restframe.restore import dose
from restframe.restore.blur import blur_weighted_sums
from restframe.restore.fourier import finish_images
from restframe.restore.gather import gather, make_resampling_map
from restframe.restore.sizes import choose_sizes
from restframe.restore.stack import corrected_frame_groups
from restframe.restore.sums import make_sums
from restframe.result import Result, Timings
from restframe.settings import Motion, Settings
from restframe.statements import say_about_sums, say_bad_pixels, say_how_frames_are_read, say_motion, say_what_was_found
from restframe.track.field import MotionField
from restframe.track.groups import group_frames
from restframe.track.measure import FrameSeries, Measured, measure, reference_frame
from restframe.track.patches import patch_shifts_from_field
from restframe.track.suspects import decide_narrow
from restframe.trajectory import intraframe_motion

TakeStack = Callable[[Iterator[FloatArray]], None]


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
    say_how_frames_are_read(kernels, prepared, progress)
    shown = settings.motion.align or field is not None
    if not shown:
        field = MotionField.at_rest(frame_count, shape)
    binning = binning_factor(shape)
    size = frames_per_sum((frame_count, *shape), binning, settings.machine)
    factor = binning if field is None and size == 1 else 0
    survey, binned = survey_frames(kernels, prepared.raw, prepared.references, settings.detector.find_defects, factor)
    pages.trim_heap()
    say_what_was_found(prepared, survey, settings, progress)
    survey_seconds = progress.seconds
    if field is None and size > 1:
        measured = measure_on_sums(kernels, prepared, size, settings)
    elif field is None:
        measured = measure_binned(kernels, binned, prepared, survey, settings)
    else:
        local = shown and min(settings.motion.patches) > 1
        measured = Measured(field, patch_shifts_from_field(field, settings.motion.patches) if local else None)
    del binned
    pages.trim_heap()
    survey = decided_survey(kernels, prepared, survey, measured)
    say_bad_pixels(prepared, survey, progress)
    reference = chosen_reference(frame_count, settings.motion, progress)
    measured = replace(measured, field=measured.field.relative_to(reference))
    tracked = Tracked(survey, measured, Timings(survey_seconds, progress.seconds))
    say_motion(measured, tracked.global_shifts if shown else None, progress)
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
    why = notice(size, Setting("max_memory") if settings.machine.max_memory else None)
    return measured_of_frames(replace(measured, notes=(why, *measured.notes)), sums, prepared.used)


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


def chosen_reference(frame_count: int, motion: Motion, progress: Progress) -> int:
    """The frame whose positions the sums show, from 0 among the used ones."""
    reference = reference_frame(frame_count, motion.reference)
    # callers that count from one give the number of frames for the last
    if motion.reference > frame_count:
        given = Setting("reference", motion.reference)
        progress.say(Message("Warning: ", given, f": the last frame used, {reference} from 0, is the reference."))
    return reference


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
    say_about_sums(prepared, settings, progress)
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
        bad_pixels=survey.bad_positions,
        gain_check=survey.gain_check,
        uncorrected_tiles=survey.uncorrected_tiles,
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
