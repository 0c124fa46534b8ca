"""Motion in a STAR file as RELION's polishing reads it.

Shifts in unbinned pixels, minus the motion field, relative to the first used frame; frames counted from 1 over the
whole movie; where raw frames are summed, their sums are counted. The local motion is RELION's polynomial of 18
coefficients an axis,

    local = sum_s sum_k c[3 s + k] s(x, y) z^(k + 1),   s in 1, x, x², y, y², x y,   k = 0, 1, 2

with x, y from -0.5 to 0.5 over the frame and z the number of frames after the first used one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from restframe.output.text import rounded
from restframe.result import PatchShifts, Result
from restframe.settings import Settings
from restframe.track.field import MotionField

UNUSED = -9999.0  # shift of a frame that is left out
GRID = 17  # points to a side where the polynomial is fitted


def star_path(out_mrc: str | Path, movie: str | Path) -> Path:
    """Where the file goes: beside the images, called after the movie."""
    return Path(out_mrc).parent / f"{Path(movie).stem}.star"


def polynomial(field: MotionField) -> tuple[np.ndarray, float]:
    """RELION's coefficients (2, 18) for the local part of ``field``, and the rms of what they leave, in pixels."""
    h, w = field.shape
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, w - 1, GRID), np.linspace(0, h - 1, GRID)))
    local = field(x, y) - field.global_displacement()[:, None]
    local = -(local - local[:1])  # (t, points, 2)
    t = field.n_frames
    scale = float(max(t - 1, 1))  # z from 0 to 1 in the fit: powers of 40 would leave few digits
    design = np.einsum("sp,tk->tpsk", _in_space(x / w - 0.5, y / h - 0.5), _in_time(np.arange(t) / scale))
    design = design.reshape(t * len(x), 18)
    found = np.linalg.lstsq(design, local.reshape(-1, 2), rcond=1e-10)[0]
    left = float(np.sqrt(((design @ found - local.reshape(-1, 2)) ** 2).sum(1).mean()))
    return (found.reshape(6, 3, 2) / scale ** np.arange(1, 4)[:, None]).reshape(18, 2).T, left


def star_text(result: Result, movie: str | Path, settings: Settings) -> str:
    """The content of the file."""
    e, d = settings.exposure, settings.detector
    t, h, w = result.movie_shape
    size = summed(result)
    before, after = e.throw // size, e.trunc // size
    general: dict[str, object] = {
        "rlnImageSizeX": w,
        "rlnImageSizeY": h,
        "rlnImageSizeZ": before + t + after,
        "rlnMicrographMovieName": movie,
        "rlnMicrographBinning": settings.sums.bin,
        "rlnMicrographOriginalPixelSize": e.pixel_size,
        "rlnMicrographDoseRate": float(result.dose.mean()),
        "rlnMicrographPreExposure": e.initial_dose,
        "rlnVoltage": e.voltage,
        "rlnMicrographStartFrame": before + 1,
        "rlnMotionModelVersion": int(result.patches is not None),
    }
    if result.movie_format == "eer":  # RELION sums its frames itself
        general |= {"rlnEERGrouping": size, "rlnEERUpsampling": e.eer_sampling}
    comment = ""
    if isinstance(d.gain, np.ndarray) or d.rot_gain or d.flip_gain or d.inv_gain:
        comment = "# The gain was rotated, flipped, inverted or in memory: give RELION one that fits as it lies.\n"
    elif d.gain is not None:
        general["rlnMicrographGainName"] = d.gain
    shifts = [(UNUSED, UNUSED)] * before + rounded(result.global_shifts, 4).tolist() + [(UNUSED, UNUSED)] * after
    parts = [
        "data_general\n\n" + comment + "".join(f"_{key:<35} {_word(value)}\n" for key, value in general.items()),
        _loop("global_shift", (FRAME, *SHIFT), ((i, *shift) for i, shift in enumerate(shifts, 1))),
    ]
    if result.patches is not None:
        coefficients = polynomial(result.field)[0].ravel()
        parts += [
            _loop("local_motion_model", ("rlnMotionModelCoeffsIdx", "rlnMotionModelCoeff"), enumerate(coefficients)),
            _loop("local_shift", (FRAME, *PLACE, *SHIFT), _local_rows(result.patches, before + 1)),
        ]
    if len(result.bad_pixels):
        parts.append(_loop("hot_pixels", PLACE, result.bad_pixels.tolist()))
    return "".join(f"\n# version 30001\n\n{part}\n" for part in parts)


def summed(result: Result) -> int:
    """Raw frames in a used one, the first; RELION knows one number for all."""
    return len(result.frames[0])


def unequal(result: Result) -> bool:
    """Whether the used frames sum different numbers of raw frames, by more than what is left over at the end."""
    sizes = [len(raw) for raw in result.frames]
    return max(sizes) - min(sizes) > 1


FRAME = "rlnMicrographFrameNumber"
PLACE = ("rlnCoordinateX", "rlnCoordinateY")
SHIFT = ("rlnMicrographShiftX", "rlnMicrographShiftY")


def _in_space(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, x**2, y, y**2, x * y])


def _in_time(z: np.ndarray) -> np.ndarray:
    return np.stack([z, z**2, z**3], 1)


def _local_rows(patches: PatchShifts, first: int) -> Iterable[Sequence[object]]:
    for t in range(patches.raw.shape[1]):
        for centre, raw in zip(rounded(patches.centres, 2), rounded(patches.raw[:, t], 4), strict=True):
            yield (first + t, *centre, *raw)


def _loop(name: str, labels: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"_{label} #{i}\n" for i, label in enumerate(labels, 1))
    return f"data_{name}\n\nloop_\n{head}" + "".join(" ".join(map(_word, row)) + "\n" for row in rows)


RESERVED = ("data_", "loop_", "save_", "stop_", "global_")


def _word(value: object) -> str:
    """A value as one word of a STAR file: in quotes where a bare one would mean something else."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.10g}"
    text = str(value)
    bare = text not in ("", ".", "?") and text[0] not in "_#$'\";[]" and not any(c.isspace() for c in text)
    if bare and not text.lower().startswith(RESERVED):
        return text
    return f"'{text}'" if "'" not in text else f'"{text}"'
