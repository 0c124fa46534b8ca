"""What the page of a session shows, as plain data for JSON. Made from records only."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from restframe.output.names import PICTURE_FOLDER
from restframe.report.motion import local_motion, motion_errors
from restframe.report.records import Content, Record
from restframe.report.star_set import Optics, micrograph_row

DIGITS = 4  # significant ones of a value
RETRY_FLAG = "--retry-failed"


@dataclass(frozen=True)
class Column:
    """A value of each movie: a column of the table and, where wanted, a trend."""

    key: str
    label: str
    unit: str
    description: str
    limit: str = "above"  # side on which a value is marked by a threshold: above or below
    trend: bool = True


COLUMNS = (
    Column("total", "Total motion", "A", "Length of the path of the global motion."),
    Column("early", "Early motion", "A", "The part of the path up to a dose of 4 e/A²."),
    Column("late", "Late motion", "A", "The rest of the path."),
    Column("local_rms", "Local motion", "A", "Root mean square of the local motion over positions and frames."),
    Column("largest_intraframe", "Motion in a frame", "A", "The farthest that any place moves during one frame."),
    Column("stated_error", "Error of motion", "A", "Expected error of the measured motion, root mean square."),
    Column("defocus", "Defocus", "µm", "Mean of both principal values; underfocus is positive."),
    Column("astigmatism", "Astigmatism", "A", "Difference of both principal values of the defocus."),
    Column("fit_resolution", "CTF fit", "A", "Resolution up to which the fitted CTF agrees with the spectrum."),
    Column("phase_shift", "Phase shift", "°", "Of a phase plate, where it was fitted."),
    Column("tilt", "Tilt", "°", "Tilt of the ice, where a plane of defocus was fitted."),
    Column("ice_ring", "Ice ring", "", "Density of the ring of crystalline ice, by RELION's rule."),
    Column("counts_dose", "Dose from counts", "e/A²", "Mean count per area, if one count is one electron."),
    Column("dose", "Stated dose", "e/A²", "Dose received by the end of the last used frame.", trend=False),
    Column("gain", "Gain check", "", "Correlation of the gain reference with the movie's sum.", limit="below"),
    Column("bad_pixels", "Bad pixels", "", "Pixels that were filled with the local mean."),
    Column("seconds", "Time taken", "s", "From reading to saving.", trend=False),
)


def movie_row(record: Record, optics: Optics) -> dict[str, Any]:
    """One movie of the table. Keys with no value are left out."""
    table_row: dict[str, Any] = {
        "name": record.name,
        "status": record.content.get("status"),
        "finished": seconds_since_1970(record.content.get("finished")),
    }
    if not record.done:
        reason = str(record.content.get("reason") or "no reason was recorded")
        return table_row | {"reason": reason, "retry": retry_command(record), "values": {}}
    table_row["values"] = {key: value for key, value in values_of(record).items() if value is not None}
    table_row["errors"] = {key: value for key, value in errors_of(record).items() if value is not None}
    table_row["thumbnail"] = picture_address(record, "thumbnail")
    table_row["optics"] = optics.group_of(record)
    table_row["warnings"] = len(record.content.get("warnings") or [])
    table_row["star"] = micrograph_row(record, optics)
    table_row["file"] = str(record.file("dose_weighted") or record.file("sum") or "")
    return table_row


def values_of(record: Record) -> dict[str, float | None]:
    """The values of `COLUMNS`."""
    pixel_size, counts = record.number("motion.pixel_size"), record.number("frames.counts_per_pixel")
    defocus_u, defocus_v = record.number("ctf.defocus_u_a"), record.number("ctf.defocus_v_a")
    if record.value("ctf.found") is False or defocus_u is None or defocus_v is None:
        defocus = astigmatism = None
    else:
        defocus, astigmatism = (defocus_u + defocus_v) / 2e4, abs(defocus_u - defocus_v)
    seconds = record.value("seconds") or {}
    values = {
        **{key: record.number(f"motion.{key}") for key in ("total", "early", "late", "local_rms")},
        "largest_intraframe": record.number("motion.largest_intraframe"),
        "stated_error": record.number("motion.stated_error"),
        "defocus": defocus,
        "astigmatism": astigmatism,
        "fit_resolution": None if defocus is None else record.number("ctf.fit_resolution_a"),
        **{key: None if defocus is None else value for key, value in fitted_values(record).items()},
        "counts_dose": counts / pixel_size**2 if counts is not None and pixel_size else None,
        "dose": record.number("frames.total_dose"),
        "gain": record.number("gain_check.correlation"),
        "bad_pixels": record.number("bad_pixels.count"),
        "seconds": sum(seconds.values()) if seconds else None,
    }
    return {key: rounded(value) for key, value in values.items()}


def fitted_values(record: Record) -> dict[str, float | None]:
    """Values of a CTF that are not always fitted: those without an error were not."""
    names = {"phase_shift": "phase_shift", "tilt": "tilt_angle"}
    return {
        key: None if record.number(f"ctf.{name}_error_deg") is None else record.number(f"ctf.{name}_deg")
        for key, name in names.items()
    } | {"ice_ring": record.number("ctf.ice_ring_density")}


def errors_of(record: Record) -> dict[str, float | None]:
    """Standard deviations of values, where they are known."""
    total_error, early_error, late_error = motion_errors(record)
    defocus, astigmatism = record.number("ctf.defocus_error_a"), record.number("ctf.astigmatism_error_a")
    errors = {
        "total": total_error,
        "early": early_error,
        "late": late_error,
        "defocus": None if defocus is None else defocus / 1e4,
        "astigmatism": astigmatism,
        "phase_shift": record.number("ctf.phase_shift_error_deg"),
        "tilt": record.number("ctf.tilt_angle_error_deg"),
        "gain": record.number("gain_check.chance"),
    }
    return {key: rounded(value) for key, value in errors.items()}


def details(record: Record) -> dict[str, Any]:
    """What is only shown for one movie."""
    shared_entries = {"input": record.value("input.path"), "record": record.path.name}
    if not record.done:
        return shared_entries
    pixel_size = record.number("motion.pixel_size")
    shifts = np.array(record.value("motion.global_shifts_px") or np.zeros((0, 2)), float).reshape(-1, 2)
    return shared_entries | {
        "pixel_size": pixel_size,
        "width": record.value("frames.width"),
        "height": record.value("frames.height"),
        "track": np.round(-shifts * (pixel_size or 1), 3).tolist(),
        "local": local_paths(record),
        "dose": record.value("frames.accumulated_dose"),
        "spectrum": picture_address(record, "spectrum"),
        "spectrum_pixel_size": record.value("spectrum.pixel_size"),
        "rings": ring_curves(record),
        "voltage": record.value("settings.exposure.voltage"),
        "ctf": ctf_entry(record),
        "decisions": record.value("decisions.sentences") or [],
        "warnings": record.content.get("warnings") or [],
        "gain_advice": gain_advice(record),
        "outputs": [
            str(local_path) for picture_kind in output_kinds(record) for local_path in record.files(picture_kind)
        ],
        "host": record.value("machine.host"),
        "program": f"{record.content.get('program')} {record.content.get('program_version')}",
    }


def local_paths(record: Record) -> list[Any] | None:
    """For each place x, y and its displacement at a few frames, in unbinned pixels."""
    local_field = local_motion(record)
    if local_field is None:
        return None
    frame_count = local_field.paths.shape[1]
    frames = np.unique(np.linspace(0, frame_count - 1, min(frame_count, 6)).round().astype(int))
    return [
        [round(float(x), 1), round(float(y), 1), local_path[frames].round(3).tolist()]
        for x, y, local_path in zip(local_field.x, local_field.y, local_field.paths, strict=True)
    ]


def ring_curves(record: Record) -> list[dict[str, Any]]:
    """log10 of the power of rings before and after the correction, with the highest frequency of each in 1/A."""
    curves = []
    for suffix, label in (("_before", "before"), ("", "after")):
        values, pixel_size = (
            record.numbers(f"spectrum.log10_power{suffix}"),
            record.number(f"spectrum.pixel_size{suffix}"),
        )
        if values and pixel_size:
            curves.append({"label": label, "nyquist": 0.5 / pixel_size, "values": [round(one, 3) for one in values]})
    return curves


def ctf_entry(record: Record) -> Content | None:
    """What the rings of the spectrum are drawn from; None where no CTF was found."""
    ctf_values = record.value("ctf")
    return ctf_values if isinstance(ctf_values, dict) and ctf_values.get("found") is not False else None


def gain_advice(record: Record) -> str | None:
    """Where another orientation of the gain reference agrees clearly better with the movie."""
    rot_gain, flip_gain = record.value("gain_check.better_rot_gain"), record.value("gain_check.better_flip_gain")
    if rot_gain is None and flip_gain is None:
        return None
    return f"The gain reference agrees better with -RotGain {rot_gain} -FlipGain {flip_gain}."


def output_kinds(record: Record) -> list[str]:
    """Kinds of the outputs, each once, in their order."""
    return list(dict.fromkeys(str(one["kind"]) for one in record.content.get("outputs") or []))


def retry_command(record: Record) -> str | None:
    """The command that corrects movies that failed again, for a shell; None where the record holds none."""
    words, folder = record.value("command.words"), record.value("command.folder")
    if not isinstance(words, list) or not words:
        return None
    shown = [str(word) for word in words]
    if RETRY_FLAG not in map(str.lower, shown):
        shown += [RETRY_FLAG, "1"]
    return (f"cd {shlex.quote(str(folder))} && " if folder else "") + shlex.join(shown)


def picture_address(record: Record, picture_kind: str) -> str | None:
    """The address of a picture as the page, which lies beside the records, names it."""
    for one in record.content.get("pictures") or []:
        if one["kind"] == picture_kind:
            return quote(f"{PICTURE_FOLDER}/{Path(one['path']).name}")
    return None


def seconds_since_1970(time_text: Any) -> float | None:
    """A time in ISO 8601 as a number."""
    try:
        return datetime.fromisoformat(str(time_text)).timestamp()
    except ValueError:
        return None


def rounded(value: float | None) -> float | None:
    """``value`` with a few significant digits."""
    return None if value is None else float(f"{value:.{DIGITS}g}")
