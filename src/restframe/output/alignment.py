"""Motion saved in MotionCor's .aln files, for -OutAln and -InAln.

What MotionCor reads and people look at are shifts rounded to 0.001 px, at the patches' centres. A last line, a comment
to other programs, holds the field itself, so that motion that is read back gives the same images to the last bit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from restframe.errors import InputError, SettingsError
from restframe.messages import Setting
from restframe.output.text import rounded
from restframe.result import Result
from restframe.settings import Settings
from restframe.track.field import HIGHEST_DEGREE, MotionField, modes_up_to

EXACT = "#restframe-field "  # before the field as JSON


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


def alignment_text(result: Result, throw: int, trunc: int, patches: tuple[int, int]) -> str:
    """The content of the file. Shifts are minus the field: zero at the reference frame, local ones relative to the
    whole frame's.
    """
    t, h, w = result.movie_shape
    shown = patches if result.patches is not None else (0, 0)
    lines = [
        "setting",
        f"   stackSize: {w} {h} {t} 1",
        f"   patches: {shown[0]} {shown[1]} 0",
        f"   throw: {throw} {trunc}",
        "#    Global Shift",
        "#---------------------",
        "globalShift",
        "   stackID 0",
    ]
    whole = result.field.global_displacement()
    lines += [f"{i:6d}  {x:+8.3f}  {y:+8.3f}" for i, (x, y) in enumerate(rounded(-whole, 3))]
    if result.patches is not None:
        lines += ["#    Local Shift", "#---------------------", "localShift"]
        for number, (cx, cy) in enumerate(result.patches.centres):
            local = rounded(whole - result.field(cx, cy), 3)
            lines += [f"   patchID: {number}", "   Converge: 1"]
            lines += [f"{i:6d}  {cx:8.2f}  {cy:8.2f}  {x:+8.3f}  {y:+8.3f}" for i, (x, y) in enumerate(local)]
            lines.append("")
    return "\n".join([*lines, EXACT + json.dumps(result.field.to_dict()), ""])


def read_alignment(path: str | Path) -> Alignment:
    """Read a file of ours or MotionCor's, whose shifts at patches are fitted by a smooth field.

    Raises `InputError` for a file that is missing, cut short or of another kind.
    """
    try:
        text = Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(
            f"The motion in {path} cannot be read: {reason}. Save the motion of this movie first."
        ) from error
    try:
        return _parsed(text.splitlines())
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"{path} is no complete .aln file ({type(error).__name__}: {error}). Save the motion again."
        ) from error


def settings_with(alignment: Alignment, settings: Settings) -> Settings:
    """``settings`` for motion that is read back: frames left out, patches and frame at rest are those of the file where
    the user says nothing. Raises `SettingsError` where the user leaves out other frames.
    """
    e, m = settings.exposure, settings.motion
    saved, given = (alignment.throw, alignment.trunc), (e.throw, e.trunc)
    if given not in ((0, 0), saved):
        raise SettingsError(
            Setting("throw", e.throw),
            " ",
            Setting("trunc", e.trunc),
            ": the known motion (",
            Setting("field"),
            ") was measured with ",
            Setting("throw", saved[0]),
            " ",
            Setting("trunc", saved[1]),
            ". Give these, or leave them out.",
        )
    if min(m.patches) < 2:
        m = replace(m, patches=alignment.patches)
    if m.reference < 0 and alignment.exact:
        m = replace(m, reference=alignment.field.reference)
    return replace(settings, exposure=replace(e, throw=saved[0], trunc=saved[1]), motion=m)


def _parsed(lines: list[str]) -> Alignment:
    head = [line.partition(":") for line in lines[: lines.index("globalShift")] if ":" in line]
    setting = {key.strip(): [int(v) for v in values.split()] for key, _, values in head}
    (w, h, t, *_), (nx, ny, *_), (throw, trunc) = setting["stackSize"], setting["patches"], setting["throw"]
    exact = next((line for line in lines if line.startswith(EXACT)), None)
    if exact is not None:
        field = MotionField.from_dict(json.loads(exact.removeprefix(EXACT)))
        if (field.n_frames, *field.shape) != (t, h, w):
            raise ValueError(f"the field is of {field.n_frames} frames {field.shape}, the head says {t}, {(h, w)}")
    else:
        numbers = [[float(v) for v in line.split()] for line in lines if _is_row(line)]
        whole = np.array([row[1:] for row in numbers if len(row) == 3]).reshape(t, 2)
        local = np.array([row[1:] for row in numbers if len(row) == 5]).reshape(-1, t, 4)
        if len(local) != (nx * ny if min(nx, ny) > 1 else 0):
            raise ValueError(f"{len(local)} patches instead of {nx} x {ny}")
        field = fit_patches(whole, local[:, 0, :2], local[..., 2:], (nx, ny), (h, w))
    return Alignment(field, throw, trunc, (nx, ny), exact is not None)


def _is_row(line: str) -> bool:
    words = line.split()
    return bool(words) and words[0].isdigit()


def fit_patches(
    whole: np.ndarray, centres: np.ndarray, local: np.ndarray, patches: tuple[int, int], shape: tuple[int, int]
) -> MotionField:
    """The field whose least squares distance from shifts at patches is smallest.

    ``whole``: (t, 2) shifts; ``centres``: (p, 2) px; ``local``: (p, t, 2) shifts relative to the whole frame's. Modes
    up to a total degree that leaves fewer of them than patches, so that noise of single patches is smoothed.
    """
    if not len(centres):
        return MotionField(((0, 0),), -whole[None], shape)
    degree = min(max(patches) - 1, HIGHEST_DEGREE)
    modes = modes_up_to(min(patches[0] - 1, degree), min(patches[1] - 1, degree), degree)
    blank = MotionField(modes, np.zeros((len(modes), 1, 2)), shape)
    design = blank.mode_values(centres[:, 0], centres[:, 1]).T  # (p, modes)
    amplitudes = np.linalg.lstsq(design, -local.reshape(len(centres), -1), rcond=1e-6)[0]
    amplitudes = amplitudes.reshape(len(modes), *whole.shape)
    amplitudes[0] -= whole
    return MotionField(modes, amplitudes, shape)
