"""The first step of one movie's correction: all that is known before its frames are read."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from restframe import memory
from restframe.detector.binned import binning_factor
from restframe.detector.references import References, load_references
from restframe.errors import InputError, SettingsError
from restframe.kernels import thread_count
from restframe.kernels.interface import Kernels
from restframe.messages import Setting
from restframe.movie import Movie, RawFrames
from restframe.movie.fractions import Fractions, make_fractions
from restframe.movie.rendered import RenderedMovie, all_values_finite
from restframe.movie.stated import with_metadata
from restframe.optics import critical_dose
from restframe.plausible import check_dose_weights
from restframe.restore import dose
from restframe.restore.placement import Placement, make_placement
from restframe.restore.sizes import choose_sizes
from restframe.result import MovieInfo
from restframe.settings import Detector, Exposure, Settings

MIN_SIDE_PX = 8  # of a frame, an output, or a patch


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
