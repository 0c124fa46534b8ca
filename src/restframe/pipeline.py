"""One movie's way through the program: open, survey, track, restore."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from os import PathLike
from typing import TypeVar, Unpack

import numpy as np

from restframe import memory, pages
from restframe.detector.binned import binning_factor
from restframe.detector.references import References, load_references
from restframe.detector.survey import Survey, survey_frames
from restframe.errors import InputError, SettingsError
from restframe.kernels import Kernels, make_kernels, thread_count
from restframe.messages import Message, Setting
from restframe.movie import Movie, RawFrames, open_movie
from restframe.movie.fractions import Fractions, make_fractions
from restframe.movie.rendered import RenderedMovie, all_values_finite
from restframe.output.text import shift_table
from restframe.restore import dose as dw
from restframe.restore.blur import blur_weighted_sums
from restframe.restore.fourier import finish_images
from restframe.restore.gather import gather, make_resampling_map
from restframe.restore.placement import Placement, make_placement
from restframe.restore.sizes import choose_sizes
from restframe.restore.stack import corrected_frame_groups
from restframe.restore.sums import make_sums
from restframe.result import Result
from restframe.settings import Choices, Detector, Settings, with_choices
from restframe.track.field import MotionField
from restframe.track.groups import group_frames
from restframe.track.measure import FrameSeries, Measured, measure, reference_frame
from restframe.track.patches import patch_shifts_from_field
from restframe.trajectory import intraframe_motion

Report = Callable[[str], None]
TakeStack = Callable[[Iterator[np.ndarray]], None]
Clock = Callable[[], float]  # seconds since the work began
Found = TypeVar("Found")
LEAST_SIDE = 8  # pixels of an output, or of a patch
MANY_BAD = 0.05  # of all pixels: more can't be the camera's
UNKNOWN = 1.0  # pixels of stated error from which on motion is as good as not measured
LEAST_SHARE = 0.02  # of the GPU's free memory: what frames may take when there was too little


def correct(
    movie: Movie | np.ndarray | str | PathLike[str],
    settings: Settings | None = None,
    *,
    field: MotionField | None = None,
    stack: TakeStack | None = None,
    report: Report | None = None,
    **choices: Unpack[Choices],
) -> Result:
    """Bring a movie to rest.

    ``movie``: a path, what `open_movie` returns, or an array (t, h, w) of raw counts. ``choices``: any field of the
    classes in `restframe.settings` by its name, e.g. ``gain=..., pixel_size=0.85, frame_dose=1.2, patches=(5, 5)``;
    they replace those of ``settings``. ``field``: motion that is known; it is applied, not measured. ``stack`` is
    called with an iterator of corrected frames, ``stack_group`` of them summed to one, (h, w) float32 like the sums; it
    may be called again from the start. ``report`` is called with lines of text as the work goes on.
    Raises `RestframeError` when the input allows no result.
    """
    settings = with_choices(settings or Settings(), choices)
    opened = open_movie(movie, eer_sampling=settings.exposure.eer_sampling)
    return correct_prepared(prepare(opened, settings), settings, field=field, stack=stack, report=report)


def measure_motion(
    movie: Movie | np.ndarray | str | PathLike[str],
    settings: Settings | None = None,
    *,
    report: Report | None = None,
    **choices: Unpack[Choices],
) -> Measured:
    """The motion of a movie as `correct` finds it, with the same arguments; no sum is made."""
    settings = with_choices(settings or Settings(), choices)
    prepared = prepare(open_movie(movie, eer_sampling=settings.exposure.eer_sampling), settings)

    def work(kernels: Kernels, prepared: Prepared, settings: Settings, say: Report) -> Measured:
        found = _track(kernels, prepared, settings, None, say, clock()).measured
        prepared.raw.release()
        return found

    with single_blas_thread():
        return with_memory_fallback(work, prepared, settings, report or (lambda line: None))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A movie, its references and its used frames, which may have been read, and what is to be made of them."""

    movie: Movie
    references: References
    used: Fractions
    place: Placement
    plan: dw.Plan
    raw: RawFrames
    ahead: bool  # memory allows to read the frames while another movie is corrected


