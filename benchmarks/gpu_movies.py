"""Movies for speed tests, made on the GPU in seconds: a structured image that moves, Poisson counts, a gain."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CONTRAST = 0.04  # standard deviation of the specimen, relative to the mean


def make(shape: tuple[int, int, int], rate: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Counts (t, h, w) uint8, ``rate`` per pixel and frame, and the gain that corrects them (h, w) float32."""
    import cupy
    from cupyx.scipy import ndimage

    cupy.random.seed(seed)
    generator = np.random.default_rng(seed)
    frame_count, height, width = shape
    frequency_y = cupy.fft.fftfreq(height).astype(cupy.float32)[:, None]
    frequency_x = cupy.fft.rfftfreq(width).astype(cupy.float32)[None]
    frequency_squared = frequency_y**2 + frequency_x**2
    spectrum = cupy.fft.rfft2(cupy.random.standard_normal((height, width), dtype=cupy.float32))
    spectrum *= 4 * cupy.exp(-frequency_squared / (2 * 0.03**2)) + cupy.exp(-frequency_squared / (2 * 0.15**2))
    image = cupy.fft.irfft2(spectrum, s=(height, width)).astype(cupy.float32)
    image = 1 + image * (CONTRAST / image.std())
    gain = (1 + 0.05 * cupy.random.standard_normal((height, width), dtype=cupy.float32)).clip(0.5, 2)
    y, x = cupy.meshgrid(cupy.arange(height, dtype=cupy.float32), cupy.arange(width, dtype=cupy.float32), indexing="ij")
    u, v = x / width - 0.5, y / height - 0.5
    local_modes = (u, v, u * v, u * u, v * v, u * u * v)
    local_amplitudes = generator.normal(0, 3, (2, 6))
    counts = np.empty(shape, np.uint8)
    for frame in range(frame_count):
        settled, elapsed = 1 - np.exp(-frame / 6), frame / frame_count
        global_x = 9 * settled + 3 * elapsed + generator.normal(0, 0.1)
        global_y = -6 * settled + 5 * elapsed + generator.normal(0, 0.1)
        local_x, local_y = (
            sum(float(amplitude) * settled * mode for amplitude, mode in zip(amplitudes, local_modes, strict=True))
            for amplitudes in local_amplitudes
        )
        moved_image = ndimage.map_coordinates(
            image, cupy.stack([y - local_y - global_y, x - local_x - global_x]), order=1, mode="nearest"
        )
        counts[frame] = cupy.random.poisson(cupy.maximum(moved_image, 0.05) * rate / gain).astype(cupy.uint8).get()
    counts[:, generator.integers(0, height, 60), generator.integers(0, width, 60)] = 30
    return counts, gain.get()


def save(path: Path, counts: np.ndarray, compression: str | None, rows: int) -> Path:
    import tifffile

    tifffile.imwrite(path, counts, compression=compression, rowsperstrip=rows, photometric="minisblack", maxworkers=16)
    return path


def save_eer(path: Path, side: int, frames: int, rate: float, different: int = 10) -> Path:
    """An EER movie of ``frames`` raw frames, of which ``different`` are different."""
    from concurrent.futures import ThreadPoolExecutor

    from restframe.movie.events import CODINGS
    from restframe.simulate.eer import encode, write_eer

    def one(seed: int) -> bytes:
        generator = np.random.default_rng(seed)
        pixel = np.flatnonzero(generator.random(side * side, dtype=np.float32) < rate)
        x, y = generator.integers(0, 4, (2, len(pixel)))
        return encode(pixel, x, y, side * side, CODINGS[65001])

    with ThreadPoolExecutor(8) as pool:
        data = list(pool.map(one, range(different)))
    write_eer(path, (side, side), (data[frame % different] for frame in range(frames)), 65001)
    return path
