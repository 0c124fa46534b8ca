"""Frames with two pixels of 4 bits in each byte."""

from __future__ import annotations

from restframe.arrays import AnyArray


def unpack_pixels(packed: AnyArray, image: AnyArray) -> None:
    """Write the pixels of ``packed`` (h, (w + 1) // 2) uint8 to ``image`` (h, w).

    The lower four bits of a byte are the left one of its two pixels.
    """
    width = image.shape[1]
    image[:, 0::2] = packed & 15
    image[:, 1::2] = (packed >> 4)[:, : width // 2]
