"""Spectra of tiles on the GPU: made, brought to rest, summed. They are kept in 16 bits, which halves what is read."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from restframe.kernels.cuda.arrays import BLOCK, blocks_of, empty, to_device, to_host, zeros
from restframe.kernels.cuda.source import launch


def empty_spectra(shape):
    """Room for spectra of tiles, `padded`. They are kept in 16 bits: rounding adds 1e-7 to the power of the noise."""
    return _rows_of_four(shape, np.float16)


def _rows_of_four(shape, dtype):
    """Room (..., n) whose rows begin at multiples of four."""
    return empty((*shape[:-1], 4 * blocks_of(shape[-1], 4)), dtype)[..., : shape[-1]]


def padded(array):
    """The array, (..., n), with rows that begin at multiples of four and are zero after n; and how far apart they are.

    Kernels of this module keep to that; what else is copied.
    """
    pitch, item, n = array.strides[-2] // array.itemsize, array.itemsize, array.shape[-1]
    if pitch == 4 * blocks_of(n, 4) and array.strides[-1] == item:
        return array, pitch
    out = zeros((*array.shape[:-1], 4 * blocks_of(n, 4)), array.dtype)
    out[..., :n] = array
    return out[..., :n], out.shape[-1]


def scale_spectra(re, im, table) -> None:
    """re, im (p, t, 2m+1, m+1) *= table (t, 2m+1, m+1), in place."""
    p, t, ny = re.shape[:3]
    table, pitch = padded(to_device(table.astype(np.float32, copy=False)))
    plane = ny * pitch // 4
    launch("spectra", "scale_spectra", (blocks_of(plane), t, p), BLOCK, (re, im, table, plane))


@lru_cache(4)
def transform(size: int, cells: int, band: int) -> tuple[str, ...]:
    """Definitions of the module `tiles`."""
    angles = 2 * np.pi * np.arange(size) / size
    roots = ", ".join(f"{{{c:.9e}f, {s:.9e}f}}" for c, s in zip(np.cos(angles), -np.sin(angles), strict=True))
    return f"SIZE={size}", f"N1={cells}", f"N2={size // cells}", f"M={band}", f"ROOTS={roots}"


def tile_spectra(frames, corners, taper, lattice, re, im) -> None:
    """As in reference.py, of int8, into spectra of `empty_spectra`."""
    p, t, _, nx = re.shape
    size, cells = len(taper), lattice.shape[-1] - 1
    shared = 8 * 2 * (size // cells) * (size + cells)
    at, taper, lattice = (
        to_device(np.ascontiguousarray(a, dtype))
        for a, dtype in ((corners, np.int32), (taper, np.float32), (lattice, np.float32))
    )
    arguments = frames, *frames.shape[1:], at, taper, lattice, np.int64(re.strides[0] // re.itemsize), re, im
    launch("tiles", "cut_spectra", (p, t), 32 * blocks_of(size, 32), arguments, shared, transform(size, cells, nx - 1))


FRAMES, ALIGN_BLOCK, SLOPES = 20, 512, 2  # as in spectra.cu


def align_spectra(re, im, steps, spread):
    """R = sum_t G_t exp(i k·step_t), as (re, im), and sum_t |G_t|², G_t = F_t exp(-spread_t k²/2); each
    (p, 2m+1, m+1), zero beyond the band.
    """
    (re, pitch), (im, _) = padded(re), padded(im)
    p, t, ny, nx = re.shape
    blocks = blocks_of(ny, ALIGN_BLOCK // (pitch // 4))
    rows = blocks_of(ny, blocks)
    totals = tuple(_rows_of_four((p, ny, nx), np.float32) for _ in range(3))
    arguments = re, im, _phases(steps, spread), t, nx - 1, pitch, *totals
    launch("spectra", "align", (blocks, p), rows * pitch // 4, arguments, 8 * FRAMES * (pitch + rows))
    return totals


@lru_cache(4)
def _ring_order(ring: bytes, weight: bytes, rings: int, device: int):
    """The coefficients of one ring after the other, where each ring begins, the weights; on the device. Of rows as
    `padded` has them.
    """
    pad = (0, 0), (0, -rings % 4)
    number = np.pad(np.frombuffer(ring, np.int32).reshape(-1, rings), pad, constant_values=-1).ravel()
    value = np.pad(np.frombuffer(weight, np.float32).reshape(-1, rings), pad).ravel()
    order = np.argsort(number, kind="stable").astype(np.int32)
    first = np.searchsorted(number[order], np.arange(rings + 1)).astype(np.int32)
    return tuple(map(to_device, (order, first, value, number)))


_made: list[tuple] = []  # tables of rings, and what they were made of, the last few: that is asked for in every round


def _rings(ring: np.ndarray, weight: np.ndarray):
    import cupy

    device = cupy.cuda.Device().id
    for found in _made:
        if found[0] is ring and found[1] is weight and found[2] == device:
            return found[3]
    parts = np.ascontiguousarray(ring, np.int32).tobytes(), np.ascontiguousarray(weight, np.float32).tobytes()
    tables = _ring_order(*parts, ring.shape[-1], device)
    _made[:] = [*_made[-8:], (ring, weight, device, tables)]
    return tables


def ring_sums(values, ring, weight) -> np.ndarray:
    """Sums of values (p, 2m+1, m+1) times ``weight`` over the coefficients of every ring, (p, m+1) on the host."""
    return _by_ring(values, None, ring, weight)


def ring_power_sums(re, im, ring, weight) -> np.ndarray:
    """`ring_sums` of re² + im²."""
    return _by_ring(re, im, ring, weight)


def _by_ring(values, other, ring, weight) -> np.ndarray:
    order, first, value, _ = _rings(ring, weight)
    values, other = padded(values)[0], None if other is None else padded(other)[0]
    p, rings = len(values), ring.shape[-1]
    out = empty((p, rings), np.float64)
    arguments = values, other, order, first, value, value.size, rings, out
    launch("spectra", "by_ring", (blocks_of(rings, BLOCK // 32), p), BLOCK, arguments)
    return to_host(out)


def filter_spectra(re, im, w, ring, weight):
    """re, im (p, 2m+1, m+1) times w (p, m+1) of the ring and ``weight`` of each coefficient; 0 where there is none."""
    _, _, value, number = _rings(ring, weight)
    out = tuple(_rows_of_four(re.shape, np.float32) for _ in range(2))
    w = to_device(np.ascontiguousarray(w, np.float32))
    arguments = padded(re)[0], padded(im)[0], w, number, value, value.size, ring.shape[-1], *out
    launch("spectra", "filtered", (blocks_of(value.size), len(re)), BLOCK, arguments)
    return out


def _phases(steps, spread):
    """In one piece: what goes to the GPU takes its time, however small."""
    return to_device(np.concatenate([steps.ravel(), spread.ravel()], dtype=np.float32))


def shift_gradient(re, im, steps, spread, weighted_re, weighted_im) -> np.ndarray:
    """-sum_k k Im(conj(weighted) G_t exp(i k·step_t)), (p, t, 2) on the host, k in cycles a tile, G as in `align`."""
    (re, pitch), (im, _) = padded(re), padded(im)
    weighted = padded(weighted_re)[0], padded(weighted_im)[0]
    p, t, ny, nx = re.shape
    out = empty((p, t, 2), np.float64)
    arguments = re, im, _phases(steps, spread), *weighted, t, nx - 1, pitch, out
    launch("spectra", "gradient", (blocks_of(t, SLOPES), p), BLOCK, arguments, 8 * SLOPES * (pitch + ny))
    return to_host(out)
