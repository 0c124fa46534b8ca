"""Motion in a STAR file as RELION's polishing reads it.

Shifts in unbinned pixels, minus the motion field, relative to the first used frame; frames counted from 1 over the
whole movie. RELION sums the raw frames of EER movies itself, the same number of them from raw frame 0 on: motion is
given for those sums, and for each raw frame of other movies. The local motion is RELION's polynomial of 18
coefficients an axis,

    local = sum_s sum_k c[3 s + k] s(x, y) z^(k + 1),   s in 1, x, x², y, y², x y,   k = 0, 1, 2

with x, y from -0.5 to 0.5 over the frame and z the number of frames after the first used one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from restframe.arrays import FloatArray
from restframe.errors import InputError
from restframe.files import check_regular
from restframe.output.raw_time import RelionFrames, field_at, interpolated, middles, relion_frames
from restframe.output.text import rounded
from restframe.result import PatchShifts, Result
from restframe.settings import Settings
from restframe.track.field import MotionField
from restframe.track.patches import patch_shifts_from_field
from restframe.version import VERSION

UNUSED_SHIFT = -9999.0  # of a frame that is left out
GRID_POINTS = 17  # along each side, where the polynomial is fitted
FRAME_LABEL = "rlnMicrographFrameNumber"
COORDINATE_LABELS = ("rlnCoordinateX", "rlnCoordinateY")
SHIFT_LABELS = ("rlnMicrographShiftX", "rlnMicrographShiftY")
COEFFICIENT_LABELS = ("rlnMotionModelCoeffsIdx", "rlnMotionModelCoeff")
RESERVED_WORDS = ("data_", "loop_", "save_", "stop_", "global_")
OWN_MARK = "# written by restframe"  # how our files begin
FOREIGN_SUFFIX = "_restframe"  # of the name where RELION writes, or has written, a file of the usual name


@dataclass(frozen=True)
class StarGain:
    """What RELION is told about the gain."""

    name: str | PathLike[str] | None = None  # of a gain that RELION applies rightly as it is
    comment: str = ""


def star_path(out_mrc: str | Path, movie: str | Path, called_by_relion: bool = False) -> Path:
    """Where the file goes: beside the images, called after the movie. RELION writes a file of that name itself, after
    it has called this program; it must replace none of ours, and ours none of another program's.
    """
    path = Path(out_mrc).parent / f"{Path(movie).stem}.star"
    if called_by_relion or is_foreign(path):
        return path.with_stem(path.stem + FOREIGN_SUFFIX)
    return path


def polynomial(field: MotionField) -> tuple[FloatArray, float]:
    """RELION's coefficients (2, 18) for the local part of ``field``, and the rms distance between both, in pixels."""
    height, width = field.shape
    columns, rows = np.linspace(0, width - 1, GRID_POINTS), np.linspace(0, height - 1, GRID_POINTS)
    x, y = (coordinate.ravel() for coordinate in np.meshgrid(columns, rows))
    local = field(x, y) - field.global_displacement()[:, None]
    local_shifts = -(local - local[:1]).reshape(-1, 2)  # (t points, 2)
    frame_count = field.n_frames
    time_scale = float(max(frame_count - 1, 1))  # z from 0 to 1 in the fit: powers of 40 would leave few digits
    in_space = _space_polynomials(x / width - 0.5, y / height - 0.5)
    in_time = _time_polynomials(np.arange(frame_count) / time_scale)
    design = np.einsum("sp,tk->tpsk", in_space, in_time).reshape(frame_count * len(x), 18)
    coefficients = np.linalg.lstsq(design, local_shifts, rcond=1e-10)[0]
    distance_px = float(np.sqrt(((design @ coefficients - local_shifts) ** 2).sum(1).mean()))
    in_frames = coefficients.reshape(6, 3, 2) / time_scale ** np.arange(1, 4)[:, None]
    return in_frames.reshape(18, 2).T, distance_px


