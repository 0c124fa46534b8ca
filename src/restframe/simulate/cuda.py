"""The simulator's loops for CuPy arrays: kernels in CUDA C, hundreds of particles in each launch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from restframe.kernels.cuda.source import OPTIONS

SOURCE = Path(__file__).with_name("loops.cu")
BLOCK = 256  # threads
TOGETHER = 128  # boxes transformed at once: always as many, because each number needs a plan of its own
UNIT = 2.0**-30  # of the page on which stamps are added, as in loops.cu: exact sums, in whatever order


@cache
def _module(device: int):
    import cupy

    return cupy.RawModule(code=SOURCE.read_text(encoding="utf-8"), options=OPTIONS)


def _launch(kernel: str, grid: tuple[int, ...], block: int, *arguments) -> None:
    """Start a kernel on the current device; integers go as int, floats as float, others as they are."""
    import cupy

    kinds = {int: np.int32, float: np.float32}
    function = _module(cupy.cuda.Device().id).get_function(kernel)
    function(grid, (block,), tuple(kinds.get(type(a), lambda same: same)(a) for a in arguments))


def _blocks(n: int, block: int = BLOCK) -> int:
    return -(-n // block)


def on_device(array: np.ndarray, dtype):
    """A contiguous copy of that type on the GPU."""
    import cupy

    return cupy.asarray(np.ascontiguousarray(array, dtype))


def atom_images(atoms: np.ndarray, turns: np.ndarray, pixel_size: float, box: int):
    """Atoms (n, 3) projected by rotations (p, 3, 3) and counted by pixel, (p, box, box) float32."""
    import cupy

    images = cupy.zeros((len(turns), box, box), np.int32)
    arguments = on_device(atoms, np.float64), len(atoms), on_device(turns[:, :2], np.float64), np.float64(pixel_size)
    _launch("put_atoms", (_blocks(len(atoms)), len(turns)), BLOCK, *arguments, box, images)
    return images.astype(np.float32)


def moved(spectra, shift: np.ndarray, travel: np.ndarray):
    """`specimen.moved`, of at most `TOGETHER` boxes (n, b, b//2 + 1)."""
    import cupy

    n, box, half = spectra.shape
    out = cupy.empty((TOGETHER, box, half), np.complex64)
    arguments = spectra, on_device(shift, np.float32), on_device(travel, np.float32), n, box, out
    _launch("move_boxes", (_blocks(half, 64), box, TOGETHER), 64, *arguments)
    return cupy.ascontiguousarray(cupy.fft.irfft2(out, s=(box, box))[:n])


def blank_page(canvas: tuple[int, int]):
    """A page (h, w) of exact sums, for `add_moved`."""
    import cupy

    return cupy.zeros(canvas, np.int64)


def add_moved(page, spectra, corner: np.ndarray, shift: np.ndarray, travel: np.ndarray) -> None:
    """Add boxes, moved and blurred (n, 2), on a periodic page, their first pixels at ``corner`` (n, 2: x, y)."""
    box, (height, width) = spectra.shape[1], page.shape
    for first in range(0, len(spectra), TOGETHER):
        part = slice(first, first + TOGETHER)
        stamps = moved(spectra[part], shift[part], travel[part])
        arguments = stamps, on_device(corner[part], np.int32), box, height, width, page
        _launch("add_stamps", (_blocks(box, 64), box, len(stamps)), 64, *arguments)


def finished(page):
    """The page as float32."""
    return (page * UNIT).astype(np.float32)


def look_up(where, step: float, table: np.ndarray):
    """Values of a table (samples,), at 0, step, ..., at ``where`` (any shape, float32), linear between; float32."""
    import cupy

    out = cupy.empty(where.shape, np.float32)
    arguments = where, np.int64(where.size), on_device(table, np.float32), len(table), 1 / step, out
    _launch("look_up", (_blocks(where.size),), BLOCK, *arguments)
    return out


def count(mean, seed: tuple[int, ...], dtype) -> np.ndarray:
    """`camera.count` of means on the GPU, with random numbers of its own: a pixel's depends on seed and place alone."""
    import cupy

    key = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    mean = cupy.ascontiguousarray(mean, np.float32)
    counts = cupy.empty(mean.shape, np.uint16)
    _launch("poisson", (_blocks(mean.size),), BLOCK, mean, np.int64(mean.size), key, int(np.iinfo(dtype).max), counts)
    return counts.astype(dtype).get()
