"""The stack of corrected frames: written as they come, put in place with the sums."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from restframe.output.header import Statistics, mrc_header
from restframe.output.place import draft_of, explaining


class StackFile:
    """An MRC file (mode 2) that is made beside ``target``, under a hidden name, and waits there to be put in place."""

    def __init__(self, target: Path, pixel_size: float) -> None:
        self.target, self.pixel_size = target, pixel_size  # A of a pixel; 0: unknown
        self._draft = draft_of(target)

    def take(self, images: Iterator[np.ndarray]) -> None:
        """Write all ``images`` (h, w), one at a time, in place of those taken before. Raises `OutputError`."""
        seen, count, shape = Statistics(), 0, (0, 0)
        with explaining(self.target):
            file = open(self._draft, "wb")  # noqa: SIM115 - errors of making the images are not this file's
        try:
            with explaining(self.target):
                file.write(bytes(1024))
            for image in images:
                seen.add(image)
                count, shape = count + 1, image.shape
                with explaining(self.target):
                    file.write(np.ascontiguousarray(image, "<f4").data)
            with explaining(self.target):
                file.seek(0)
                file.write(mrc_header((count, *shape), 2, self.pixel_size, 0, seen))
        finally:
            with explaining(self.target):
                file.close()

    def write(self, path: Path) -> None:
        """What was taken becomes ``path``, a file of the same folder."""
        os.replace(self._draft, path)

    def discard(self) -> None:
        """Remove what was not put in place."""
        self._draft.unlink(missing_ok=True)
