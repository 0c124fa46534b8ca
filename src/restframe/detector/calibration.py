"""Everything that turns raw counts into corrected ones, in the form the kernels take."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Calibration(NamedTuple):
    """corrected = (raw - dark) * gain - level; bad pixels, outliers and what lies off the frame hold the local mean.

    A tuple because the kernels take it apart. Local means are fractions of the frame's mean count, less one.
    """

    gain: np.ndarray  # (h, w) float32, as the kernels' mark_bad gives it
    dark: np.ndarray  # (h, w) float32, or (1, 1): none
    mean_counts: np.ndarray  # (t,) float32 mean corrected count of each frame
    outlier_limits: np.ndarray  # (t,) float32 a corrected count above this is no electron of the image (cosmic ray)
    row_start: np.ndarray  # (h + 1,) int64: bad pixels of row y are row_start[y] ... row_start[y + 1]
    bad_columns: np.ndarray  # (bad,) int64
    bad_values: np.ndarray  # (bad,) float32 local mean there
    edge_rows: np.ndarray  # (2, w) float32 local mean along the first and last row
    edge_columns: np.ndarray  # (2, h) float32 along the first and last column

    def of_frames(self, part: slice | np.ndarray) -> Calibration:
        """The same for some of the frames."""
        return self._replace(mean_counts=self.mean_counts[part], outlier_limits=self.outlier_limits[part])


def bad_by_row(bad: np.ndarray, local: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bad pixels as compressed rows: first, columns, values."""
    rows, columns = np.nonzero(bad)
    return by_row(rows, columns, local[rows, columns], len(bad))


def by_row(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, h: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same from the places of the bad pixels, row by row, in an image of ``h`` rows."""
    first = np.searchsorted(rows, np.arange(h + 1))
    return first.astype(np.int64), columns.astype(np.int64), values.astype(np.float32)
