"""From the information about each tile's displacements to that about the coefficients of the field."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, BoolArray, FloatArray
from restframe.kernels.reference import to_host
from restframe.track.time_basis import TimeBasis


@dataclass(frozen=True)
class ModeGroup:
    """Consecutive modes with the same functions of time."""

    basis: TimeBasis
    modes: slice
    coefficients: slice

    @property
    def mode_count(self) -> int:
        return int(self.modes.stop - self.modes.start)


@dataclass(frozen=True, eq=False)
class Assembly:
    """How the information about single tiles is combined; all arrays are on the device."""

    bases: list[tuple[Array, bool]]  # of each mode group: functions of time (t, n), and whether it has one mode only
    pairs: list[tuple[int, int, Array]]  # two groups, and the products of their modes in each tile (pairs, p)
    positions: Array  # (n, n): where each element of the result is in the concatenated blocks of all pairs


def make_assembly(groups: list[ModeGroup], tile_means: FloatArray, xp: Any) -> Assembly:
    """``tile_means``: (modes, p) mean of each mode over each tile; ``xp``: the array namespace of the device.

    Each pair of modes is worked out once: within a group, the block of modes (a, b) serves for (b, a) too.
    """
    coefficient_count = groups[-1].coefficients.stop
    positions = np.empty((coefficient_count, coefficient_count), np.int32)
    pairs, block_start = [], 0
    for left, right in combinations_with_replacement(range(len(groups)), 2):
        left_group, right_group = groups[left], groups[right]
        left_means, right_means = tile_means[left_group.modes], tile_means[right_group.modes]
        mode_counts = len(left_means), len(right_means)
        if left == right:
            left_modes, right_modes = np.triu_indices(len(left_means))
        else:
            left_modes, right_modes = np.indices(mode_counts).reshape(2, -1)
        pair_numbers = np.empty(mode_counts, np.int32)
        pair_numbers[left_modes, right_modes] = np.arange(len(left_modes))
        if left == right:
            pair_numbers[right_modes, left_modes] = np.arange(len(left_modes))
        rows, columns = len(left_group.basis), len(right_group.basis)
        within_block = np.arange(rows * columns).reshape(rows, columns)
        block = pair_numbers[:, None, :, None] * (rows * columns) + within_block[:, None]
        block = block_start + block.reshape(len(left_means) * rows, -1)
        positions[right_group.coefficients, left_group.coefficients] = block.T
        positions[left_group.coefficients, right_group.coefficients] = block
        block_start += len(left_modes) * rows * columns
        pairs.append((left, right, xp.asarray(left_means[left_modes] * right_means[right_modes])))
    bases = [(xp.asarray(group.basis.values), group.mode_count == 1) for group in groups]
    return Assembly(bases, pairs, xp.asarray(positions))


def coefficient_information(
    assembly: Assembly, tile_information: Array, tile_weights: FloatArray | BoolArray | None = None
) -> FloatArray:
    """Fisher information of the coefficients, per axis, (n, n), on the host.

    ``tile_information``: (p, t, t) of each tile's displacements; ``tile_weights``: (p,) how much each tile counts.
    """
    xp = array_namespace(tile_information)
    if tile_weights is not None:
        tile_information = tile_information * xp.asarray(tile_weights)[:, None, None]
    # where a group has one mode, tiles are summed first: frames are many more than functions of time of local modes
    right_products = [tile_information if single else tile_information @ values for values, single in assembly.bases]
    blocks = []
    for left, right, mode_products in assembly.pairs:
        (left_values, left_single), (right_values, right_single) = assembly.bases[left], assembly.bases[right]
        product = right_products[right] if left_single else left_values.T @ right_products[right]
        block = (mode_products @ product.reshape(len(product), -1)).reshape(-1, *product.shape[1:])
        block = block @ right_values if right_single else block
        blocks.append((left_values.T @ block if left_single else block).reshape(-1))
    return to_host(xp.concat(blocks)[assembly.positions])
