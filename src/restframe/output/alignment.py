"""Motion saved in MotionCor's .aln files, for -OutAln and -InAln.

The shifts at the patches' centres, rounded to 0.001 px, are what MotionCor reads. The last line, a comment to other
programs, holds the field itself, so that motion that is read back gives the same bytes in the images.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from restframe.arrays import FloatArray
from restframe.errors import InputError, SettingsError
from restframe.files import check_regular
from restframe.messages import Setting
from restframe.output.raw_time import field_at, middles
from restframe.output.read_star import is_star_of_motion, parse_star_motion
from restframe.output.text import rounded
from restframe.result import Result
from restframe.settings import Settings
from restframe.track.field import HIGHEST_DEGREE, MAX_SIDE_PX, MotionField, modes_up_to
from restframe.track.patches import patch_centres

FRACTION_COUNT = "#restframe-fractions "  # where the rows above are those of raw frames
STAR_PATCHES = 5, 5  # of logs, where motion with a local part is read from a STAR file
EXACT_FIELD = "#restframe-field "  # before the field as JSON


@dataclass(frozen=True)
class Alignment:
    """The content of an .aln file."""

    field: MotionField
    throw: int  # frames left out at the start and the end of the movie that was measured
    trunc: int
    patches: tuple[int, int]
    exact: bool  # the field itself was in the file, not only shifts at patches


def alignment_path(folder: str | Path, movie: str | Path) -> Path:
    """Where a movie's motion is saved: its name in ``folder``, the last extension replaced by .aln."""
    return Path(folder) / f"{Path(movie).stem}.aln"


@dataclass(frozen=True, eq=False)
class ShownMotion:
    """What the rows of the file hold."""

    field: MotionField
    global_displacement: FloatArray  # (t, 2)
    patches: tuple[int, int]  # along x and y; 0: no local motion
    centres: FloatArray  # (p, 2) of the patches
    throw: int = 0
    trunc: int = 0


def alignment_text(result: Result, throw: int, trunc: int, patches: tuple[int, int]) -> str:
    """The content of the file. Shifts are minus the field: zero at the reference frame, local ones relative to the
    global ones.
    """
    field, global_displacement = _shown_motion(result, trunc)
    has_patches = result.patches is not None
    centres = result.patches.centres if result.patches is not None else np.zeros((0, 2))
    shown = ShownMotion(field, global_displacement, patches if has_patches else (0, 0), centres, throw, trunc)
    return _text(shown, result.field)


def field_alignment_text(field: MotionField, patches: tuple[int, int]) -> str:
    """The content of the file for a field alone."""
    if len(field.modes) < 2:
        patches = (0, 0)
    centres = patch_centres(field.shape, patches) if min(patches) else np.zeros((0, 2))
    return _text(ShownMotion(field, field.global_displacement(), patches, centres), field)


def _text(shown: ShownMotion, exact_field: MotionField) -> str:
    field, (height, width) = shown.field, exact_field.shape
    frame_count = field.n_frames
    lines = [
        "setting",
        f"   stackSize: {width} {height} {frame_count} 1",
        f"   patches: {shown.patches[0]} {shown.patches[1]} 0",
        f"   throw: {shown.throw} {shown.trunc}",
        "#    Global Shift",
        "#---------------------",
        "globalShift",
        "   stackID 0",
    ]
    global_shifts = rounded(-shown.global_displacement, 3)
    lines += [f"{frame:6d}  {x:+8.3f}  {y:+8.3f}" for frame, (x, y) in enumerate(global_shifts)]
    if min(shown.patches):
        lines += ["#    Local Shift", "#---------------------", "localShift"]
        for number, (centre_x, centre_y) in enumerate(shown.centres):
            local_shifts = rounded(shown.global_displacement - field(centre_x, centre_y), 3)
            place = f"{centre_x:8.2f}  {centre_y:8.2f}"
            lines += [f"   patchID: {number}", "   Converge: 1"]
            lines += [f"{frame:6d}  {place}  {x:+8.3f}  {y:+8.3f}" for frame, (x, y) in enumerate(local_shifts)]
            lines.append("")
    if frame_count != exact_field.n_frames:
        lines.append(f"{FRACTION_COUNT}{exact_field.n_frames}")
    return "\n".join([*lines, EXACT_FIELD + json.dumps(exact_field.to_dict()), ""])


def _shown_motion(result: Result, trunc: int) -> tuple[MotionField, FloatArray]:
    """The motion, and that of the whole frame, in the rows of the file.

    One row for each fraction; for an EER movie whose fractions nobody asked for, one for each raw frame of the file, as
    programs read it that do not know how many fractions there are.
    """
    field = result.field
    if result.movie_format == "eer" and result.settings.exposure.integration is None:
        raw_count = result.frames[-1].stop + trunc
        field = field_at(field, middles(result.frames), np.arange(raw_count) + 0.5)
    return field, field.global_displacement()


def read_alignment(path: str | Path) -> Alignment:
    """Read a file of ours or MotionCor's, whose shifts at patches are fitted by a smooth field, or RELION's STAR file.

    Raises `InputError` for a file that is missing, cut short or of another kind.
    """
    check_regular(path)
    try:
        text = Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(
            f"The motion in {path} cannot be read: {reason}. Save the motion of this movie first."
        ) from error
    try:
        alignment = _of_star(text) if is_star_of_motion(text) else _parsed(text.splitlines())
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError) as error:
        kind, reason = "STAR" if is_star_of_motion(text) else ".aln", f"{type(error).__name__}: {str(error)[:200]}"
        raise InputError(f"{path} is no complete {kind} file ({reason}). Save the motion again.") from error
    impossibility = alignment.field.impossibility()
    if impossibility:
        raise InputError(f"The motion in {path} cannot be right: {impossibility}. Save the motion again.")
    return alignment


