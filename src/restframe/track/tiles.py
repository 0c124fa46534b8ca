"""Overlapping tiles of the small frames, as spectra: the evidence that the motion field is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe import pages
from restframe.detector.binned import BinnedFrames
from restframe.track.windows import Windows, make_windows


@dataclass(frozen=True)
class Tiles:
    """Spectra of every tile and frame, noise-whitened, only the frequencies that measure motion.

    ``re``, ``im``: (p, t, 2m+1, m+1) float32, row m is ky = 0, column 0 is kx = 0, k in cycles per tile.
    A tile of frame t is cut ``offsets[t]`` small pixels away from its place at rest.
    """

    re: np.ndarray
    im: np.ndarray
    size: int  # small pixels a side
    centres: np.ndarray  # (p, 2) x, y in unbinned pixels
    offsets: np.ndarray  # (t, 2) whole small pixels
    factor: int  # unbinned pixels in a small one
    windows: Windows

    @property
    def band(self) -> int:
        return self.re.shape[-1] - 1

    def radius(self) -> np.ndarray:
        """|k| of each coefficient, cycles per tile, (2m+1, m+1)."""
        m = self.band
        return np.hypot(np.arange(-m, m + 1)[:, None], np.arange(m + 1)[None, :])


TILE_SIZES = (64, 96, 128, 160)  # small pixels; they transform fast


def tile_size(short_side: int) -> int:
    """The largest of `TILE_SIZES` that fits six times into the short side; tiny frames are one tile."""
    if short_side < TILE_SIZES[0]:
        return 2 * (short_side // 2)
    return max((s for s in TILE_SIZES if 6 * s <= short_side), default=TILE_SIZES[0])


def tile_starts(length: int, size: int, overlap: float) -> np.ndarray:
    """First pixels of equally spaced tiles that cover ``length``."""
    if length <= size:
        return np.array([(length - size) // 2])
    n = int(np.ceil((length - size) / (size * (1 - overlap)))) + 1
    return np.round(np.linspace(0, length - size, n)).astype(int)


def taper(size: int, overlap: float) -> np.ndarray:
    """Window of a tile; the squares of neighbours sum to one, so that no electron counts twice."""
    ramp = max(round(size * overlap), 1)
    w = np.ones(size)
    rise = np.sin(0.5 * np.pi * (np.arange(ramp) + 0.5) / ramp)
    w[:ramp] = rise
    w[-ramp:] *= rise[::-1]
    return w.astype(np.float32)


def make_tiles(
    kernels, small: BinnedFrames, offsets, weight: np.ndarray, size: int, overlap: float, band: int
) -> Tiles:
    """Cut, window and transform, frame by frame, each tile less its mean, which would leak along both axes; the noise
    of every coefficient has power one. Uses ``small`` up. ``weight``: how much each place counts (`specimen.py`).
    """
    h, w = small.shape
    corners = np.array([(y, x) for y in tile_starts(h, size, overlap) for x in tile_starts(w, size, overlap)])
    windows = make_windows(taper(size, overlap), corners, weight, small.shape)
    lattice = (windows.lattice * small.scale).astype(np.float32)
    shape = (len(corners), small.n_frames, 2 * band + 1, band + 1)
    re, im = kernels.empty_spectra(shape), kernels.empty_spectra(shape)

    places = corners + np.asarray(offsets)[:, None, ::-1]

    def some(part: slice) -> None:
        kernels.tile_spectra(small.stack[part], places[part], windows.taper, lattice, re[:, part], im[:, part])
        pages.release_pages(small.stack[part])

    parts = [slice(i, i + kernels.frames_per_block) for i in range(0, small.n_frames, kernels.frames_per_block)]
    kernels.parallel_map(some, parts)  # to share out each step takes longer than the step
    middle = corners[:, ::-1] + (size - 1) / 2
    return Tiles(re, im, size, small.unbinned(middle), np.asarray(offsets), small.factor, windows)
