"""The stack of corrected frames: written while they are made, put in place with the sums."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from restframe.arrays import FloatArray
from restframe.errors import ResultError
from restframe.output.drafts import discard, draft_of
from restframe.output.header import HEADER_BYTES, Statistics, mrc_header
from restframe.output.images import FLOAT32_MODE
from restframe.output.place import explaining

CELL_OFFSET = 40  # bytes of the header before the size of the cell


class StackFile:
    """An MRC file (mode 2) that is made beside ``target``, under a hidden name, and waits there to be put in place."""

    def __init__(self, target: Path, pixel_size: float) -> None:
        self.target, self.pixel_size = target, pixel_size  # A; 0: unknown
        self._draft = draft_of(target)

    def take(self, images: Iterator[FloatArray]) -> None:
        """Write all ``images`` (h, w), one at a time, in place of those taken before. Raises `OutputError`."""
        statistics, image_count, image_shape = Statistics(), 0, (0, 0)
        with explaining(self.target):
            file = open(self._draft, "wb")  # noqa: SIM115 - errors of making the images are not this file's
        try:
            with explaining(self.target):
                file.write(bytes(HEADER_BYTES))
            for image in images:
                statistics.add(image)
                image_count, image_shape = image_count + 1, (image.shape[0], image.shape[1])
                with explaining(self.target):
                    file.write(np.ascontiguousarray(image, "<f4").data)
            if not np.isfinite(statistics.total):
                raise ResultError(f"{self.target} would hold pixels that are not finite, so nothing is saved.")
            with explaining(self.target):
                file.seek(0)
                file.write(mrc_header((image_count, *image_shape), FLOAT32_MODE, self.pixel_size, 0, statistics))
        finally:
            with explaining(self.target):
                file.close()

    def set_pixel_size(self, pixel_size: float) -> None:
        """Change the pixel size (A) in the header, which may be known from the movie's metadata only."""
        if pixel_size == self.pixel_size:
            return
        self.pixel_size = pixel_size
        with explaining(self.target), open(self._draft, "r+b") as file:
            width, height, image_count = struct.unpack("<3i", file.read(12))
            file.seek(CELL_OFFSET)
            file.write(struct.pack("<3f", *(pixel_size * length for length in (width, height, image_count))))

    def write(self, path: Path) -> None:
        """The stack becomes ``path``, a file in the same folder."""
        os.replace(self._draft, path)

    def discard(self) -> None:
        """Remove what was not put in place."""
        discard(self._draft)
