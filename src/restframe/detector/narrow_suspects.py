"""Narrow suspects: small groups of pixels that stand out in the sum, and their counts frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import Array, BoolArray, FloatArray, IntArray
from restframe.detector.defects import (
    positions_in_mask,
)
from restframe.detector.suspects import (
    Suspects,
    connected_regions,
    impossible_regions,
)

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels

from restframe.detector.camera_arrays import CameraArrays

SUSPECT_MARGIN_PX = 2  # around narrow suspects that is looked at with them, but not filled


@dataclass(frozen=True, eq=False)
class SuspectPixels:
    """Pixels that are bad for certain, (h, w) where the kernels work, and masks (h, w) of suspects on the host."""

    certain: Array
    narrow: BoolArray | None = None
    broad: BoolArray | None = None
    unlit: BoolArray | None = None

    @property
    def has_broad(self) -> bool:
        return self.broad is not None and bool(self.broad.any())

    def filled(self, kernels: Kernels) -> Array:
        """What is filled where motion is measured, (h, w)."""
        if self.narrow is None:
            return self.certain
        filled = self.narrow if self.unlit is None else self.narrow | self.unlit
        return self.certain | kernels.to_device(filled)


class NarrowSuspects:
    """The narrow suspects and their counts, frame by frame."""

    def __init__(
        self,
        kernels: Kernels,
        masks: SuspectPixels,
        total: Array,
        local: Array,
        camera: CameraArrays,
        frame_count: int,
    ) -> None:
        none = np.zeros(local.shape, bool)
        self.broad = none if masks.broad is None else masks.broad
        self.unlit = none if masks.unlit is None else masks.unlit
        narrow = none if masks.narrow is None else masks.narrow
        core_rows, core_columns = positions_in_mask(narrow)
        self.rows, self.columns = _with_margin(core_rows, core_columns, narrow.shape)
        certain = kernels.to_host(masks.certain[kernels.to_device(self.rows), kernels.to_device(self.columns)])
        self.rows, self.columns = self.rows[~certain], self.columns[~certain]
        self.is_core = narrow[self.rows, self.columns]
        self.region = connected_regions(self.rows, self.columns, narrow.shape[1])
        position = kernels.to_device(self.rows), kernels.to_device(self.columns)
        self.local = kernels.to_host(local[position])
        self.gain = kernels.to_host(camera.gain[position])
        self.dark = camera.host_dark[self.rows, self.columns] if camera.has_dark else 0.0
        self.counts = np.zeros((frame_count, len(self.rows)), np.float32)
        self.impossible = np.zeros(0, bool)
        if len(self.rows):
            mean = max(kernels.mean_of_good_pixels(total, masks.filled(kernels)), 1e-6)
            excess = [
                kernels.to_host(total[place]) / mean - 1 - kernels.to_host(local[place])
                for place in _neighbour_positions(kernels, self.rows, self.columns, narrow.shape)
            ]
            self.impossible = impossible_regions(excess[0], np.stack(excess[1:]), self.region)

    def take(self, kernels: Kernels, part: slice, frames: Array) -> None:
        """Note the corrected counts of ``frames`` (n, h, w)."""
        if len(self.rows):
            counts = kernels.pixel_counts(frames, self.rows, self.columns).astype(np.float32)
            self.counts[part] = (counts - self.dark) * self.gain

    def suspects(self, mean_counts: FloatArray) -> Suspects:
        expected = np.maximum(mean_counts, 1e-6)[:, None] * np.maximum(1 + self.local, 0.05)
        values = (self.counts - expected) / np.sqrt(np.maximum(expected * self.gain, 1e-6))
        shape = self.broad.shape[0], self.broad.shape[1]
        return Suspects(
            shape,
            self.rows,
            self.columns,
            self.is_core,
            self.region,
            values,
            largest_counts(self.counts, self.region, len(self.impossible)),
            self.impossible,
            self.broad,
            self.unlit,
        )


def largest_counts(counts: FloatArray, region: IntArray, count: int) -> FloatArray:
    """The largest of the corrected counts (t, n) of each region in a frame, the median of all frames: (count,).

    The median is not that of a cosmic ray.
    """
    largest = np.zeros((len(counts), count), np.float32)
    for frame_largest, frame_counts in zip(largest, counts, strict=True):
        np.maximum.at(frame_largest, region, frame_counts)
    return np.asarray(np.median(largest, axis=0))


def _with_margin(rows: IntArray, columns: IntArray, shape: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """The pixels (n,) and those within `SUSPECT_MARGIN_PX` of them in a frame (h, w), row by row."""
    steps = range(-SUSPECT_MARGIN_PX, SUSPECT_MARGIN_PX + 1)
    flat = [
        np.clip(rows + down, 0, shape[0] - 1) * shape[1] + np.clip(columns + across, 0, shape[1] - 1)
        for down in steps
        for across in steps
    ]
    with_margin = np.unique(np.concatenate(flat))
    return with_margin // shape[1], with_margin % shape[1]


def _neighbour_positions(
    kernels: Kernels, rows: IntArray, columns: IntArray, shape: tuple[int, ...]
) -> list[tuple[Array, Array]]:
    """The pixels (n,) themselves and their four neighbours, where the kernels work."""
    return [
        (
            kernels.to_device(np.clip(rows + down, 0, shape[0] - 1)),
            kernels.to_device(np.clip(columns + across, 0, shape[1] - 1)),
        )
        for down, across in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
    ]
