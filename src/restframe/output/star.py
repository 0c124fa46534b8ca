"""Motion in a STAR file as RELION's polishing reads it.

Shifts in unbinned pixels, minus the motion field, relative to the first used frame; frames counted from 1 over the
whole movie. The local motion is RELION's polynomial of 18 coefficients an axis,

    local = sum_s sum_k c[3 s + k] s(x, y) z^(k + 1),   s in 1, x, x², y, y², x y,   k = 0, 1, 2

with x, y from -0.5 to 0.5 over the frame and z the number of frames after the first used one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from restframe.output.text import rounded
from restframe.result import Result
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
    local = field(x, y) - field.whole_frame()[:, None]
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
    general: dict[str, object] = {
        "rlnImageSizeX": w,
        "rlnImageSizeY": h,
        "rlnImageSizeZ": e.throw + t + e.trunc,
        "rlnMicrographMovieName": movie,
        "rlnMicrographBinning": settings.sums.bin,
        "rlnMicrographOriginalPixelSize": e.pixel_size,
        "rlnMicrographDoseRate": e.frame_dose,
        "rlnMicrographPreExposure": e.initial_dose,
        "rlnVoltage": e.voltage,
        "rlnMicrographStartFrame": e.throw + 1,
        "rlnMotionModelVersion": int(result.patches is not None),
    }
    comment = ""
    if isinstance(d.gain, np.ndarray) or d.rot_gain or d.flip_gain or d.inv_gain:
        comment = "# The gain was rotated, flipped, inverted or in memory: give RELION one that fits as it lies.\n"
    elif d.gain is not None:
        general["rlnMicrographGainName"] = d.gain
    parts = [
        "data_general\n\n" + comment + "".join(f"_{key:<35} {_word(value)}\n" for key, value in general.items()),
        _loop("global_shift", ("rlnMicrographFrameNumber", *SHIFT), _global_rows(result, settings)),
    ]
    if result.patches is not None:
        coefficients = polynomial(result.field)[0].ravel()
        parts += [
            _loop("local_motion_model", ("rlnMotionModelCoeffsIdx", "rlnMotionModelCoeff"), enumerate(coefficients)),
            _loop("local_shift", ("rlnMicrographFrameNumber", *PLACE, *SHIFT), _local_rows(result, settings)),
        ]
    if len(result.bad_pixels):
        parts.append(_loop("hot_pixels", PLACE, result.bad_pixels.tolist()))
    return "".join(f"\n# version 30001\n\n{part}\n" for part in parts)


PLACE = ("rlnCoordinateX", "rlnCoordinateY")
SHIFT = ("rlnMicrographShiftX", "rlnMicrographShiftY")


def _in_space(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, x**2, y, y**2, x * y])


def _in_time(z: np.ndarray) -> np.ndarray:
    return np.stack([z, z**2, z**3], 1)


def _global_rows(result: Result, settings: Settings) -> Iterable[Sequence[object]]:
    e = settings.exposure
    shifts = [(UNUSED, UNUSED)] * e.throw + rounded(result.global_shifts, 4).tolist() + [(UNUSED, UNUSED)] * e.trunc
    return ((number, *shift) for number, shift in enumerate(shifts, 1))


def _local_rows(result: Result, settings: Settings) -> Iterable[Sequence[object]]:
    assert result.patches is not None
    first, patches = settings.exposure.throw + 1, result.patches
    for t in range(result.movie_shape[0]):
        for centre, raw in zip(rounded(patches.centres, 2), rounded(patches.raw[:, t], 4), strict=True):
            yield (first + t, *centre, *raw)


def _loop(name: str, labels: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"_{label} #{i}\n" for i, label in enumerate(labels, 1))
    return f"data_{name}\n\nloop_\n{head}" + "".join(" ".join(map(_word, row)) + "\n" for row in rows)


def _word(value: object) -> str:
    """A value as one word of a STAR file; names with blanks in quotes."""
    if isinstance(value, (float, np.floating)):
        return f"{value:.10g}"
    text = str(value)
    if not text or any(c.isspace() for c in text) or text[0] in "_#$'\";[]":
        return f"'{text}'" if "'" not in text else f'"{text}"'
    return text
