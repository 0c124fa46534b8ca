"""Images as MRC files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from restframe.arrays import FloatArray
from restframe.errors import InputError, ResultError
from restframe.files import check_regular
from restframe.messages import Setting
from restframe.output.header import HEADER_BYTES, Statistics, mrc_header
from restframe.output.place import Writer, place_all

FLOAT32_MODE, FLOAT16_MODE = 2, 12
LARGEST_FLOAT16 = 65504.0
FIRST_LABEL_BYTE = 224  # of an MRC header


def mrc_writer(image: FloatArray, pixel_size: float, float16: bool = False) -> Writer:
    """A function that writes ``image`` (h, w) as one float32 image (mode 2); ``pixel_size`` in A, 0: unknown.

    ``float16``: with 16 bits (mode 12); the function raises `ResultError` where these cannot hold the values. The
    header holds the statistics of what is written, and no time: equal images give equal bytes.
    """
    return _float16_writer(image, pixel_size) if float16 else mrc_stack_writer([image], pixel_size)


def _float16_writer(image: FloatArray, pixel_size: float) -> Writer:
    def write(path: Path) -> None:
        largest = float(np.abs(image).max())
        if largest > LARGEST_FLOAT16:
            raise ResultError(
                f"A sum holds the value {largest:.6g}; 16 bits per pixel hold at most {LARGEST_FLOAT16:g}. Nothing is "
                "saved. Write 32 bits: leave out ",
                Setting("float16", True),
                ".",
            )
        rounded, statistics = image.astype("<f2"), Statistics()
        statistics.add(rounded.astype(np.float32))
        with open(path, "wb") as file:
            file.write(mrc_header((1, *image.shape), FLOAT16_MODE, pixel_size, 0, statistics))
            file.write(rounded.data)

    return write


def mrc_stack_writer(images: Sequence[FloatArray], pixel_size: float) -> Writer:
    """The same for several images of one size."""

    def write(path: Path) -> None:
        frames, statistics = [np.ascontiguousarray(image, "<f4") for image in images], Statistics()
        for frame in frames:
            statistics.add(frame)
        height, width = frames[0].shape
        with open(path, "wb") as file:
            file.write(mrc_header((len(frames), height, width), FLOAT32_MODE, pixel_size, 0, statistics))
            for frame in frames:
                file.write(frame.data)

    return write


def is_ours(path: Path) -> bool:
    """Whether a file is an image that restframe wrote, by its first label."""
    with suppress(OSError, InputError):
        check_regular(path)
        with open(path, "rb") as file:
            return file.read(HEADER_BYTES)[FIRST_LABEL_BYTE:].startswith(b"restframe ")
    return False


def write_mrc(path: str | Path, image: FloatArray, pixel_size: float = 0.0) -> None:
    """Write one image (h, w) to an MRC file, which appears when it is complete. Raises `OutputError`."""
    place_all([(Path(path), mrc_writer(image, pixel_size))])
