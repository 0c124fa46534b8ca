"""Everything that turns raw counts into corrected counts, in the form that the kernels take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from restframe.arrays import Array, FloatArray, IntArray


class Calibration(NamedTuple):
    """corrected = (raw - dark) * gain - mean count; bad pixels, outliers and pixels off the frame get the local mean.

    It is a tuple because the compiled kernels take it apart. Local means are relative: (local mean / mean) - 1 of the
    sum of all frames.
    """

    gain: Array  # (h, w) float32, as `Kernels.mark_bad_pixels` returns it
    dark: Array  # (h, w) float32, or (1, 1) where there is no dark reference
    mean_counts: FloatArray  # (t,) float32 mean corrected count of the good pixels of each frame
    outlier_limits: FloatArray  # (t,) float32 a corrected count above this comes from a cosmic ray, not from the image
    row_start: IntArray  # (h + 1,) int64: the bad pixels of row y are row_start[y] ... row_start[y + 1] - 1
    bad_columns: IntArray  # (bad,) int64
    bad_values: FloatArray  # (bad,) float32 local mean there
    edge_rows: FloatArray  # (2, w) float32 local mean along the first and the last row
    edge_columns: FloatArray  # (2, h) float32 local mean along the first and the last column

    def of_frames(self, frames: slice | IntArray) -> Calibration:
        """The calibration of some of the frames."""
        return self._replace(mean_counts=self.mean_counts[frames], outlier_limits=self.outlier_limits[frames])


def compressed_rows(
    rows: IntArray, columns: IntArray, values: FloatArray, height: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """Bad pixels, given row by row, as `Calibration` lists them: row_start, bad_columns, bad_values.

    ``height``: number of rows of the frame.
    """
    row_start = np.searchsorted(rows, np.arange(height + 1))
    return row_start.astype(np.int64), columns.astype(np.int64), values.astype(np.float32)
