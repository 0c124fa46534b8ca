"""Sizes of the images: the output, and the padded images that it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

MARGIN_PX = 32  # pixels gathered around the frame, so that nothing wraps into it
BASE_COST = 20  # of a sample in a Fourier transform, beside the prime factors


@dataclass(frozen=True)
class ImageSizes:
    """(h, w) in pixels of the output and of the padded images that it is cropped from."""

    output: tuple[int, int]
    padded: tuple[int, int]
    cropped: tuple[int, int]  # the padded size after Fourier cropping; cropped / padded = output / frame


def choose_sizes(shape: tuple[int, int], binning: float) -> ImageSizes:
    """Sizes for an output of ``shape`` (h, w) in unbinned pixels, binned by ``binning`` >= 1.

    The width is made even, and the height too when binned. A binned pixel is exactly n / n_out unbinned pixels long,
    where n unbinned pixels become n_out.
    """
    used_height, output_height, padded_height = _axis_lengths(shape[0], binning, binning > 1)
    used_width, output_width, padded_width = _axis_lengths(shape[1], binning, True)
    cropped = padded_height * output_height // used_height, padded_width * output_width // used_width
    return ImageSizes((output_height, output_width), (padded_height, padded_width), cropped)


def _axis_lengths(length: int, binning: float, even: bool) -> tuple[int, int, int]:
    """For one axis: pixels of the frame that are used, of the output, and of the padded image."""
    used = 2 * (length // 2) if even else length
    output = 2 * (int(length / binning + 1e-6) // 2) if binning > 1 else used
    return used, output, padded_length(used, output)


def padded_length(length: int, output_length: int) -> int:
    """A length of at least ``length`` + 2 MARGIN_PX that is fast to transform.

    It is even, and its Fourier-cropped length, times ``output_length`` / ``length``, is an even integer too.
    """
    step = length // gcd(length, output_length)
    first = -(-(length + 2 * MARGIN_PX) // step)
    candidates = (multiple * step for multiple in range(first, first + max(64, length // step // 8)))
    return min(
        (padded for padded in candidates if padded % 2 == 0 and (padded * output_length // length) % 2 == 0),
        key=lambda padded: padded * padded * _transform_cost(padded),
    )


def _transform_cost(length: int) -> float:
    """Rough cost per sample of a Fourier transform of this length: the sum of its prime factors and a constant."""
    cost, factor = BASE_COST, 2
    while factor * factor <= length:
        while length % factor == 0:
            cost, length = cost + factor, length // factor
        factor += 1
    return cost + (length if length > 1 else 0)
