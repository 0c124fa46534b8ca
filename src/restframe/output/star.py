"""Motion in a STAR file as RELION's polishing reads it.

Shifts in unbinned pixels, minus the motion field, relative to the first used frame; frames counted from 1 over the
whole movie; where frames are sums of raw frames, the sums are counted. The local motion is RELION's polynomial of 18
coefficients an axis,

    local = sum_s sum_k c[3 s + k] s(x, y) z^(k + 1),   s in 1, x, x², y, y², x y,   k = 0, 1, 2

with x, y from -0.5 to 0.5 over the frame and z the number of frames after the first used one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from restframe.arrays import FloatArray
from restframe.output.text import rounded
from restframe.result import PatchShifts, Result
from restframe.settings import Settings
from restframe.track.field import MotionField

UNUSED_SHIFT = -9999.0  # of a frame that is left out
GRID_POINTS = 17  # along each side, where the polynomial is fitted
FRAME_LABEL = "rlnMicrographFrameNumber"
COORDINATE_LABELS = ("rlnCoordinateX", "rlnCoordinateY")
SHIFT_LABELS = ("rlnMicrographShiftX", "rlnMicrographShiftY")
COEFFICIENT_LABELS = ("rlnMotionModelCoeffsIdx", "rlnMotionModelCoeff")
RESERVED_WORDS = ("data_", "loop_", "save_", "stop_", "global_")


def star_path(out_mrc: str | Path, movie: str | Path) -> Path:
    """Where the file goes: beside the images, called after the movie."""
    return Path(out_mrc).parent / f"{Path(movie).stem}.star"


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


def star_text(result: Result, movie: str | Path, settings: Settings) -> str:
    """The content of the file."""
    exposure, detector = settings.exposure, settings.detector
    frame_count, height, width = result.movie_shape
    raw_per_frame = summed(result)
    thrown, truncated = exposure.throw // raw_per_frame, exposure.trunc // raw_per_frame
    general: dict[str, object] = {
        "rlnImageSizeX": width,
        "rlnImageSizeY": height,
        "rlnImageSizeZ": thrown + frame_count + truncated,
        "rlnMicrographMovieName": movie,
        "rlnMicrographBinning": settings.sums.bin,
        "rlnMicrographOriginalPixelSize": exposure.pixel_size,
        "rlnMicrographDoseRate": float(result.dose.mean()),
        "rlnMicrographPreExposure": exposure.initial_dose,
        "rlnVoltage": exposure.voltage,
        "rlnMicrographStartFrame": thrown + 1,
        "rlnMotionModelVersion": int(result.patches is not None),
    }
    if result.movie_format == "eer":  # RELION sums its frames itself
        general |= {"rlnEERGrouping": raw_per_frame, "rlnEERUpsampling": exposure.eer_sampling}
    comment = ""
    if isinstance(detector.gain, np.ndarray) or detector.rot_gain or detector.flip_gain or detector.inv_gain:
        comment = "# The gain was rotated, flipped, inverted or in memory: give RELION one that fits as it lies.\n"
    elif detector.gain is not None:
        general["rlnMicrographGainName"] = detector.gain
    used_shifts = rounded(result.global_shifts, 4).tolist()
    unused = UNUSED_SHIFT, UNUSED_SHIFT
    all_shifts = [unused] * thrown + used_shifts + [unused] * truncated
    shift_rows = ((number, *shift) for number, shift in enumerate(all_shifts, 1))
    blocks = [
        "data_general\n\n" + comment + "".join(f"_{label:<35} {_word(value)}\n" for label, value in general.items()),
        _loop("global_shift", (FRAME_LABEL, *SHIFT_LABELS), shift_rows),
    ]
    if result.patches is not None:
        coefficients = polynomial(result.field)[0].ravel()
        local_rows = _local_rows(result.patches, thrown + 1)
        blocks += [
            _loop("local_motion_model", COEFFICIENT_LABELS, enumerate(coefficients)),
            _loop("local_shift", (FRAME_LABEL, *COORDINATE_LABELS, *SHIFT_LABELS), local_rows),
        ]
    if len(result.bad_pixels):
        blocks.append(_loop("hot_pixels", COORDINATE_LABELS, result.bad_pixels.tolist()))
    return "".join(f"\n# version 30001\n\n{block}\n" for block in blocks)


def summed(result: Result) -> int:
    """Number of raw frames in the first used frame; RELION knows one number for all."""
    return len(result.frames[0])


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


def _local_rows(patches: PatchShifts, first_number: int) -> Iterator[Sequence[object]]:
    for frame in range(patches.raw.shape[1]):
        centres, raw_shifts = rounded(patches.centres, 2), rounded(patches.raw[:, frame], 4)
        for centre, raw_shift in zip(centres, raw_shifts, strict=True):
            yield (first_number + frame, *centre, *raw_shift)


def _loop(name: str, labels: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"_{label} #{number}\n" for number, label in enumerate(labels, 1))
    lines = (" ".join(map(_word, row)) + "\n" for row in rows)
    return f"data_{name}\n\nloop_\n{head}" + "".join(lines)


def _word(value: object) -> str:
    """A value as one word of a STAR file: in quotes where a bare one would have another meaning."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.10g}"
    text = str(value)
    starts_bare = text not in ("", ".", "?") and text[0] not in "_#$'\";[]"
    one_word = not any(character.isspace() for character in text)
    if starts_bare and one_word and not text.lower().startswith(RESERVED_WORDS):
        return text
    return f"'{text}'" if "'" not in text else f'"{text}"'