def prepare(movie: Movie, settings: Settings, refs: References | None = None) -> Prepared:
    """What is known before frames are read. ``refs``: the references, where they are known. Raises `RestframeError`."""
    used = make_fractions(movie.shape[0], settings.exposure, movie.format == "eer")
    refs = refs or own_references(movie, settings.detector)
    place = make_placement(movie.shape[1:], settings.sums.crop, settings.sums.magnification)
    check_sizes(place.shape, settings)
    plan = dw.make_plan(wanted_sums(used, settings))
    frames: Movie = movie
    numbers: range | None = used.raw_frames
    if used.are_sums or movie.tolerated_damage or not all_values_finite(movie):
        frames, numbers, refs = RenderedMovie(movie, used.frames, refs.dark), None, replace(refs, dark=None)
    shape = len(used.frames), *movie.shape[1:]
    sums = len(plan.combinations) + settings.sums.global_sum
    memory_plan = memory.plan_memory(
        shape, frames.dtype, binning_factor(shape[1:]), plan.group_sizes, sums, settings.machine
    )
    on_host = RawFrames(
        frames, numbers, thread_count(settings.machine), memory_plan.keep_frames, memory_plan.frames_per_block
    )
    kernels = make_kernels(settings.machine)
    with kernels.active():
        raw = kernels.device_frames(on_host, settings.machine.gpu_memory)
    return Prepared(frames, refs, used, place, plan, raw, memory_plan.fits_another_movie and raw.fits_another_movie)


def check_sizes(shape: tuple[int, int], settings: Settings) -> None:
    """Raise SettingsError where the output or a patch of frames (h, w) = ``shape`` would have next to no pixels."""
    (h, w), bin, (nx, ny) = shape, settings.sums.bin, settings.motion.patches
    if bin > 1 and min(choose_sizes(shape, bin).output) < LEAST_SIDE:
        raise SettingsError(
            Setting("bin", bin),
            f": next to nothing would be left of {w} x {h} pixels; at most {min(h, w) / LEAST_SIDE:g}.",
        )
    if min(nx, ny) > 1 and (w < nx * LEAST_SIDE or h < ny * LEAST_SIDE):
        raise SettingsError(
            Setting("patches", (nx, ny)),
            f": patches of {w / nx:.3g} x {h / ny:.3g} pixels. Use at most {w // LEAST_SIDE} {h // LEAST_SIDE}; 5 5 or "
            "7 5 is usual, more do not make the field finer.",
        )


def own_references(movie: Movie, detector: Detector) -> References:
    """The references that fit ``movie``, with the gain in its header where no other is given."""
    header_gain = movie.header_gain() if detector.gain is None else None
    return load_references(detector, movie.shape[1:], header_gain, RawFrames(movie, keep_frames=False).total)


def correct_prepared(
    prepared: Prepared,
    settings: Settings,
    *,
    field: MotionField | None = None,
    stack: TakeStack | None = None,
    report: Report | None = None,
) -> Result:
    """`correct` for a movie that is prepared. Forgets the raw frames as soon as they are not needed.

    Raises `RestframeError`.
    """
    say = report or (lambda line: None)
    with single_blas_thread():
        return with_memory_fallback(
            lambda kernels, p, s, say: _correct(kernels, p, s, field, stack, say), prepared, settings, say
        )


def with_memory_fallback(
    work: Callable[[Kernels, Prepared, Settings, Report], Found], prepared: Prepared, settings: Settings, say: Report
) -> Found:
    """``work``, with less GPU memory for frames, and then on the CPU, where the GPU has too little.

    Lines that were said are not said again.
    """
    said: set[str] = set()

    def once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    machine = settings.machine
    while True:
        kernels = make_kernels(machine)
        try:
            with kernels.active():
                return work(kernels, prepared, replace(settings, machine=machine), once)
        except Exception as error:
            if not kernels.is_out_of_memory(error):
                raise
        frames, refs = prepared.raw.to_host(), prepared.references
        if machine.gpu_memory > LEAST_SHARE:
            machine = replace(machine, gpu_memory=LEAST_SHARE)
            once("GPU memory is short: frames are read again in every pass.")
        else:
            machine, refs = replace(machine, gpus=()), refs.on_host(kernels)
            once("GPU memory is too short: the CPU is used.")
        again = make_kernels(machine)
        with again.active():
            prepared = replace(prepared, references=refs, raw=again.device_frames(frames, machine.gpu_memory))


