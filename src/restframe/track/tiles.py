"""Overlapping tiles of the small frames, as spectra: the evidence that the motion field is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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

    @property
    def band(self) -> int:
        return self.re.shape[-1] - 1

    def radius(self) -> np.ndarray:
        """|k| of each coefficient, cycles per tile, (2m+1, m+1)."""
        m = self.band
        return np.hypot(np.arange(-m, m + 1)[:, None], np.arange(m + 1)[None, :])


def tile_starts(length: int, size: int, overlap: float) -> np.ndarray:
    """First pixels of equally spaced tiles that cover ``length``."""
    if length <= size:
        return np.array([(length - size) // 2])
    n = int(np.ceil((length - size) / (size * (1 - overlap)))) + 1
    return np.round(np.linspace(0, length - size, n)).astype(int)


def taper(size: int, overlap: float) -> np.ndarray:
    """Window of a tile; the squares of neighbours sum to one, so that no electron counts twice."""
    ramp = max(int(round(size * overlap)), 1)
    w = np.ones(size)
    rise = np.sin(0.5 * np.pi * (np.arange(ramp) + 0.5) / ramp)
    w[:ramp] = rise
    w[-ramp:] *= rise[::-1]
    return w.astype(np.float32)


def cut(frame: np.ndarray, y: int, x: int, size: int) -> np.ndarray:
    """frame[y : y + size, x : x + size], zero where that lies outside."""
    h, w = frame.shape
    out = np.zeros((size, size), frame.dtype)
    y0, y1, x0, x1 = max(y, 0), min(y + size, h), max(x, 0), min(x + size, w)
    if y0 < y1 and x0 < x1:
        out[y0 - y : y1 - y, x0 - x : x1 - x] = frame[y0:y1, x0:x1]
    return out


def make_tiles(small, offsets, size: int, overlap: float, band: int, factor: int, threads: int) -> Tiles:
    """Cut, taper and transform. ``small``: (t, h, w) frames of mean zero and noise of variance one."""
    from scipy import fft

    t, h, w = small.shape
    ys, xs = tile_starts(h, size, overlap), tile_starts(w, size, overlap)
    window = taper(size, overlap)
    window = window[:, None] * window[None, :]
    p = len(ys) * len(xs)
    re = np.empty((p, t, 2 * band + 1, band + 1), np.float32)
    im = np.empty_like(re)
    stack = np.empty((t, size, size), np.float32)
    for i, (y, x) in enumerate((y, x) for y in ys for x in xs):
        for f, (dx, dy) in enumerate(offsets):
            stack[f] = cut(small[f], y + dy, x + dx, size) * window
        spectrum = fft.rfft2(stack, workers=threads)[:, :, : band + 1]
        spectrum = np.concatenate([spectrum[:, -band:], spectrum[:, : band + 1]], axis=1)
        re[i], im[i] = spectrum.real, spectrum.imag
    # the centre of the small pixel j lies at unbinned coordinate factor j + (factor - 1) / 2
    mid = np.array([(x + (size - 1) / 2, y + (size - 1) / 2) for y in ys for x in xs])
    return Tiles(re, im, size, factor * mid + (factor - 1) / 2, np.asarray(offsets), factor)
