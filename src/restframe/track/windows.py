"""The windows of tiles: a taper, times a map of where the specimen is (`specimen.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from restframe.arrays import BoolArray, FloatArray, IntArray
from restframe.kernels.reference import hat_functions

NOTABLE_AREA = 0.2  # of a tile: with weight in less, it does not take part


@dataclass(frozen=True, eq=False)
class Windows:
    """The window of each tile; the sum of its squares over the pixels is one.

    It is ``taper`` (size,) along y, times the same along x, times bilinear interpolation of ``window_weights``
    (p, n+1, n+1), which are given at the corners of n x n equal cells of the tile.
    """

    taper: FloatArray
    window_weights: FloatArray

    @cached_property
    def node_positions(self) -> FloatArray:
        """Positions of the cells' corners along an axis, (n + 1,), in pixels from the middle of the tile."""
        cell_count = self.window_weights.shape[1] - 1
        return np.asarray((np.arange(cell_count + 1) / cell_count - 0.5) * len(self.taper))

    @cached_property
    def independent_share(self) -> FloatArray:
        """(p,) the fraction of a tile's coefficients that are independent and seen by no other tile.

        (sum w²)² / (N sum w⁴) over the N pixels, with the squares w² of ``window_weights``.
        """
        return np.asarray(1 / (len(self.taper) ** 2 * window_powers(self.taper, self.window_weights**2)))

    @cached_property
    def motion_weights(self) -> FloatArray:
        """(p, n+1, n+1): weight of each node in the tile's mean of a field of motion: the power seen there, squared."""
        hats = hat_functions(len(self.taper), self.window_weights.shape[1] - 1)
        along_axis = self.taper**2 @ hats
        weights = np.outer(along_axis, along_axis) * self.window_weights**4
        return np.asarray(weights / weights.sum((1, 2), keepdims=True))


def window_powers(taper: FloatArray, window_weights: FloatArray) -> FloatArray:
    """Sums over the pixels of the squares of such windows, (p,)."""
    hats = hat_functions(len(taper), window_weights.shape[1] - 1) * taper[:, None]
    overlap = hats.T @ hats
    return np.asarray(np.einsum("pij,pij->p", window_weights, overlap @ window_weights @ overlap))


def cells_per_side(size: int) -> int:
    """Number of equal cells along a side of ``size`` pixels: the smallest divisor that is at least its square root."""
    smallest = int(np.ceil(size**0.5))
    return next(count for count in range(smallest, size + 1) if size % count == 0)


def tiles_with_weight(
    taper: FloatArray, tile_origins: IntArray, weight_map: FloatArray, frame_shape: tuple[int, int]
) -> BoolArray:
    """Which tiles have weight in a notable part of their area, (p,); all where none has. Parameters as of
    `make_windows`.
    """
    if weight_map.min() > 0:
        return np.ones(len(tile_origins), bool)
    weights = _node_weights(taper, tile_origins, weight_map, frame_shape)
    notable = np.asarray((weights > 0).mean((1, 2)) > NOTABLE_AREA)
    return notable if notable.any() else ~notable


def make_windows(
    taper: FloatArray, tile_origins: IntArray, weight_map: FloatArray, frame_shape: tuple[int, int]
) -> Windows:
    """Windows of tiles whose first pixels at zero displacement are ``tile_origins`` (p, 2) y, x.

    ``weight_map``: an image of the whole frame, of any size: how much each place counts (`specimen.py`).
    ``frame_shape``: (h, w) of a binned frame. Tiles without any weight are taken as they are.
    """
    window_weights = np.sqrt(_node_weights(taper, tile_origins, weight_map, frame_shape))
    window_weights[~window_weights.any((1, 2))] = 1.0
    return Windows(taper, window_weights / np.sqrt(window_powers(taper, window_weights))[:, None, None])


def _node_weights(
    taper: FloatArray, tile_origins: IntArray, weight_map: FloatArray, frame_shape: tuple[int, int]
) -> FloatArray:
    """The map at the corners of each tile's cells, (p, n+1, n+1)."""
    cell_count = cells_per_side(len(taper))
    nodes = np.arange(cell_count + 1) * (len(taper) / cell_count)
    rows, columns = (
        (origins[:, None] + nodes) * (map_length / frame_length) - 0.5
        for origins, map_length, frame_length in zip(tile_origins.T, weight_map.shape, frame_shape, strict=True)
    )
    return bilinear_samples(weight_map, rows, columns)


def bilinear_samples(image: FloatArray, rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Bilinear interpolation at every pair of ``rows`` (p, m) and ``columns`` (p, n): (p, m, n).

    Beyond the edges the image continues with its edge values. The same as scipy.ndimage.map_coordinates (order 1, mode
    nearest) to rounding (4e-16). That function is not used because the fit makes of such changes up to 2e-6 px, and
    results have to stay the same byte for byte.
    """
    (row, row_fraction), (column, column_fraction) = (
        _split_position(positions, length) for positions, length in zip((rows, columns), image.shape, strict=True)
    )
    row, row_fraction = row[:, :, None], row_fraction[:, :, None]
    column, column_fraction = column[:, None, :], column_fraction[:, None, :]
    upper, lower = (
        image[line, column] + column_fraction * (image[line, column + 1] - image[line, column])
        for line in (row, row + 1)
    )
    return np.asarray(upper + row_fraction * (lower - upper))


def _split_position(position: FloatArray, length: int) -> tuple[IntArray, FloatArray]:
    """The sample before each position on an axis of ``length`` samples, and the remaining fraction."""
    position = np.clip(position, 0, length - 1)
    sample = np.minimum(position.astype(int), length - 2)
    return sample, position - sample
