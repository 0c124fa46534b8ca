"""Headers of MRC files whose frames are written one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import AnyArray
from restframe.version import VERSION

LABEL = f"restframe {VERSION}"
HEADER_BYTES = 1024
PIXELS_PER_BAND = 1 << 17  # looked at together, so that they stay in the processor's cache
MRC2014_VERSION = 20140
LITTLE_ENDIAN_STAMP = (0x44, 0x44, 0, 0)


@dataclass
class Statistics:
    """Statistics of all pixels added so far."""

    minimum: float = np.inf
    maximum: float = -np.inf
    integers_only: bool = True
    pixel_count: int = 0
    total: float = 0.0
    sum_of_squares: float = 0.0

    def add(self, frame: AnyArray) -> None:
        """Add the pixels of ``frame`` (h, w), band by band, so that no copy of the frame's size is made."""
        rows_per_band = max(1, PIXELS_PER_BAND // frame.shape[1])
        for first_row in range(0, len(frame), rows_per_band):
            band = frame[first_row : first_row + rows_per_band].ravel()
            self.minimum = min(self.minimum, float(band.min()))
            self.maximum = max(self.maximum, float(band.max()))
            values = band.astype(np.float64)
            band_of_integers = frame.dtype.kind != "f" or bool(np.all(values == np.floor(values)))
            self.integers_only = self.integers_only and band_of_integers
            self.pixel_count += values.size
            self.total += float(values.sum())
            self.sum_of_squares += float(np.square(values, out=values).sum())

    @property
    def mean(self) -> float:
        return self.total / self.pixel_count

    @property
    def standard_deviation(self) -> float:
        return float(np.sqrt(max(self.sum_of_squares / self.pixel_count - self.mean**2, 0)))


def mrc_header(
    shape: tuple[int, int, int], mode: int, pixel_size: float, extended_bytes: int, statistics: Statistics
) -> bytes:
    """The header of a file of ``shape`` (t, h, w). ``extended_bytes``: of an extended header, before the frames."""
    from mrcfile.dtypes import HEADER_DTYPE

    columns_rows_sections = shape[::-1]
    header = np.zeros(1, HEADER_DTYPE.newbyteorder("<"))
    for field_names, values in (
        (("nx", "ny", "nz"), columns_rows_sections),
        (("mx", "my", "mz"), columns_rows_sections),
        (("mapc", "mapr", "maps"), (1, 2, 3)),
    ):
        for field_name, value in zip(field_names, values, strict=True):
            header[field_name] = value
    header["mode"] = mode
    header["cella"] = tuple(pixel_size * length for length in columns_rows_sections)
    header["cellb"] = (90, 90, 90)
    header["dmin"], header["dmax"], header["dmean"] = statistics.minimum, statistics.maximum, statistics.mean
    header["rms"] = statistics.standard_deviation
    header["nsymbt"] = extended_bytes
    header["nversion"] = MRC2014_VERSION
    header["map"] = b"MAP "
    header["machst"] = LITTLE_ENDIAN_STAMP
    header["nlabl"] = 1
    header["label"][0, 0] = LABEL.encode()
    return header.tobytes()