def clock() -> Clock:
    """One that begins now."""
    begin = time.perf_counter()
    return lambda: time.perf_counter() - begin


def _correct(
    kernels: Kernels,
    prepared: Prepared,
    settings: Settings,
    field: MotionField | None,
    stack: TakeStack | None,
    say: Report,
) -> Result:
    elapsed = clock()
    return _restore(
        kernels, prepared, settings, _track(kernels, prepared, settings, field, say, elapsed), stack, say, elapsed
    )


@dataclass(frozen=True, eq=False)
class Tracked:
    """What is known of a movie before its sums are made."""

    survey: Survey
    measured: Measured  # motion that was given has no notes and no numbers

    @property
    def global_shifts(self) -> np.ndarray:
        """(t, 2) pixels, relative to the first frame."""
        whole = self.measured.field.global_displacement()
        return -(whole - whole[0])


def _track(
    kernels: Kernels, prepared: Prepared, settings: Settings, field: MotionField | None, say: Report, elapsed: Clock
) -> Tracked:
    """Bad pixels, calibration and motion (``field``, where it is known)."""
    movie, refs, used = prepared.movie, prepared.references, prepared.used
    shape = movie.shape[1:]
    if field is not None:
        check_field(field, (len(used.frames), *shape))
    for note in (*used.notes, *refs.notes):
        say(note)
    if refs.gain is None:
        say("Warning: Gain ref not found.")
        say("......   Gain correction will be skipped.")
    if not kernels.is_compiled():
        say(kernels.compiling_notice)
    if not prepared.raw.keep_frames:
        times = f"Frames are read {prepared.raw.frames_per_block} at a time and again in every pass, as "
        say(Message(times, prepared.raw.limiting_setting, " asks."))
    raw = prepared.raw
    shown = settings.motion.align or field is not None
    if not shown:
        field = MotionField.at_rest(len(used.frames), shape)
    factor = binning_factor(shape) if field is None else 0
    survey, small = survey_frames(kernels, raw, refs, settings.detector.find_defects, factor)
    pages.trim_heap()
    for note in movie.damage_report() if isinstance(movie, RenderedMovie) else ():
        say(note)
    if survey.gain_check and (better := survey.gain_check.better):
        say(better.advice(settings.detector.rot_gain, settings.detector.flip_gain))
    say(f"Frames read, small frames made: {elapsed():.2f} sec")
    say(f"Bad pixels: {len(survey.bad_rows)} of {shape[0] * shape[1]}, filled with the local mean")
    if (share := len(survey.bad_rows) / (shape[0] * shape[1])) > MANY_BAD:
        say(f"Warning: {share:.0%} of all pixels are bad. Are gain, defects and movie of the same camera and mode?")
    if field is None:
        counts, motion = survey.calibration.mean_counts, settings.motion
        grouping = [group_frames(used.weight, size) for size in motion.group]
        series = FrameSeries(small, shape, counts, used.dose, used.accumulated, *grouping)
        measured = measure(kernels, series, motion, settings.exposure)
        del series
    else:
        local = shown and min(settings.motion.patches) > 1
        measured = Measured(field, patch_shifts_from_field(field, settings.motion.patches) if local else None)
    del small
    pages.trim_heap()
    reference = reference_frame(len(used.frames), settings.motion.reference)
    # callers that count from one give the number of frames for the last
    if settings.motion.reference > len(used.frames):
        given = Setting("reference", settings.motion.reference)
        say(Message("Warning: ", given, f": the last frame used, {reference} from 0, is the reference."))
    tracked = Tracked(survey, replace(measured, field=measured.field.relative_to(reference)))
    if shown:
        say("\n".join(shift_table(tracked.global_shifts)))  # in one piece: nothing may come between its lines
        say(f"Global shifts are corrected: {elapsed():.6f} sec")
    for note in measured.notes:
        say(note)
    error = (measured.numbers or {}).get("error_px", 0.0)
    if error > UNKNOWN:
        say(f"Warning: too little signal to measure the motion: it may be wrong by {error:.1f} pixels (stated error).")
    return tracked


