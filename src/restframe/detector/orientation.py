"""Does the gain lie as the movie does? The camera's pattern in the movie's sum tells."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from array_api_compat import array_namespace

from restframe.messages import Message, Setting

TURNS = tuple((rot, flip) for flip in (0, 1) for rot in range(4))  # all eight ways to lie, as rot_gain and flip_gain
ENLARGEMENTS = (2, 4)  # a gain of the physical pixels of a super-resolution movie
SIDE, ACROSS = 64, 8  # windows that are looked at: pixels a side, how many across and down
LEAST = 16  # pixels a side of a gain that can be told
CLEAR = 10.0  # standard deviations of chance


def reorient(image: np.ndarray, rot: int, flip: int) -> np.ndarray:
    """A view of ``image`` (h, w): quarter turns that bring the x axis to the row axis, then 1 rows reversed, 2 columns
    reversed.
    """
    image = np.rot90(image, -rot)
    return (image, image[::-1], image[:, ::-1])[flip]


def both(first: tuple[int, int], then: tuple[int, int]) -> tuple[int, int]:
    """The one turn that does what two do, one after the other."""
    mark = np.arange(6).reshape(2, 3)
    goal = reorient(reorient(mark, *first), *then)
    return next(turn for turn in TURNS if np.array_equal(reorient(mark, *turn), goal))


def factor_between(small: tuple[int, ...], large: tuple[int, ...]) -> int:
    """1, 2 or 4 where that many times ``small`` is ``large``, else 0."""
    return next((n for n in (1, *ENLARGEMENTS) if tuple(s * n for s in small) == large), 0)


def correlations(total, gain) -> tuple[dict[tuple[int, int], float], float]:
    """How well the ``gain``'s pattern, turned in each way that fits, is found in the plain sum ``total`` (h, w).

    Also the standard deviation that chance has. The sum of counts holds 1 / gain. Only differences between neighbours
    are compared, where the specimen is smooth and the camera is not, in windows spread over the frame. Both on one
    device.
    """
    ways = {turn: factor_between(reorient(gain, *turn).shape, total.shape) for turn in TURNS}
    factor = max(ways.values())
    if not factor or min(gain.shape) < LEAST:
        return {}, 1.0
    known = _windows(gain)
    with np.errstate(divide="ignore", invalid="ignore"):
        pattern = _sharp(1 / known)  # not finite beside what is zero in the gain
    counts = _standard(_sharp(_windows(total, factor)))
    pattern = _standard(pattern)
    return (
        {turn: float((counts * reorient(pattern, *turn)).mean()) for turn, fits in ways.items() if fits},
        1.3 / np.sqrt(counts.size),  # differences of neighbouring pixels are not independent
    )


class BetterOrientation(NamedTuple):
    """A turn that fits better than none."""

    turn: tuple[int, int]
    correlation: float
    unturned: float  # the correlation without

    def advice(self, rot: int, flip: int) -> Message:
        """One line for a user whose settings are ``rot_gain`` = rot and ``flip_gain`` = flip."""
        rot, flip = both((rot, flip), self.turn)
        return Message(
            "Warning: the gain reference would fit the movie better with ",
            Setting("rot_gain", rot),
            " ",
            Setting("flip_gain", flip),
            f": correlation with the movie's sum {self.correlation:.2f}, as given {self.unturned:.2f}.",
        )


def better_orientation(total, gain) -> BetterOrientation | None:
    """The turn of ``gain`` (h, w) that clearly fits ``total`` (h, w) better than none does, both on one device.

    None: there is none, for example because the movie is corrected already or too dark to tell.
    """
    found, chance = correlations(total, gain)
    if not found:
        return None
    best = max(found, key=lambda turn: found[turn])
    now = found.get((0, 0), 0.0)
    if best == (0, 0) or found[best] < max(CLEAR * chance, 2 * now):
        return None
    return BetterOrientation(best, found[best], now)


def _spans(n: int) -> tuple[np.ndarray, int]:
    """Where windows start along an axis, and their side. Symmetric about its middle: turns map them on each other."""
    if n < 2 * SIDE:
        return np.zeros(1, int), n
    left = np.linspace(0, (n - 2 * SIDE) // 2, min(ACROSS // 2, n // (2 * SIDE))).astype(int)
    return np.append(left, (n - SIDE - left)[::-1]), SIDE


def _windows(image, factor: int = 1):
    """Windows (down, h, across, w) float32 of the sums of ``factor`` x ``factor`` pixels."""
    (rows, h), (columns, w) = (_spans(n // factor) for n in image.shape)
    y = (rows[:, None] * factor + np.arange(h * factor)).ravel()
    x = (columns[:, None] * factor + np.arange(w * factor)).ravel()
    xp = array_namespace(image)
    picked = image[xp.asarray(y)][:, xp.asarray(x)].astype(np.float32)
    return picked.reshape(len(rows), h, factor, len(columns), w, factor).sum((2, 5))


def _sharp(windows):
    """Each inner pixel of the windows less the mean of its four neighbours, side by side as one image."""
    w = windows
    beside = w[:, :-2, :, 1:-1] + w[:, 2:, :, 1:-1] + w[:, 1:-1, :, :-2] + w[:, 1:-1, :, 2:]
    sharp = w[:, 1:-1, :, 1:-1] - beside / 4
    return sharp.reshape(sharp.shape[0] * sharp.shape[1], -1)


def _standard(values):
    """Mean 0, variance 1; outliers (hot pixels) held at 4 standard deviations, what is not finite 0."""
    xp = array_namespace(values)
    good = xp.isfinite(values)
    values = xp.where(good, values, 0)
    for _ in range(3):
        values = xp.where(good, values - values.mean(), 0)
        sd = float(values.std())
        if sd == 0:
            return values
        values = xp.clip(values / sd, -4, 4)
    return values / values.std()
