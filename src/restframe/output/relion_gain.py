"""The gain as RELION applies it rightly, for the STAR file of a movie.

RELION multiplies frames of TIFF and MRC movies by the gain as it lies, and knows no rotation, flip or inversion where a
STAR file names it. Frames of EER movies are divided by it, unless its name ends in .gain, which RELION 3.1 cannot read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import FloatArray
from restframe.output.images import mrc_writer
from restframe.output.place import Writer
from restframe.output.star import StarGain
from restframe.settings import Detector

if TYPE_CHECKING:
    from restframe.output.sink import Corrected

READ_AS_IT_LIES = (".mrc", ".mrcs", ".tif", ".tiff")
NAME_DIGITS = 8  # of the content's digest, by which equal gains have equal names


@dataclass(frozen=True, eq=False)
class RelionGain:
    """What the STAR file says, and the file that has to be written for it, if any."""

    star: StarGain
    files: dict[Path, Writer]


def relion_gain(corrected: Corrected, folder: Path) -> RelionGain:
    """The gain of a movie for RELION; a file that has to be made goes to ``folder``."""
    gain = corrected.references.on_host(corrected.kernels).gain
    detector = corrected.result.settings.detector
    if gain is None:
        return RelionGain(StarGain(), {})
    movie_format = corrected.movie.format
    if movie_format != "eer" and _is_used_as_it_lies(detector, corrected.references.enlarged):
        return RelionGain(StarGain(detector.gain if isinstance(detector.gain, str | PathLike) else None), {})
    image = np.asarray(gain, np.float32)
    if movie_format == "eer":
        image = _reciprocal(image[:: corrected.references.enlarged, :: corrected.references.enlarged])
    given = detector.gain
    stem = "gain" if given is None or isinstance(given, np.ndarray) else Path(given).stem
    digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=NAME_DIGITS // 2).hexdigest()
    path = folder / f"{stem}_relion_{digest}.mrc"
    what = "divides by it" if movie_format == "eer" else "multiplies by it"
    comment = f"The gain is a copy as RELION applies it, rotated, flipped and inverted already: RELION {what}."
    files = {} if _is_complete(path, image) else {path: mrc_writer(image, 0.0)}
    return RelionGain(StarGain(path, comment), files)


def _is_used_as_it_lies(detector: Detector, enlarged: int) -> bool:
    given = detector.gain
    if given is None or isinstance(given, np.ndarray) or enlarged > 1:
        return False
    turned = detector.rot_gain or detector.flip_gain or detector.inv_gain
    return not turned and Path(given).suffix.lower() in READ_AS_IT_LIES


def _reciprocal(image: FloatArray) -> FloatArray:
    """1 / ``image``; 0, which marks a bad pixel, stays 0."""
    return np.divide(1, image, out=np.zeros_like(image), where=image != 0)


def _is_complete(path: Path, image: FloatArray) -> bool:
    """Whether an earlier movie's run has put this gain in place: its name holds the content."""
    try:
        return path.stat().st_size == 1024 + image.nbytes
    except OSError:
        return False
