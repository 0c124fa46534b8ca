"""The record of one movie's correction, as JSON. docs/record.md describes every key."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from restframe.detector.defect_list import KINDS, LARGEST_LISTED, defect_regions
from restframe.detector.orientation import combined_turn
from restframe.output.command import NO_COMMAND, Command
from restframe.output.ctf import ctf_record
from restframe.output.motion_summary import accumulated_motion, largest_intraframe_motion, local_rms
from restframe.output.pictures import POWER_DIGITS, Pictures
from restframe.output.place import explaining, place_all
from restframe.output.text import rounded
from restframe.result import MovieInfo, Result
from restframe.settings import Settings
from restframe.track.field import MotionField
from restframe.version import VERSION

FORMAT = "restframe record"
FORMAT_VERSION = 1  # changes when a key is removed or gets another meaning; new keys do not change it
SHIFT_DIGITS = 4  # of pixels and A in lists
LISTED_BAD_PIXELS = 500  # positions in a record, at most


@dataclass(frozen=True)
class OutputFile:
    """A file that was written."""

    kind: str  # Result's name of an image, or stack, log, alignment, star, archive
    path: Path


@dataclass(frozen=True, eq=False)
class PictureFiles:
    """Pictures and where they were written, in the same order."""

    pictures: Pictures
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class StepSeconds:
    """Seconds that were spent outside of the correction itself."""

    reading: float
    saving: float


@dataclass(frozen=True)
class RunEntry:
    """What a later run needs to go on where this one stopped."""

    fingerprint: str = ""  # of what the outputs depend on; empty: not known
    text: tuple[str, ...] = ()  # that was printed about the movie
    command: Command = NO_COMMAND  # of the run
    durable: bool = False  # the record is forced to the disk


@dataclass(frozen=True)
class FailedMovie:
    """A movie that could not be corrected."""

    path: Path
    reason: str
    lasting: bool  # the same file fails again with the same settings


def write_record(
    path: Path,
    result: Result,
    files: Sequence[OutputFile],
    seconds: StepSeconds,
    entry: RunEntry | None = None,
    pictures: PictureFiles | None = None,
) -> None:
    """Put the record in place; its folder is made where it is missing. ``files`` and pictures must exist.

    Where ``entry`` says so, the record is on the disk when this function returns. Raises `OutputError`.
    """
    durable = entry is not None and entry.durable
    place_record(path, make_record(result, files, path.parent, seconds, entry, pictures), durable)


def write_failure(path: Path, movie: FailedMovie, entry: RunEntry) -> None:
    """Put the record of a movie that could not be corrected in place. Raises `OutputError`."""
    info = MovieInfo(movie.path, format="")
    with suppress(OSError):
        status = os.stat(movie.path)
        info = dataclasses.replace(info, size=status.st_size, modified=status.st_mtime)
    record = {
        **program_entry("failed"),
        "reason": movie.reason,
        "lasting": movie.lasting,
        "input": input_entry(info) | {"format": None, "shape": None, "dtype": None},
        "outputs": [],
        "machine": {"host": socket.gethostname()},
    }
    place_record(path, record | run_entry(entry), entry.durable)


def run_entry(entry: RunEntry) -> dict[str, Any]:
    """The keys that a later run reads."""
    return {
        "fingerprint": entry.fingerprint or None,
        "text": list(entry.text),
        "command": entry.command.entry(),
    }


def program_entry(status: str) -> dict[str, Any]:
    """The first keys of every record."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "status": status,
        "program": "restframe",
        "program_version": VERSION,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def place_record(path: Path, record: Mapping[str, Any], durable: bool = False) -> None:
    """Write it and put it in place. ``durable``: as for `place_all`."""
    text = json.dumps(as_json(record), indent=1, allow_nan=False) + "\n"

    def write(draft: Path) -> None:
        draft.write_text(text, encoding="ascii")

    with explaining(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    place_all([(path, write)], durable=durable)


def make_record(
    result: Result,
    files: Sequence[OutputFile],
    folder: Path,
    seconds: StepSeconds,
    entry: RunEntry | None = None,
    pictures: PictureFiles | None = None,
) -> dict[str, Any]:
    """The record as JSON holds it; ``folder``: where it will lie. Numbers that are not finite become None."""
    settings, motion = result.settings, motion_entry(result)
    record = {
        **program_entry("done"),
        **run_entry(entry or RunEntry()),
        "input": input_entry(result.movie),
        "settings": settings_entry(settings),
        "frames": frames_entry(result),
        "motion": motion,
        "ispyb": ispyb_entry(result, motion),
        "ctf": ctf_record(result.ctf) if result.ctf else None,
        "gain_check": gain_check_entry(result),
        "bad_pixels": bad_pixels_entry(result),
        "decisions": {"sentences": result.decisions, "values": result.numbers},
        "warnings": result.warnings,
        "outputs": [output_entry(one, folder) for one in files],
        **picture_entries(pictures, result, folder),
        "machine": {"host": socket.gethostname(), "gpus": settings.machine.gpus, "threads": settings.machine.threads},
        "seconds": {
            "reading": seconds.reading,
            "survey": result.timings.survey,
            "motion": result.timings.motion - result.timings.survey,
            "sums": result.timings.sums - result.timings.motion,
            "saving": seconds.saving,
        },
        "peak_memory_bytes": peak_memory_bytes(),
    }
    cleaned: dict[str, Any] = as_json(record)
    return cleaned


def input_entry(movie: MovieInfo) -> dict[str, Any]:
    """The movie's file, as it was when the correction began."""
    return {
        "path": movie.path and os.path.abspath(movie.path),
        "name": movie.path and movie.path.name,
        "size": movie.size,
        "modified": movie.modified,
        "format": movie.format,
        "shape": movie.shape,
        "dtype": movie.dtype,
    }


def settings_entry(settings: Settings) -> dict[str, Any]:
    """All settings by topic and field."""
    return {
        topic.name: {
            one.name: _described(getattr(getattr(settings, topic.name), one.name))
            for one in dataclasses.fields(getattr(settings, topic.name))
        }
        for topic in dataclasses.fields(settings)
        if topic.name != "given"
    }


def _described(value: object) -> object:
    """A setting's value; of an array only its shape and type."""
    return {"shape": value.shape, "dtype": str(value.dtype)} if isinstance(value, np.ndarray) else value


def frames_entry(result: Result) -> dict[str, Any]:
    """The used frames and their dose."""
    dose_known = bool(result.dose.sum() > 0)
    return {
        "count": result.movie_shape[0],
        "height": result.movie_shape[1],
        "width": result.movie_shape[2],
        "first_raw": [numbers.start for numbers in result.frames],
        "raw_count": [len(numbers) for numbers in result.frames],
        "dose_known": dose_known,
        "dose": result.dose if dose_known else None,
        "accumulated_dose": result.accumulated_dose if dose_known else None,
        "total_dose": result.accumulated_dose[-1] if dose_known else None,
        "counts_per_pixel": result.numbers.get("counts_per_pixel"),
    }


def motion_entry(result: Result) -> dict[str, Any]:
    """The global track and what the motion amounts to, in A, and in pixels of the unbinned movie."""
    pixel_size = result.settings.exposure.pixel_size
    scale = pixel_size if pixel_size > 0 else math.nan  # lengths in A are null where the pixel size is unknown
    path = accumulated_motion(result.global_shifts, result.accumulated_dose)
    durations = [float(len(numbers)) for numbers in result.frames] or [1.0] * result.field.n_frames
    local_px = local_rms(result.field)
    intraframe_px = largest_intraframe_motion(result.field, durations)
    error_px = math.nan if result.stated_error_px is None else result.stated_error_px
    report = result.motion_report
    return {
        "pixel_size": pixel_size or None,
        "reference_frame": result.field.reference,
        "global_shifts_px": rounded(result.global_shifts, SHIFT_DIGITS),
        "total": path.total * scale,
        "early": None if path.early is None else path.early * scale,
        "late": None if path.late is None else path.late * scale,
        "average_per_frame": path.average_per_frame * scale,
        "local_rms": local_px * scale,
        "largest_intraframe": intraframe_px * scale,
        "stated_error": error_px * scale,
        "total_px": path.total,
        "local_rms_px": local_px,
        "largest_intraframe_px": intraframe_px,
        "stated_error_px": error_px,
        "standing_share": report.standing_share if report else None,
        "standing_places": [list(place) for place in report.standing_places] if report else None,
        "field": rounded_field(result.field),
    }


def rounded_field(field: MotionField) -> dict[str, Any]:
    """The motion field as `MotionField.from_dict` takes it, amplitudes rounded."""
    return {**field.to_dict(), "amplitudes": rounded(field.amplitudes, SHIFT_DIGITS)}


def ispyb_entry(result: Result, motion: Mapping[str, Any]) -> dict[str, Any]:
    """``motion``, in A, in the keys of ISPyB's table MotionCorrection; frames from 1."""
    frames = result.frames
    return {
        "firstFrame": frames[0].start + 1 if frames else None,
        "lastFrame": frames[-1].stop if frames else None,
        "dosePerFrame": result.dose.mean() if result.dose.sum() > 0 else None,
        "totalMotion": motion["total"],
        "averageMotionPerFrame": motion["average_per_frame"],
        "earlyMotion": motion["early"],
        "lateMotion": motion["late"],
    }


def gain_check_entry(result: Result) -> dict[str, Any] | None:
    """How well the gain reference agrees with the movie, and the orientation that clearly agrees better, if any."""
    check, detector = result.gain_check, result.settings.detector
    if check is None:
        return None
    better = check.better
    as_given = detector.rot_gain, detector.flip_gain
    rot_gain, flip_gain = combined_turn(as_given, better.turn) if better else (None, None)
    return {
        "correlation": check.correlation,
        "chance": check.chance,
        "better_rot_gain": rot_gain,
        "better_flip_gain": flip_gain,
        "better_correlation": better.correlation if better else None,
    }


def bad_pixels_entry(result: Result) -> dict[str, Any]:
    """How many pixels were filled with the local mean, the kinds of regions they form, and the largest of these."""
    count, pixel_count = len(result.bad_pixels), result.movie_shape[1] * result.movie_shape[2]
    regions = defect_regions(result.bad_pixels, (result.movie_shape[1], result.movie_shape[2]))
    return {
        "count": count,
        "fraction": count / pixel_count if pixel_count else None,
        "regions": {kind.replace(" ", "_"): sum(region.kind == kind for region in regions) for kind in KINDS},
        "largest": [list(region[1:5]) for region in regions[:LARGEST_LISTED]],
        "positions": result.bad_pixels[:: max(-(-count // LISTED_BAD_PIXELS), 1)],
    }


def output_entry(file: OutputFile, folder: Path) -> dict[str, Any]:
    """A file that was written, its path relative to the record's folder, so that both can be moved together."""
    try:
        path = os.path.relpath(file.path, folder)
    except ValueError:  # on another drive of a Windows computer
        path = os.path.abspath(file.path)
    return {"kind": file.kind, "path": Path(path).as_posix(), "size": os.stat(file.path).st_size}


def picture_entries(files: PictureFiles | None, result: Result, folder: Path) -> dict[str, Any]:
    """The pictures of the movie, and the spectrum that one of them shows."""
    if files is None:
        return {"pictures": [], "spectrum": None}
    entries = []
    for picture, path in zip(files.pictures.pictures, files.paths, strict=True):
        height, width = picture.pixels.shape
        place = output_entry(OutputFile(picture.kind, path), folder)
        entries.append({**place, "image": picture.image, "width": width, "height": height})
    log_power, before = files.pictures.log_power, files.pictures.log_power_before
    spectrum = {
        "image": "sum",
        "pixel_size": result.pixel_size or None,
        "log10_power": [round(float(value), POWER_DIGITS) for value in log_power],
        "log10_power_before": None if before is None else [round(float(value), POWER_DIGITS) for value in before],
        "pixel_size_before": result.settings.exposure.pixel_size or None,
    }
    return {"pictures": entries, "spectrum": spectrum}


def peak_memory_bytes() -> int | None:
    """The largest memory of this process so far; None where the system does not tell.

    Linux counts in ru_maxrss also the memory of the process that started this one, so /proc is read there.
    """
    try:
        match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    except (OSError, ValueError):  # not on Linux
        match = None
    if match:
        return 1024 * int(match[1])
    try:
        import resource
    except ImportError:  # on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else 1024 * peak)


def as_json(value: Any) -> Any:
    """``value`` of types that JSON has: arrays as lists, numbers that are not finite as None, paths as text."""
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, tuple | list | np.ndarray):
        return [as_json(one) for one in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value if value is None else os.fspath(value)
