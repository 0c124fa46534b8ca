"""The low frequencies of whole frames, on which the coarse search works."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, FloatArray
from restframe.detector.binned import BinnedFrames
from restframe.kernels.interface import Kernels
from restframe.track.tiles import frame_blocks


@dataclass(frozen=True, eq=False)
class LowBand:
    """Spectra of whole binned frames, without their high frequencies."""

    spectra: Array  # (t, 2m, m'+1) complex64 in FFT order, on the device
    frame_shape: tuple[int, int]  # (h, w) of a binned frame

    @property
    def image_shape(self) -> tuple[int, int]:
        """(rows, columns) of an image that holds just these frequencies."""
        rows, columns = self.spectra.shape[1:]
        return rows, 2 * (columns - 1)

    def frequencies(self) -> tuple[FloatArray, FloatArray]:
        """ky (2m, 1) and kx (1, m'+1) in cycles per binned pixel."""
        rows, columns = self.spectra.shape[1:]
        ky = np.fft.fftfreq(rows) * rows / self.frame_shape[0]
        return ky[:, None], (np.arange(columns) / self.frame_shape[1])[None, :]


def low_frequency_band(kernels: Kernels, binned: BinnedFrames, side: int) -> LowBand:
    """The spectra of all frames, cropped so that the short side of an image of them has ``side`` samples."""
    height, width = binned.shape
    scale = min(1.0, side / min(height, width))
    rows, columns = (2 * round(length * scale / 2) for length in (height, width))
    columns = min(columns, 2 * (width // 2))
    half, serial = rows // 2, kernels.single_threaded()

    def transform_block(block: slice) -> Array:
        spectra = serial.rfft2(binned.stack[block], columns // 2 + 1)
        xp = array_namespace(spectra)
        if rows < height:
            spectra = xp.concat([spectra[:, :half], spectra[:, height - half :]], axis=1)
        return np.float32(binned.scale) * spectra

    spectra = kernels.parallel_map(transform_block, frame_blocks(binned.n_frames, kernels.frames_per_block))
    return LowBand(array_namespace(spectra[0]).concat(spectra), binned.shape)


def shift_factors(displacement: Array, ky: Array, kx: Array) -> tuple[Array, Array]:
    """exp(+2 pi i k·displacement), which shifts frames back, as factors of the rows (t, 2m, 1) and the columns
    (t, 1, m'+1) of their spectra. ``displacement``: (t, 2) x, y in binned pixels.
    """
    xp = array_namespace(displacement)
    row_factors = xp.exp(2j * np.pi * displacement[:, 1, None, None] * ky)
    column_factors = xp.exp(2j * np.pi * displacement[:, 0, None, None] * kx)
    return row_factors.astype(xp.complex64), column_factors.astype(xp.complex64)
