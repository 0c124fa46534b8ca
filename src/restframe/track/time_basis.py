"""Functions of time in which both penalties of the prior are diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from scipy import linalg

from restframe.arrays import FloatArray
from restframe.track.groups import Groups
from restframe.track.prior import TIME_AXES, TimeAxis, roughness_penalty, speed_penalty


@dataclass(frozen=True, eq=False)
class TimeBasis:
    """Functions of time, zero in the reference frame. The speed penalty of each is one, that of two together zero."""

    values: FloatArray  # (t, n)
    roughness: FloatArray  # (n,) the roughness penalty of each, ascending; that of two together is zero

    def __len__(self) -> int:
        return int(self.values.shape[1])

    @cached_property
    def inverse(self) -> FloatArray:
        """(n, t): the coefficients of a trajectory, by least squares."""
        return np.linalg.pinv(self.values)

    def smoothest(self, maximum_count: int) -> TimeBasis:
        """The smoothest functions, ``maximum_count`` of them at most."""
        if len(self) <= maximum_count:
            return self
        return TimeBasis(self.values[:, :maximum_count], self.roughness[:maximum_count])


def make_time_basis(mid_dose: FloatArray, axis: TimeAxis, reference: int, groups: Groups) -> TimeBasis:
    """The basis for frames with ``mid_dose`` (t,) e/A² at the middle of each, counted from the first frame.

    Trajectories are free in every frame. Where ``groups`` are fewer than frames, they are free in the middle of every
    group, with straight lines between and beyond.
    """
    return _make_time_basis(tuple(mid_dose.tolist()), axis, reference, groups)


@lru_cache(4 * len(TIME_AXES))  # movies of one batch share them
def _make_time_basis(doses: tuple[float, ...], axis: TimeAxis, reference: int, groups: Groups) -> TimeBasis:
    mid_dose, frame_count = np.array(doses), len(doses)
    if len(groups) < frame_count:
        nodes = np.array([group.mean() for group in np.split(mid_dose, groups[1:])])
        lines = np.stack([piecewise_linear(mid_dose, nodes, unit) for unit in np.eye(len(nodes))], axis=1)
        vectors, singular_values, _ = np.linalg.svd(lines - lines[reference], full_matrices=False)
        values = vectors[:, singular_values > 1e-9 * singular_values[0]]
    else:
        values = np.delete(np.eye(frame_count), reference, axis=1)
    times = axis.stretched_time(mid_dose)
    roughness, rotation = linalg.eigh(
        values.T @ roughness_penalty(times) @ values, values.T @ speed_penalty(times) @ values
    )
    return TimeBasis(values @ rotation, np.maximum(roughness, 0))


def piecewise_linear(x: FloatArray, nodes: FloatArray, values: FloatArray) -> FloatArray:
    """Linear interpolation of ``values`` at ``nodes``; the outer pieces are continued beyond the ends."""
    left_node = np.clip(np.searchsorted(nodes, x) - 1, 0, len(nodes) - 2)
    fraction = (x - nodes[left_node]) / (nodes[left_node + 1] - nodes[left_node])
    return np.asarray(values[left_node] * (1 - fraction) + values[left_node + 1] * fraction)