def settings_with(alignment: Alignment, settings: Settings) -> Settings:
    """``settings`` for motion that is read back. Frames left out, patches and the reference frame are those of the file
    where the user says nothing. Raises `SettingsError` where the user leaves out other frames.
    """
    exposure, motion = settings.exposure, settings.motion
    saved, given = (alignment.throw, alignment.trunc), (exposure.throw, exposure.trunc)
    if given not in ((0, 0), saved):
        raise SettingsError(
            Setting("throw", exposure.throw),
            " ",
            Setting("trunc", exposure.trunc),
            ": the known motion (",
            Setting("field"),
            ") was measured with ",
            Setting("throw", saved[0]),
            " ",
            Setting("trunc", saved[1]),
            ". Give these, or leave them out.",
        )
    if min(motion.patches) < 2:
        motion = replace(motion, patches=alignment.patches)
    if motion.reference < 0 and alignment.exact:
        motion = replace(motion, reference=alignment.field.reference)
    return replace(settings, exposure=replace(exposure, throw=saved[0], trunc=saved[1]), motion=motion)


def _of_star(text: str) -> Alignment:
    """The motion of RELION's STAR file."""
    motion = parse_star_motion(text)
    patches = STAR_PATCHES if motion.has_local_motion else (0, 0)
    return Alignment(motion.field, motion.throw, motion.trunc, patches, exact=False)


def _parsed(lines: list[str]) -> Alignment:
    head = [line.partition(":") for line in lines[: lines.index("globalShift")] if ":" in line]
    values_by_key = {key.strip(): [int(value) for value in values.split()] for key, _, values in head}
    width, height, frame_count, *_ = values_by_key["stackSize"]
    columns, rows, *_ = values_by_key["patches"]
    throw, trunc = values_by_key["throw"]
    numbers = width, height, frame_count, columns, rows, throw, trunc
    if min(width, height, frame_count) < 1 or min(numbers) < 0 or max(numbers) > MAX_SIDE_PX:
        raise ValueError("a size or number in its head is impossible")
    exact_line = next((line for line in lines if line.startswith(EXACT_FIELD)), None)
    if exact_line is not None:
        field = MotionField.from_dict(json.loads(exact_line.removeprefix(EXACT_FIELD)))
        fraction_line = next((line for line in lines if line.startswith(FRACTION_COUNT)), None)
        if fraction_line is not None:
            frame_count = int(fraction_line.removeprefix(FRACTION_COUNT))
        if (field.n_frames, *field.shape) != (frame_count, height, width):
            raise ValueError(
                f"the field is of {field.n_frames} frames {field.shape}, the head says {frame_count}, {(height, width)}"
            )
    else:
        field = _field_of_shifts(lines, (columns, rows), (frame_count, height, width))
    return Alignment(field, throw, trunc, (columns, rows), exact_line is not None)


def _field_of_shifts(lines: list[str], patches: tuple[int, int], shape: tuple[int, int, int]) -> MotionField:
    """The field that fits the shifts in a file of MotionCor; ``shape``: (t, h, w)."""
    frame_count, height, width = shape
    shift_rows = [[float(word) for word in line.split()] for line in lines if _is_row(line)]
    global_shifts = np.array([row[1:] for row in shift_rows if len(row) == 3]).reshape(frame_count, 2)
    local_rows = np.array([row[1:] for row in shift_rows if len(row) == 5]).reshape(-1, frame_count, 4)
    expected_count = patches[0] * patches[1] if min(patches) > 1 else 0
    if len(local_rows) != expected_count:
        raise ValueError(f"{len(local_rows)} patches instead of {patches[0]} x {patches[1]}")
    centres, local_shifts = local_rows[:, 0, :2], local_rows[..., 2:]
    return fit_patches(global_shifts, centres, local_shifts, patches, (height, width))


def _is_row(line: str) -> bool:
    words = line.split()
    return bool(words) and words[0].isdigit()


def fit_patches(
    global_shifts: FloatArray,
    centres: FloatArray,
    local_shifts: FloatArray,
    patches: tuple[int, int],
    shape: tuple[int, int],
) -> MotionField:
    """The field whose least squares distance from shifts at patches is smallest.

    ``global_shifts``: (t, 2); ``centres``: (p, 2) px; ``local_shifts``: (p, t, 2), relative to the global ones;
    ``shape``: (h, w). The modes' total degree leaves fewer modes than patches, so that noise of single patches is
    smoothed.
    """
    if not len(centres):
        return MotionField(((0, 0),), -global_shifts[None], shape)
    degree = min(max(patches) - 1, HIGHEST_DEGREE)
    modes = modes_up_to(min(patches[0] - 1, degree), min(patches[1] - 1, degree), degree)
    empty_field = MotionField(modes, np.zeros((len(modes), 1, 2)), shape)
    design = empty_field.mode_values(centres[:, 0], centres[:, 1]).T  # (p, modes)
    coefficients = np.linalg.lstsq(design, -local_shifts.reshape(len(centres), -1), rcond=1e-6)[0]
    amplitudes = coefficients.reshape(len(modes), *global_shifts.shape)
    amplitudes[0] -= global_shifts
    return MotionField(modes, amplitudes, shape)
