"""Dose weighting, and how few running images hold all the weighted sums.

Weights after Grant & Grigorieff, eLife 4:e06980 (2015); the critical dose is in `restframe.optics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from restframe.arrays import FloatArray
from restframe.optics import remaining_amplitude
from restframe.settings import check_voltage


def damage(q: FloatArray, accumulated: FloatArray, kv: float) -> FloatArray:
    """`restframe.optics.remaining_amplitude`, (q, t). Raises `SettingsError` for voltages outside its range."""
    check_voltage(kv)
    return remaining_amplitude(q, accumulated, kv)


@dataclass(frozen=True, eq=False)
class Sum:
    """One image to be made: some of the frames, each with its weight by frequency.

    The kernel's transfer and the noise are corrected for the whole that the sum is a part of, and in the same way for
    all its parts, so that the parts add up to it: odd and even frames to the sum of all.
    """

    name: str
    whole_weights: FloatArray  # (samples, t): weights of the whole at `frequency_samples`
    frames: FloatArray  # (t,) 1: the frame is in this sum, 0: it is not

    @property
    def weights(self) -> FloatArray:
        """(samples, t)"""
        return self.whole_weights * self.frames


@dataclass(frozen=True, eq=False)
class Plan:
    """Sums as combinations of a few running images.

    weights(q, t) = sum_r combination(q, r) coefficients(r, t) for each sum.
    """

    frequencies: FloatArray  # (samples,) 1/pixel, equally spaced from 0 to 1/sqrt(2)
    coefficients: FloatArray  # (r, t); 0: the frame is not in that running image
    combinations: dict[str, FloatArray]  # name of the sum -> (samples, r)
    sums: tuple[Sum, ...]
    groups: tuple[slice, ...]  # running images that share no frame with those of other groups, smallest group first

    @property
    def group_sizes(self) -> list[tuple[int, int]]:
        """Number of frames and of running images of each group."""
        return [(int(self.coefficients[group].any(0).sum()), int(group.stop - group.start)) for group in self.groups]


WEIGHT_ACCURACY = 1e-4  # largest error of the weights at any frequency, relative to their norm over the frames

NEGLIGIBLE_COEFFICIENT = 1e-10  # of the largest one in a combination: set to zero


def frequency_samples(count: int = 1024) -> FloatArray:
    """Frequencies (1/pixel) at which weights are computed: the corner of the spectrum, 1/sqrt(2), is the last one."""
    return np.linspace(0, np.sqrt(0.5), count)


def low_rank_basis(rows: FloatArray, leading: FloatArray, accuracy: float = WEIGHT_ACCURACY) -> FloatArray:
    """Vectors (r, t) over frames whose span holds every one of ``rows`` (n, t) to ``accuracy`` of its norm.

    ``leading`` (m, t) come first, unchanged. The others are singular vectors of the part of the rows that is orthogonal
    to them.
    """
    leading_basis, _ = np.linalg.qr(leading.T)
    residual = rows - rows @ leading_basis @ leading_basis.T
    norm = np.maximum(np.linalg.norm(rows, axis=1), 1e-30)
    # singular vectors of the residual, far faster than from itself; the most important ones first
    vectors = np.linalg.eigh(residual.T @ residual)[1].T[::-1]
    count = 0
    while count < len(vectors) and (np.linalg.norm(residual, axis=1) / norm).max() > accuracy:
        vector = vectors[count] - leading_basis @ (leading_basis.T @ vectors[count])
        residual = residual - np.outer(residual @ vector, vector)
        count += 1
    return np.concatenate([leading, vectors[:count]])


def make_plan(sums: list[Sum]) -> Plan:
    """The fewest running images for all ``sums``, or one more if each frame is then in about half of them."""
    frame_count = len(sums[0].frames)
    joint = low_rank_basis(np.concatenate([wanted.weights for wanted in sums]), np.ones((1, frame_count)))
    separate = low_rank_by_membership(sums)
    by_group = separate if sum(map(len, separate)) <= len(joint) + 1 else [joint]
    coefficients = np.concatenate(by_group)
    ends = np.cumsum([0, *map(len, by_group)]).tolist()
    groups = tuple(slice(start, stop) for start, stop in pairwise(ends))
    inverse = np.linalg.pinv(coefficients)
    combinations = {}
    for wanted in sums:
        combination = wanted.weights @ inverse
        magnitude = np.abs(combination)
        combinations[wanted.name] = np.where(magnitude > NEGLIGIBLE_COEFFICIENT * magnitude.max(), combination, 0)
    return Plan(frequency_samples(len(sums[0].whole_weights)), coefficients, combinations, tuple(sums), groups)


def low_rank_by_membership(sums: list[Sum]) -> list[FloatArray]:
    """Bases as `low_rank_basis` of all ``sums``, one for each set of frames that belong to the same sums.

    Each basis (r, t) is zero for all other frames. The smallest one comes first.
    """
    memberships = np.stack([wanted.frames for wanted in sums])
    bases = []
    for membership in np.unique(memberships, axis=1).T:
        frames = (memberships == membership[:, None]).all(0)
        rows = np.concatenate([wanted.whole_weights[:, frames] for wanted in sums])
        vectors = low_rank_basis(rows, np.ones((1, int(frames.sum()))))
        basis = np.zeros((len(vectors), len(frames)))
        basis[:, frames] = vectors
        bases.append(basis)
    return sorted(bases, key=len)


def unweighted_sums(frame_count: int, parts: dict[str, FloatArray], sample_count: int = 1024) -> list[Sum]:
    """Sums of ``frame_count`` frames of equal weight. ``parts``: name -> (t,) 1 or 0, which frames are in the sum."""
    ones = np.ones((sample_count, frame_count))
    return [Sum(name, ones, frames.astype(float)) for name, frames in parts.items()]


def unweighted_plan(frame_count: int) -> Plan:
    """The plan of the plain sum of ``frame_count`` frames and no other, named "sum"."""
    return make_plan(unweighted_sums(frame_count, {"sum": np.ones(frame_count)}))


def dose_weighted_sums(
    accumulated: FloatArray, pixel_size: float, voltage: float, parts: dict[str, FloatArray]
) -> list[Sum]:
    """Sums with the weights exp(-D_t/2N_e) / sqrt(sum over all frames of exp(-D_t/N_e)) for the frames in each part.

    ``accumulated``: (t,) D_t, e/A² at the end of each frame; ``pixel_size``: A, unbinned; ``voltage``: kV; ``parts``:
    name -> (t,) 1 or 0. N_e is the critical dose. At q = 0 it is infinite, so all frames have equal weights there.
    The root makes the noise flat. Source: Grant & Grigorieff, eLife 4:e06980 (2015).
    """
    weights = damage(frequency_samples() / pixel_size, accumulated, voltage)
    weights /= np.sqrt((weights**2).sum(1, keepdims=True))
    return [Sum(name, weights, frames.astype(float)) for name, frames in parts.items()]
