"""Whether the gain reference is oriented as the movie is: the camera's own pattern in the movie's sum shows it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, IntArray
from restframe.messages import Message, Setting

Turn = tuple[int, int]
"""Quarter turns and a flip, as the settings ``rot_gain`` and ``flip_gain`` count them."""

TURNS: tuple[Turn, ...] = tuple((rotation, flip) for flip in (0, 1) for rotation in range(4))
"""All eight orientations of an image."""

SUPER_RESOLUTION_FACTORS = (2, 4)  # a gain may be that of the physical pixels of a super-resolution movie
WINDOW_SIDE_PX = 64  # windows in which gain and movie are compared
WINDOWS_PER_AXIS = 8
MIN_GAIN_SIDE_PX = 16  # smaller gains are not compared
CLEAR_DEVIATIONS = 10.0  # a correlation is clear above so many standard deviations of chance
MAX_DEVIATION = 4.0  # outliers, such as hot pixels, are limited to so many standard deviations
CHANCE_FACTOR = 1.3  # differences of neighbouring pixels are not independent


def reorient(image: Array, rotation: int, flip: int) -> Array:
    """A view of ``image`` (h, w), rotated and then flipped.

    ``rotation``: quarter turns that bring the x axis to the row axis; ``flip``: 0 none, 1 rows reversed, 2 columns
    reversed.
    """
    image = np.rot90(image, -rotation)
    return (image, image[::-1], image[:, ::-1])[flip]


def combined_turn(first: Turn, second: Turn) -> Turn:
    """The one turn that has the effect of ``first`` followed by ``second``."""
    marked = np.arange(6).reshape(2, 3)
    target = reorient(reorient(marked, *first), *second)
    return next(turn for turn in TURNS if np.array_equal(reorient(marked, *turn), target))


def enlargement_between(small: tuple[int, ...], large: tuple[int, ...]) -> int:
    """1, 2 or 4 where that factor times the shape ``small`` is the shape ``large``, else 0."""
    for factor in (1, *SUPER_RESOLUTION_FACTORS):
        if tuple(length * factor for length in small) == large:
            return factor
    return 0


def correlations(total: Array, gain: Array) -> tuple[dict[Turn, float], float]:
    """Correlation of the movie's pattern with that of ``gain`` (h, w), for each turn of the gain that fits.

    ``total``: (h, w) plain sum of raw counts, on the same device. Also returns the standard deviation of a correlation
    by chance. The sum holds the pattern 1 / gain. Only the differences between a pixel and its neighbours are
    compared, in windows spread over the frame: the specimen is smooth at that scale and the camera's pattern is not.
    No turn is returned where none fits or the gain is too small.
    """
    factors = {turn: enlargement_between(reorient(gain, *turn).shape, total.shape) for turn in TURNS}
    factor = max(factors.values())
    if not factor or min(gain.shape) < MIN_GAIN_SIDE_PX:
        return {}, 1.0
    gain_windows = _windows(gain)
    with np.errstate(divide="ignore", invalid="ignore"):
        pattern = _high_pass(1 / gain_windows)  # not finite next to zeros of the gain
    counts = _standardized(_high_pass(_windows(total, factor)))
    pattern = _standardized(pattern)
    by_turn = {turn: float((counts * reorient(pattern, *turn)).mean()) for turn, fits in factors.items() if fits}
    return by_turn, CHANCE_FACTOR / np.sqrt(counts.size)


class BetterOrientation(NamedTuple):
    """A turn of the gain that fits the movie better than the gain as it is."""

    turn: Turn
    correlation: float
    unturned: float  # correlation of the gain as it is

    def advice(self, rotation: int, flip: int) -> Message:
        """One line for a user whose settings are ``rot_gain`` = rotation and ``flip_gain`` = flip."""
        rotation, flip = combined_turn((rotation, flip), self.turn)
        return Message(
            "Warning: the gain reference would fit the movie better with ",
            Setting("rot_gain", rotation),
            " ",
            Setting("flip_gain", flip),
            f": correlation with the movie's sum {self.correlation:.2f}, as given {self.unturned:.2f}.",
        )


class GainCheck(NamedTuple):
    """How well the gain, as it is used, agrees with the movie's own pattern, and which orientation agrees best."""

    correlation: float  # of the gain as it is used with the movie's sum
    chance: float  # standard deviation of a correlation by chance
    best_turn: Turn  # a further turn of the gain; (0, 0): none
    best_correlation: float

    @property
    def better(self) -> BetterOrientation | None:
        """The turn that clearly fits better than none; None where there is no such turn."""
        needed = max(CLEAR_DEVIATIONS * self.chance, 2 * self.correlation)
        if self.best_turn == (0, 0) or self.best_correlation < needed:
            return None
        return BetterOrientation(self.best_turn, self.best_correlation, self.correlation)


