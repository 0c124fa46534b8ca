"""Images as MRC files."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from restframe.output.header import Statistics, mrc_header
from restframe.output.place import Writer, place_all


def mrc_writer(image: np.ndarray, pixel_size: float) -> Writer:
    """A function that writes ``image`` (h, w) as one float32 image (mode 2); ``pixel_size`` in A, 0: unknown.

    The header holds true statistics and no time: equal images give equal bytes.
    """

    def write(path: Path) -> None:
        pixels, seen = np.ascontiguousarray(image, "<f4"), Statistics()
        seen.add(pixels)
        with open(path, "wb") as file:
            file.write(mrc_header((1, *pixels.shape), 2, pixel_size, 0, seen))
            file.write(pixels.data)

    return write


def is_ours(path: Path) -> bool:
    """Whether a file is an image that restframe wrote, by its first label."""
    with suppress(OSError), open(path, "rb") as file:
        return file.read(1024)[224:].startswith(b"restframe ")
    return False


def write_mrc(path: str | Path, image: np.ndarray, pixel_size: float = 0.0) -> None:
    """Write one image (h, w) to an MRC file, which appears when it is complete. Raises OutputError."""
    place_all([(Path(path), mrc_writer(image, pixel_size))])
