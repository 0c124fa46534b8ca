"""Dose weighting, and how few running images hold all the weighted sums.

Critical dose and weights after Grant & Grigorieff, eLife 4:e06980 (2015), with the constants that MotionCor uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from restframe.settings import check_voltage


def voltage_factor(kv: float) -> float:
    """How much of the 300 kV critical dose is left at ``kv``: linear between 300, 200 and 120 kV, constant below."""
    check_voltage(kv)
    return float(np.interp(kv, [120, 200, 300], [0.45, 0.8, 1.0]))


def critical_dose(q: np.ndarray, kv: float) -> np.ndarray:
    """N_e(q) in e/A²; ``q`` in 1/A. Infinite at q = 0."""
    with np.errstate(divide="ignore"):
        return voltage_factor(kv) * (0.24499 * np.asarray(q, float) ** -1.6649 + 2.8141)


def damage(q: np.ndarray, accumulated: np.ndarray, kv: float) -> np.ndarray:
    """exp(-D / (2 N_e(q))): what is left of the amplitude at ``q`` (1/A), (q, t)."""
    return np.exp(-0.5 * np.asarray(accumulated)[None, :] / critical_dose(q, kv)[:, None])


@dataclass(frozen=True)
class Sum:
    """One image to be made: a part of the frames, each with its weight by frequency.

    The kernel's transfer and the noise are made right for ``whole`` and then the same for its parts, so that the parts
    add up to it: odd and even frames to the sum of all.
    """

    name: str
    whole: np.ndarray  # (samples, t): weights at `frequency_samples` of the sum that this one is a part of
    part: np.ndarray  # (t,) 1 or 0: frames in it or not

    @property
    def weights(self) -> np.ndarray:
        return self.whole * self.part


@dataclass(frozen=True)
class Plan:
    """Sums as combinations of a few running images: weights(q, t) = combine(q, r) coefficients(r, t)."""

    q: np.ndarray  # 1/pixel, equally spaced from 0 to 1/sqrt(2)
    coefficients: np.ndarray  # (r, t); 0: the frame is not in that image
    combine: dict[str, np.ndarray]  # name -> (samples, r)
    sums: tuple[Sum, ...]
    groups: tuple[slice, ...]  # running images that share no frame with others, the fewest first

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Frames and running images of each group."""
        return [(int(self.coefficients[g].any(0).sum()), int(g.stop - g.start)) for g in self.groups]


ACCURACY = 1e-4  # largest error of the weights of any ring, of the ring's norm

ROUNDING = 1e-10  # parts of a combination below this are none


def frequency_samples(n: int = 1024) -> np.ndarray:
    return np.linspace(0, np.sqrt(0.5), n)


def low_rank(rows: np.ndarray, first: np.ndarray, accuracy: float = ACCURACY) -> np.ndarray:
    """Orthogonal vectors over frames, ``first`` (n, t) unchanged at the head, whose span holds every row to
    ``accuracy`` of its norm.
    """
    kept, _ = np.linalg.qr(first.T)
    rest = rows - rows @ kept @ kept.T
    norm = np.maximum(np.linalg.norm(rows, axis=1), 1e-30)
    vectors = np.linalg.eigh(rest.T @ rest)[1].T[::-1]  # the singular ones of ``rest``, far faster than from itself
    n = 0
    while n < len(vectors) and (np.linalg.norm(rest, axis=1) / norm).max() > accuracy:
        v = vectors[n] - kept @ (kept.T @ vectors[n])
        rest = rest - np.outer(rest @ v, v)
        n += 1
    return np.concatenate([first, vectors[:n]])


def make_plan(sums: list[Sum]) -> Plan:
    """The fewest running images for all ``sums``, or one more if each frame is then in about half of them."""
    joint = low_rank(np.concatenate([s.weights for s in sums]), np.ones((1, len(sums[0].part))))
    apart = low_rank_apart(sums)
    parts = apart if sum(map(len, apart)) <= len(joint) + 1 else [joint]
    coefficients = np.concatenate(parts)
    ends = np.cumsum([0, *map(len, parts)]).tolist()
    groups = tuple(slice(a, b) for a, b in pairwise(ends))
    inverse = np.linalg.pinv(coefficients)
    combine = {}
    for s in sums:
        b = s.weights @ inverse
        combine[s.name] = np.where(np.abs(b) > ROUNDING * np.abs(b).max(), b, 0)
    return Plan(frequency_samples(len(sums[0].whole)), coefficients, combine, tuple(sums), groups)


def low_rank_apart(sums: list[Sum]) -> list[np.ndarray]:
    """As `low_rank` of all ``sums``, by frames that are parts of the same sums: each has running images of its own."""
    parts = np.stack([s.part for s in sums])
    out = []
    for member in np.unique(parts, axis=1).T:
        frames = (parts == member[:, None]).all(0)
        rows = np.concatenate([s.whole[:, frames] for s in sums])
        vectors = low_rank(rows, np.ones((1, int(frames.sum()))))
        wide = np.zeros((len(vectors), len(frames)))
        wide[:, frames] = vectors
        out.append(wide)
    return sorted(out, key=len)


def unweighted_sums(t: int, parts: dict[str, np.ndarray], samples: int = 1024) -> list[Sum]:
    """Sums of ``t`` frames that all count the same. ``parts``: name -> (t,) 0 or 1."""
    ones = np.ones((samples, t))
    return [Sum(name, ones, part.astype(float)) for name, part in parts.items()]


def unweighted_plan(t: int) -> Plan:
    """Of the plain sum of ``t`` frames and no other."""
    return make_plan(unweighted_sums(t, {"sum": np.ones(t)}))


def dose_weighted_sums(
    accumulated: np.ndarray, pixel_size: float, kv: float, parts: dict[str, np.ndarray]
) -> list[Sum]:
    """Weights exp(-D_t/2N_e) / sqrt(sum over all frames of exp(-D_t/N_e)) for the frames in each part.

    Not weighted at q = 0. ``accumulated``: (t,) e/A²; ``pixel_size``: A, unbinned.
    """
    w = damage(frequency_samples() / pixel_size, accumulated, kv)
    w /= np.sqrt((w**2).sum(1, keepdims=True))
    return [Sum(name, w, part.astype(float)) for name, part in parts.items()]