def check_gain(total: Array, gain: Array) -> GainCheck | None:
    """Compare ``gain`` (h, w), in all orientations that fit, with the plain sum ``total`` (h, w) on the same device.

    None: the gain is too small to be compared.
    """
    by_turn, chance = correlations(total, gain)
    if not by_turn:
        return None
    best = max(by_turn, key=lambda turn: by_turn[turn])
    return GainCheck(by_turn.get((0, 0), 0.0), float(chance), best, by_turn[best])


def better_orientation(total: Array, gain: Array) -> BetterOrientation | None:
    """The turn of ``gain`` (h, w) that clearly fits ``total`` (h, w) better than none, both on the same device.

    None where there is no such turn, for example because the movie is gain-corrected already or has too few counts.
    """
    check = check_gain(total, gain)
    return check.better if check else None


def _window_starts(length: int) -> tuple[IntArray, int]:
    """First pixels of the windows along an axis of ``length`` pixels, and the windows' side.

    They are symmetric about the middle of the axis, so that a turn maps windows on windows.
    """
    if length < 2 * WINDOW_SIDE_PX:
        return np.zeros(1, int), length
    count = min(WINDOWS_PER_AXIS // 2, length // (2 * WINDOW_SIDE_PX))
    first_half = np.linspace(0, (length - 2 * WINDOW_SIDE_PX) // 2, count).astype(int)
    return np.append(first_half, (length - WINDOW_SIDE_PX - first_half)[::-1]), WINDOW_SIDE_PX


def _windows(image: Array, factor: int = 1) -> Array:
    """Windows (down, h, across, w) float32 of ``image``, binned: sums of ``factor`` x ``factor`` pixels."""
    (rows, height), (columns, width) = (_window_starts(length // factor) for length in image.shape)
    y = (rows[:, None] * factor + np.arange(height * factor)).ravel()
    x = (columns[:, None] * factor + np.arange(width * factor)).ravel()
    xp = array_namespace(image)
    pixels = image[xp.asarray(y)][:, xp.asarray(x)].astype(np.float32)
    return pixels.reshape(len(rows), height, factor, len(columns), width, factor).sum((2, 5))


def _high_pass(windows: Array) -> Array:
    """Each inner pixel of ``windows`` (down, h, across, w) less the mean of its four neighbours, as one image."""
    above, below = windows[:, :-2, :, 1:-1], windows[:, 2:, :, 1:-1]
    before, after = windows[:, 1:-1, :, :-2], windows[:, 1:-1, :, 2:]
    difference = windows[:, 1:-1, :, 1:-1] - (above + below + before + after) / 4
    return difference.reshape(difference.shape[0] * difference.shape[1], -1)


def _standardized(values: Array) -> Array:
    """``values`` with mean 0 and variance 1; outliers are limited to 4 standard deviations; 0 where not finite."""
    xp = array_namespace(values)
    finite = xp.isfinite(values)
    values = xp.where(finite, values, 0)
    for _ in range(3):
        values = xp.where(finite, values - values.mean(), 0)
        deviation = float(values.std())
        if deviation == 0:
            return values
        values = xp.clip(values / deviation, -MAX_DEVIATION, MAX_DEVIATION)
    return values / values.std()