def _restore(
    kernels: Kernels,
    prepared: Prepared,
    settings: Settings,
    tracked: Tracked,
    stack: TakeStack | None,
    say: Report,
    elapsed: Clock,
) -> Result:
    """The sums. Forgets the raw frames as soon as they are not needed."""
    movie, used, plan, place, raw = prepared.movie, prepared.used, prepared.plan, prepared.place, prepared.raw
    survey, measured = tracked.survey, tracked.measured
    field = measured.field
    if any(not wanted.frames.any() for wanted in plan.sums if wanted.name == "dose_weighted_range"):
        dose_range = Setting("sum_range", settings.sums.sum_range)
        say(Message("Warning: no frame lies within ", dose_range, ": that sum (_DWS) is zero everywhere."))
    if place.stretched:
        major, minor, angle = settings.sums.magnification
        say(f"Mag stretch: {major / minor:.3f}  {-angle:.3f}")

    sizes = choose_sizes(place.shape, settings.sums.bin)
    calibration = survey.calibration
    global_sum = None
    if settings.sums.global_sum:
        only = dw.unweighted_plan(len(used.frames))
        resampling = make_resampling_map(kernels, field.global_only(), place, sizes)
        gathered = gather(kernels, raw, calibration, resampling, only.coefficients)
        global_sum = finish_images(kernels, gathered, resampling.spec(only, calibration))["sum"]
    resampling = make_resampling_map(kernels, field, place, sizes)
    if stack:
        stack(corrected_frame_groups(kernels, raw, calibration, resampling, settings.sums.stack_group))
    if settings.sums.intraframe_motion:
        moved = intraframe_motion(field.global_displacement(), [len(raws) for raws in used.frames])
        images = blur_weighted_sums(kernels, raw, calibration, resampling, plan, moved)
        raw.release()
    else:
        images = make_sums(kernels, raw, calibration, resampling, plan)
    say(f"Correction of local motion: {elapsed():.6f} sec")
    return Result(
        sum=images["sum"],
        pixel_size=output_pixel(settings) * settings.sums.bin,
        field=field,
        dose_weighted=images.get("dose_weighted"),
        dose_weighted_range=images.get("dose_weighted_range"),
        odd=images.get("odd"),
        even=images.get("even"),
        global_sum=global_sum,
        patches=measured.patches,
        global_shifts=tracked.global_shifts,
        movie_shape=(len(used.frames), *movie.shape[1:]),
        movie_format=movie.format,
        frames=used.frames,
        dose=used.dose,
        bad_pixels=np.stack([survey.bad_columns, survey.bad_rows], 1),
        decisions=measured.notes,
        numbers={"bad_pixels": float(len(survey.bad_rows)), **(measured.numbers or {})},
    )


def check_field(field: MotionField, shape: tuple[int, int, int]) -> None:
    """Raise InputError unless ``field`` is motion of used frames of ``shape`` (t, h, w)."""
    found = (field.n_frames, *field.shape)
    if found != shape:
        raise InputError(
            f"The known motion is that of {found[0]} frames of {found[2]} x {found[1]} pixels, this movie has "
            f"{shape[0]} used frames of {shape[2]} x {shape[1]}. Use the same ",
            Setting("throw"),
            ", ",
            Setting("trunc"),
            " and frames as when it was measured.",
        )


def output_pixel(settings: Settings) -> float:
    """A of an unbinned pixel of the sums, which the correction of anisotropic magnification made finer."""
    return settings.exposure.pixel_size / max(settings.sums.magnification[:2])


def wanted_sums(used: Fractions, settings: Settings) -> list[dw.Sum]:
    """The sums to be made, the plain one first."""
    t = len(used.frames)
    everything = np.ones(t)
    odd = (np.arange(t) % 2 == 0).astype(float)  # the first, third, ... frame
    halves = {"odd": odd, "even": 1 - odd} if settings.sums.split else {}
    pixel = output_pixel(settings)
    if not (settings.motion.align and pixel > 0 and used.dose.sum() > 0):
        return dw.unweighted_sums(t, {"sum": everything, **halves})
    weighted = {"dose_weighted": everything}
    if settings.sums.dose_range:
        low, high = settings.sums.dose_range
        weighted["dose_weighted_range"] = ((used.accumulated >= low) & (used.accumulated <= high)).astype(float)
    plain = dw.unweighted_sums(t, {"sum": everything})
    return plain + dw.dose_weighted_sums(used.accumulated, pixel, settings.exposure.voltage, weighted | halves)


def single_blas_thread():
    """Matrix products in one order of summation, whatever the number of threads: equal runs give equal bytes."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")
