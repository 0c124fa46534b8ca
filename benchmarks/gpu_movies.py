"""Movies for speed tests, made on the GPU in seconds: a structured image that moves, Poisson counts, a gain."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CONTRAST = 0.04  # sd of the specimen, of the mean


def make(shape: tuple[int, int, int], rate: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Counts (t, h, w) uint8, ``rate`` a pixel and frame, and the gain that corrects them (h, w) float32."""
    import cupy as cp
    from cupyx.scipy import ndimage

    cp.random.seed(seed)
    rng = np.random.default_rng(seed)
    t, h, w = shape
    ky, kx = cp.fft.fftfreq(h).astype(cp.float32)[:, None], cp.fft.rfftfreq(w).astype(cp.float32)[None]
    spectrum = cp.fft.rfft2(cp.random.standard_normal((h, w), dtype=cp.float32))
    spectrum *= 4 * cp.exp(-(ky**2 + kx**2) / (2 * 0.03**2)) + cp.exp(-(ky**2 + kx**2) / (2 * 0.15**2))
    image = cp.fft.irfft2(spectrum, s=(h, w)).astype(cp.float32)
    image = 1 + image * (CONTRAST / image.std())
    gain = (1 + 0.05 * cp.random.standard_normal((h, w), dtype=cp.float32)).clip(0.5, 2)
    y, x = cp.meshgrid(cp.arange(h, dtype=cp.float32), cp.arange(w, dtype=cp.float32), indexing="ij")
    u, v = x / w - 0.5, y / h - 0.5
    basis, local = (u, v, u * v, u * u, v * v, u * u * v), rng.normal(0, 3, (2, 6))
    counts = np.empty(shape, np.uint8)
    for i in range(t):
        settled, done = 1 - np.exp(-i / 6), i / t
        dx, dy = 9 * settled + 3 * done + rng.normal(0, 0.1), -6 * settled + 5 * done + rng.normal(0, 0.1)
        lx, ly = (sum(float(c) * settled * b for c, b in zip(row, basis, strict=True)) for row in local)
        moved = ndimage.map_coordinates(image, cp.stack([y - ly - dy, x - lx - dx]), order=1, mode="nearest")
        counts[i] = cp.random.poisson(cp.maximum(moved, 0.05) * rate / gain).astype(cp.uint8).get()
    counts[:, rng.integers(0, h, 60), rng.integers(0, w, 60)] = 30
    return counts, gain.get()


def save(path: Path, counts: np.ndarray, compression: str | None, rows: int) -> Path:
    import tifffile

    tifffile.imwrite(path, counts, compression=compression, rowsperstrip=rows, photometric="minisblack", maxworkers=16)
    return path


def save_eer(path: Path, side: int, frames: int, rate: float, different: int = 10) -> Path:
    """An EER movie of ``frames`` raw frames, of which so many are different."""
    from concurrent.futures import ThreadPoolExecutor

    from restframe.movie.events import CODINGS
    from restframe.simulate.eer import encode, write_eer

    def one(seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        pixel = np.flatnonzero(rng.random(side * side, dtype=np.float32) < rate)
        x, y = rng.integers(0, 4, (2, len(pixel)))
        return encode(pixel, x, y, side * side, CODINGS[65001])

    with ThreadPoolExecutor(8) as pool:
        data = list(pool.map(one, range(different)))
    write_eer(path, (side, side), (data[k % different] for k in range(frames)), 65001)
    return path