def polynomial_shifts(
    coefficients: FloatArray, x: FloatArray, y: FloatArray, shape: tuple[int, int], frame_count: int
) -> FloatArray:
    """Local shifts (t, points, 2) that RELION's coefficients (2, 18) stand for, at pixels ``x``, ``y`` (points,)."""
    height, width = shape
    in_space = _space_polynomials(x / width - 0.5, y / height - 0.5)
    in_time = _time_polynomials(np.arange(frame_count, dtype=float))
    shifts = np.einsum("ask,sp,tk->tpa", np.reshape(coefficients, (2, 6, 3)), in_space, in_time)
    return np.asarray(shifts)


@dataclass(frozen=True)
class StarMovie:
    """What RELION is told of the movie beside its motion; 0 and empty: nothing."""

    name: str = ""
    pixel_size: float = 0.0  # A, unbinned
    frame_dose: float = 0.0  # e/A²
    voltage: float = 0.0  # kV


def field_star_text(field: MotionField, movie: StarMovie, patches: tuple[int, int]) -> str:
    """The content of the file for a field alone, whose frames are all frames of the movie. ``patches``: shifts of so
    many along x and y are listed where there is local motion.
    """
    height, width = field.shape
    frames = RelionFrames(1, field.n_frames, range(field.n_frames))
    is_local = len(field.modes) > 1
    general: dict[str, object] = {
        "rlnImageSizeX": width,
        "rlnImageSizeY": height,
        "rlnImageSizeZ": frames.count,
        "rlnMicrographMovieName": movie.name,
        "rlnMicrographBinning": 1.0,
        "rlnMicrographOriginalPixelSize": movie.pixel_size,
        "rlnMicrographDoseRate": movie.frame_dose,
        "rlnVoltage": movie.voltage,
        "rlnMicrographStartFrame": 1,
        "rlnMotionModelVersion": int(is_local),
    }
    known = {label: value for label, value in general.items() if value not in ("", 0.0) or label.endswith("Version")}
    shifts = patch_shifts_from_field(field, patches) if is_local else None
    blocks = [_general(known), *_motion_blocks(field, frames, shifts, np.arange(field.n_frames) + 0.5)]
    return _whole_text(blocks)


def star_text(result: Result, movie: str | Path, settings: Settings, gain: StarGain | None = None) -> str:
    """The content of the file. ``gain``: what RELION is told about the gain; None: nothing."""
    exposure = settings.exposure
    _, height, width = result.movie_shape
    frames = relion_frames(result, exposure)
    times = middles(result.frames)
    field = field_at(result.field, times, frames.middles)
    raw_count = result.frames[-1].stop - result.frames[0].start
    general: dict[str, object] = {
        "rlnImageSizeX": width,
        "rlnImageSizeY": height,
        "rlnImageSizeZ": frames.count,
        "rlnMicrographMovieName": movie,
        "rlnMicrographBinning": settings.sums.bin,
        "rlnMicrographOriginalPixelSize": exposure.pixel_size,
        "rlnMicrographDoseRate": float(result.dose.sum()) / raw_count * frames.grouping,
        "rlnMicrographPreExposure": exposure.initial_dose,
        "rlnVoltage": exposure.voltage,
        "rlnMicrographStartFrame": frames.used.start + 1,
        "rlnMotionModelVersion": int(result.patches is not None),
    }
    if result.movie_format == "eer":  # RELION sums its frames itself
        general |= {"rlnEERGrouping": frames.grouping, "rlnEERUpsampling": exposure.eer_sampling}
    if gain is not None and gain.name is not None:
        general["rlnMicrographGainName"] = gain.name
    comment = f"# {gain.comment}\n" if gain is not None and gain.comment else ""
    blocks = [_general(general, comment), *_motion_blocks(field, frames, result.patches, times)]
    if len(result.bad_pixels):
        blocks.append(_loop("hot_pixels", COORDINATE_LABELS, result.bad_pixels.tolist()))
    return _whole_text(blocks)


def _general(values: Mapping[str, object], comment: str = "") -> str:
    rows = "".join(f"_{name:<35} {star_word(value)}\n" for name, value in values.items())
    return f"data_general\n\n{comment}{rows}"


