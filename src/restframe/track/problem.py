"""What stays the same while a motion field is fitted: the data of the tiles, and the model of the field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import FloatArray, IntArray
from restframe.track.field import Modes, legendre_values
from restframe.track.groups import Groups
from restframe.track.information import Assembly, ModeGroup, make_assembly
from restframe.track.likelihood import SignalModel
from restframe.track.prior import DEFAULT_TIME_AXIS, Prior, TimeAxis
from restframe.track.rings import RingGeometry
from restframe.track.tiles import Tiles
from restframe.track.time_basis import TimeBasis, make_time_basis

LOCAL_TRAJECTORIES = 24  # functions of time of each local mode, at most


@dataclass(frozen=True, eq=False)
class TileData:
    """The tiles, scaled by the signal's amplitude, and what the likelihood assumes of them."""

    tiles: Tiles
    rings: RingGeometry
    signal: SignalModel

    def with_damping(self, damping: FloatArray | None) -> TileData:
        """The same with a filter (rings,) in place of the shape of the likelihood's weights; None: those weights."""
        return replace(self, signal=replace(self.signal, damping=damping))


@dataclass(frozen=True, eq=False)
class FieldModel:
    """A motion field with unknown coefficients (n, 2), mode after mode; columns are x and y.

    Displacements are in binned pixels.
    """

    modes: Modes
    tile_means: FloatArray  # (modes, p): mean of each mode over what each tile shows; the first mode is the global one
    mid_dose: FloatArray  # (t,) e/A² at the middle of each frame, counted from the first frame
    reference: int  # the frame whose displacement is zero
    global_groups: Groups  # frames aligned together: global motion
    local_groups: Groups  # the same for local modes
    time_axis: TimeAxis = DEFAULT_TIME_AXIS

    @cached_property
    def degrees(self) -> IntArray:
        """Total degree of each mode."""
        return np.array([sum(mode) for mode in self.modes])

    @cached_property
    def global_basis(self) -> TimeBasis:
        """Functions of time of the global motion."""
        return make_time_basis(self.mid_dose, self.time_axis, self.reference, self.global_groups)

    @cached_property
    def local_basis(self) -> TimeBasis:
        """Functions of time of the local modes: the smoothest ones."""
        basis = self.global_basis
        if self.local_groups != self.global_groups:
            basis = make_time_basis(self.mid_dose, self.time_axis, self.reference, self.local_groups)
        return basis.smoothest(LOCAL_TRAJECTORIES)

    @cached_property
    def mode_bases(self) -> tuple[TimeBasis, ...]:
        """Functions of time of each mode."""
        return tuple(self.local_basis if degree else self.global_basis for degree in self.degrees)

    @cached_property
    def coefficient_slices(self) -> list[slice]:
        """Where the coefficients of each mode are."""
        ends = np.cumsum([0] + [len(basis) for basis in self.mode_bases])
        return [slice(first, end) for first, end in pairwise(ends)]

    @property
    def coefficient_count(self) -> int:
        return int(self.coefficient_slices[-1].stop)

    @cached_property
    def mode_groups(self) -> list[ModeGroup]:
        """Modes with the same functions of time: the global mode, which may have those of all others, local modes."""
        bases, slices = self.mode_bases, self.coefficient_slices
        first_modes = [mode for mode, basis in enumerate(bases) if mode == 0 or basis is not bases[mode - 1]]
        return [
            ModeGroup(bases[first], slice(first, end), slice(slices[first].start, slices[end - 1].stop))
            for first, end in pairwise([*first_modes, len(bases)])
        ]

    def prior_precision(self, prior: Prior) -> FloatArray:
        """Precision of the coefficients in the prior, (n,)."""
        return np.concatenate(
            [
                prior.precision(degree, basis.roughness)
                for degree, basis in zip(self.degrees, self.mode_bases, strict=True)
            ]
        )

    @cached_property
    def displacement_norm(self) -> FloatArray:
        """(n, n): x·norm·x is the mean square, over tiles and frames, of the displacement less its mean over time."""
        overlap = self.tile_means @ self.tile_means.T / self.tile_means[0].size / len(self.mid_dose)
        groups = self.mode_groups
        centred = [group.basis.values - group.basis.values.mean(0) for group in groups]
        return np.block(
            [
                [
                    np.kron(overlap[group.modes, other.modes], values.T @ other_values)
                    for other, other_values in zip(groups, centred, strict=True)
                ]
                for group, values in zip(groups, centred, strict=True)
            ]
        )

    def amplitudes(self, coefficients: FloatArray) -> FloatArray:
        """Amplitude of each mode in each frame, (modes, t, 2), from coefficients (n, 2)."""
        return np.concatenate(
            [
                group.basis.values @ coefficients[group.coefficients].reshape(-1, len(group.basis), 2)
                for group in self.mode_groups
            ]
        )

    def coefficients(self, amplitudes: FloatArray) -> FloatArray:
        """(n, 2), least squares, from amplitudes (some modes, t, 2); the first modes are given, others are zero."""
        coefficients = np.zeros((self.coefficient_count, 2))
        for group in self.mode_groups:
            fitted = (group.basis.inverse @ amplitudes[group.modes]).reshape(-1, 2)
            coefficients[group.coefficients][: len(fitted)] = fitted
        return coefficients

    def displacement(self, coefficients: FloatArray) -> FloatArray:
        """Displacement of each tile in each frame, (p, t, 2), from coefficients (n, 2)."""
        return np.tensordot(self.tile_means.T, self.amplitudes(coefficients), 1)

    def coefficient_gradient(self, gradient: FloatArray) -> FloatArray:
        """Derivatives by coefficient (n, 2), from those by displacement (p, t, 2)."""
        by_mode = np.tensordot(self.tile_means, gradient, 1)
        return np.concatenate(
            [(group.basis.values.T @ by_mode[group.modes]).reshape(-1, 2) for group in self.mode_groups]
        )


@dataclass(frozen=True, eq=False)
class Problem:
    """A field model to be fitted to tiles."""

    data: TileData
    model: FieldModel

    @cached_property
    def assembly(self) -> Assembly:
        """For `information.coefficient_information`, on the device where the tiles are."""
        return make_assembly(self.model.mode_groups, self.model.tile_means, array_namespace(self.data.tiles.real))

    def with_time_axis(self, time_axis: TimeAxis) -> Problem:
        return replace(self, model=replace(self.model, time_axis=time_axis))


def mean_modes_over_tiles(modes: Modes, tiles: Tiles, frame_shape: tuple[int, int]) -> FloatArray:
    """Mean of each mode over what each tile shows of motion (`Windows.motion_weights`), (modes, p).

    ``frame_shape``: (h, w) of an unbinned frame.
    """
    node_offsets = tiles.windows.node_positions * tiles.factor
    highest_degree = max(max(mode) for mode in modes)
    values_x, values_y = (
        np.stack(legendre_values((2 * (centres[:, None] + node_offsets) + 1) / length - 1, highest_degree))
        for centres, length in zip(tiles.centres.T, frame_shape[::-1], strict=True)
    )
    means = np.einsum("bpi,pij,apj->abp", values_y, tiles.windows.motion_weights, values_x, optimize=True)
    return np.stack([means[degree_x, degree_y] for degree_x, degree_y in modes])
