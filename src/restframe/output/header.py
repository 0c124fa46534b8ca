"""Headers of MRC files that are written as their frames come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.version import VERSION

LABEL = f"restframe {VERSION}"
BAND = 1 << 17  # pixels looked at together, which stay in the cache


@dataclass
class Statistics:
    """Of all pixels seen so far."""

    low: float = np.inf
    high: float = -np.inf
    whole: bool = True  # no fractions
    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def add(self, frame: np.ndarray) -> None:
        rows = max(1, BAND // frame.shape[1])
        for first in range(0, len(frame), rows):  # so that nothing of a frame's size is made
            band = frame[first : first + rows].ravel()
            self.low, self.high = min(self.low, float(band.min())), max(self.high, float(band.max()))
            values = band.astype(np.float64)
            self.whole = self.whole and (frame.dtype.kind != "f" or bool(np.all(values == np.floor(values))))
            self.count += values.size
            self.total += float(values.sum())
            self.squares += float(np.square(values, out=values).sum())


def mrc_header(shape: tuple[int, int, int], mode: int, pixel_size: float, extended: int, seen: Statistics) -> bytes:
    """The first 1024 bytes of a file of ``shape`` (t, h, w); ``extended``: bytes that follow, before the frames."""
    from mrcfile.dtypes import HEADER_DTYPE

    t, h, w = shape
    header = np.zeros(1, HEADER_DTYPE.newbyteorder("<"))
    for names, values in (
        (("nx", "ny", "nz"), (w, h, t)),
        (("mx", "my", "mz"), (w, h, t)),
        (("mapc", "mapr", "maps"), (1, 2, 3)),
    ):
        for name, value in zip(names, values, strict=True):
            header[name] = value
    header["mode"] = mode
    header["cella"] = tuple(pixel_size * n for n in (w, h, t))
    header["cellb"] = (90, 90, 90)
    mean = seen.total / seen.count
    header["dmin"], header["dmax"], header["dmean"] = seen.low, seen.high, mean
    header["rms"] = np.sqrt(max(seen.squares / seen.count - mean**2, 0))
    header["nsymbt"] = extended
    header["nversion"] = 20140
    header["map"] = b"MAP "
    header["machst"] = (0x44, 0x44, 0, 0)
    header["nlabl"] = 1
    header["label"][0, 0] = LABEL.encode()
    return header.tobytes()
