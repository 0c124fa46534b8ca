"""Motion in files of restframe, RELION and MotionCor, for library users."""

from __future__ import annotations

import json
from os import PathLike, fspath
from pathlib import Path

import numpy as np

from restframe.arrays import FloatArray
from restframe.errors import InputError
from restframe.output.alignment import STAR_PATCHES, field_alignment_text, fit_patches, read_alignment
from restframe.output.place import place_all
from restframe.output.star import StarMovie, field_star_text
from restframe.track.field import MotionField

__all__ = ["StarMovie", "read_motion", "write_motion"]

LOG_ENDS = ("-Patch-Patch.log", "-Patch-Full.log", "-Patch-Frame.log", "-Full.log")
PATCH_LOG, PATCH_GLOBAL_LOG, GLOBAL_LOG = "-Patch-Patch.log", "-Patch-Full.log", "-Full.log"


def read_motion(path: str | PathLike[str], shape: tuple[int, int] | None = None) -> MotionField:
    """The motion in a file: what `MotionField.save` wrote, an .aln file, RELION's STAR file of a movie, or MotionCor's
    logs (any of ``-Full.log``, ``-Patch-Full.log``, ``-Patch-Patch.log``; the others are looked for beside it).

    ``shape``: (h, w) of an unbinned frame, needed for logs of global motion, which do not name it. Logs and STAR files
    hold shifts relative to the first used frame, so the field is zero there; see `MotionField.relative_to`. Shifts of
    patches are fitted by a smooth field. Raises `InputError`.

        field = restframe.read_motion("MotionCorr/job002/movie.star")
    """
    name = fspath(path)
    end = next((one for one in LOG_ENDS if name.endswith(one)), None)
    if end:
        return _read_logs(name.removesuffix(end), shape)
    try:
        begins_json = Path(path).read_text(encoding="ascii", errors="replace").lstrip().startswith("{")
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.") from error
    return MotionField.load(path) if begins_json else read_alignment(name).field


def write_motion(field: MotionField, path: str | PathLike[str], movie: StarMovie) -> None:
    """Write a field to a file whose format the end of its name says; see `MotionField.save`. Raises `OutputError`."""
    target = Path(path)
    match target.suffix.lower():
        case ".star":
            text = field_star_text(field, movie, STAR_PATCHES)
        case ".aln":
            text = field_alignment_text(field, STAR_PATCHES)
        case _:
            text = json.dumps(field.to_dict()) + "\n"

    def write(draft: Path) -> None:
        draft.write_text(text, encoding="utf-8")

    place_all([(target, write)])


def _read_logs(base: str, shape: tuple[int, int] | None) -> MotionField:
    """The motion in the logs whose names begin with ``base``."""
    has_patches = Path(f"{base}{PATCH_LOG}").exists()
    global_path = f"{base}{PATCH_GLOBAL_LOG if Path(f'{base}{PATCH_GLOBAL_LOG}').exists() else GLOBAL_LOG}"
    try:
        global_shifts = _numbers(global_path)[:, 1:3]
        if not has_patches:
            if shape is None:
                raise InputError(f"{global_path} does not name the size of the frames. Give shape=(h, w).")
            return MotionField(((0, 0),), -global_shifts[None], shape)
        rows = _numbers(f"{base}{PATCH_LOG}")
        width, height = _size_in_log(f"{base}{PATCH_LOG}")
        # frame x y, then the fitted shift: the last two columns of seven, columns four and five of six
        fitted = rows[:, 5:7] if rows.shape[1] == 7 else rows[:, 3:5]
        by_patch = np.concatenate([rows[:, 1:3], fitted], 1).reshape(-1, len(global_shifts), 4)
        centres = by_patch[:, 0, :2]
        counts = len(np.unique(centres[:, 0])), len(np.unique(centres[:, 1]))
        return fit_patches(global_shifts, centres, by_patch[..., 2:], counts, (height, width))
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}.") from error
    except (ValueError, IndexError) as error:
        raise InputError(f"The logs {base}... are not complete ({error}).") from error


def _numbers(path: str) -> FloatArray:
    """All rows of numbers."""
    lines = Path(path).read_text(encoding="ascii").splitlines()
    rows = [[float(word) for word in line.split()] for line in lines if line.strip() and not line.startswith("#")]
    return np.array(rows, float)


def _size_in_log(path: str) -> tuple[int, int]:
    """(w, h) that the head of a log of patches names."""
    for line in Path(path).read_text(encoding="ascii").splitlines():
        if line.startswith("# Movie size:"):
            width, height, *_ = line.removeprefix("# Movie size:").split()
            return int(width), int(height)
    raise ValueError("no line '# Movie size:'")