def _motion_blocks(
    field: MotionField, frames: RelionFrames, patches: PatchShifts | None, times: FloatArray
) -> list[str]:
    """Global shifts, and the local motion where there are ``patches``, whose shifts are those at ``times`` (t,)."""
    blocks = [_loop("global_shift", (FRAME_LABEL, *SHIFT_LABELS), _global_rows(field, frames))]
    if patches is not None:
        coefficients = polynomial(field)[0].ravel()
        local_rows = _local_rows(patches, times, frames)
        blocks += [
            _loop("local_motion_model", COEFFICIENT_LABELS, enumerate(coefficients)),
            _loop("local_shift", (FRAME_LABEL, *COORDINATE_LABELS, *SHIFT_LABELS), local_rows),
        ]
    return blocks


def _whole_text(blocks: Sequence[str]) -> str:
    return f"{OWN_MARK} {VERSION}\n" + "".join(f"\n# version 30001\n\n{block}\n" for block in blocks)


def is_foreign(path: Path) -> bool:
    """Whether another program's file has this name."""
    try:
        check_regular(path)
        with open(path, "rb") as file:
            return not file.read(len(OWN_MARK)).startswith(OWN_MARK.encode())
    except FileNotFoundError:
        return False
    except (OSError, InputError):
        return True


def polynomial_distance_px(result: Result, settings: Settings) -> float:
    """The rms distance between the local motion and RELION's polynomial for it."""
    frames = relion_frames(result, settings.exposure)
    return polynomial(field_at(result.field, middles(result.frames), frames.middles))[1]


def unequal(result: Result) -> bool:
    """Whether the used frames sum different numbers of raw frames, by more than the remainder at the end."""
    raw_counts = [len(raw_numbers) for raw_numbers in result.frames]
    return max(raw_counts) - min(raw_counts) > 1


def _space_polynomials(x: FloatArray, y: FloatArray) -> FloatArray:
    """(6, points)"""
    return np.stack([np.ones_like(x), x, x**2, y, y**2, x * y])


def _time_polynomials(z: FloatArray) -> FloatArray:
    """(t, 3)"""
    return np.stack([z, z**2, z**3], 1)


def _global_rows(field: MotionField, frames: RelionFrames) -> Iterator[Sequence[object]]:
    displacement = field.global_displacement()
    shifts = rounded(-(displacement - displacement[0]), 4).tolist()
    for frame in range(frames.count):
        shift = shifts[frame - frames.used.start] if frame in frames.used else (UNUSED_SHIFT, UNUSED_SHIFT)
        yield (frame + 1, *shift)


def _local_rows(patches: PatchShifts, times: FloatArray, frames: RelionFrames) -> Iterator[Sequence[object]]:
    shifts = interpolated(np.moveaxis(np.asarray(patches.raw), 1, 0), times, frames.middles)
    centres = rounded(patches.centres, 2)
    for frame, frame_shifts in zip(frames.used, shifts, strict=True):
        for centre, shift in zip(centres, rounded(frame_shifts, 4), strict=True):
            yield (frame + 1, *centre, *shift)


def _loop(name: str, labels: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"_{label} #{number}\n" for number, label in enumerate(labels, 1))
    lines = (" ".join(map(star_word, row)) + "\n" for row in rows)
    return f"data_{name}\n\nloop_\n{head}" + "".join(lines)


def star_word(value: object) -> str:
    """A value as one word of a STAR file: in quotes where a bare one would have another meaning."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.10g}"
    text = str(value)
    starts_bare = text not in ("", ".", "?") and text[0] not in "_#$'\";[]"
    one_word = not any(character.isspace() for character in text)
    if starts_bare and one_word and not text.lower().startswith(RESERVED_WORDS):
        return text
    for quote in "'\"":
        if (
            "\n" not in text and "\r" not in text and not re.search(rf"{quote}\s", text)
        ):  # a quote and a blank end a word
            return f"{quote}{text}{quote}"
    return f"\n;{text}\n;\n"
