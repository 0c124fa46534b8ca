"""The kernels for CUDA: CuPy's arrays and transforms, and our own kernels in CUDA C.

Each does what its namesake in reference.py does. No sum depends on the order in which threads run, so equal input
gives equal bytes on one kind of device.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from restframe.errors import DeviceError
from restframe.kernels import reference
from restframe.kernels.cuda import copies
from restframe.kernels.cuda.source import HERE, launch, module, raw_definitions
from restframe.kernels.cuda.values import good_mean as good_mean
from restframe.kernels.cuda.values import ranked as ranked
from restframe.kernels.reference import over as over
from restframe.kernels.reference import take_off as take_off

BLOCK = 256  # threads
HIGHEST = 15  # degree of a field's modes, as in images.cu


def use_device(number: int) -> None:
    """Work on GPU ``number`` from here on. Raises `DeviceError` if there is none."""
    import cupy

    try:
        cupy.cuda.Device(number).use()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"-Gpu {number}: no such GPU ({error}). nvidia-smi lists what is there; -Gpu -1 uses the CPU."
        ) from None


COMPILING = "The kernels are compiled for this GPU, which takes up to 20 seconds. Later runs start at once."


def compiled() -> bool:
    """Whether an earlier process compiled these kernels for this kind of GPU, where CuPy keeps them. Notes it if not,
    for the next one.
    """
    import cupy

    kind = cupy.__version__, cupy.cuda.runtime.runtimeGetVersion(), cupy.cuda.Device().compute_capability
    text = "".join(path.read_text() for path in sorted(HERE.glob("*.cu*")))
    digest = sha256("\n".join(map(str, (*kind, text))).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")
    note = folder / f"restframe-{digest}"
    if note.exists():
        return True
    with suppress(OSError):  # CuPy then keeps nothing either
        folder.mkdir(parents=True, exist_ok=True)
        note.touch()
    return False


def device_frames(raw, machine):
    """Raw frames whose blocks lie on the GPU."""
    from restframe.kernels.cuda.frames import DeviceFrames

    return DeviceFrames(raw, machine.gpu_memory)


def out_of_memory(error: Exception) -> bool:
    """Whether it says that the GPU has too little memory; what is not used is given back then."""
    import cupy

    short = isinstance(error, cupy.cuda.memory.OutOfMemoryError) or "ALLOC_FAILED" in str(error)
    if short:
        error.__traceback__ = None  # it holds arrays
        cupy.fft.config.get_plan_cache().clear()
        cupy.get_default_memory_pool().free_all_blocks()
    return short


LARGE = 8 << 20  # bytes from which on arrays are copied in pieces


def to_device(array):
    import cupy

    in_pieces = isinstance(array, np.ndarray) and array.nbytes >= LARGE and array.dtype.isnative
    return copies.to_device(array) if in_pieces else cupy.asarray(array)


def to_host(array) -> np.ndarray:
    if isinstance(array, np.ndarray):
        return array
    return copies.to_host(array) if array.nbytes >= LARGE else array.get()


def zeros(shape, dtype, like=None):
    import cupy

    return cupy.zeros(shape, dtype)


def empty(shape, dtype):
    import cupy

    return cupy.empty(shape, dtype)


def rfft2(images, threads, columns=None):
    import cupy

    images = _widened(images) if images.dtype == np.int8 else images.astype(np.float32, copy=False)
    return cupy.fft.rfft2(images) if columns is None else cupy.fft.fft(cupy.fft.rfft(images)[..., :columns], axis=-2)


def _widened(images):
    """Images of int8 as float32."""
    if images.data.ptr % 4 or images.size % 4 or not images.flags.c_contiguous:
        return images.astype(np.float32)
    out = empty(images.shape, np.float32)
    launch("images", "widened", (_blocks(images.size // 4),), BLOCK, (images, images.size // 4, out))
    return out


def irfft2(spectra, size, threads):
    import cupy

    return cupy.fft.irfft2(spectra, s=size)


def _blocks(n: int, block: int = BLOCK) -> int:
    return -(-n // block)


def pixels(frames, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Counts of single pixels in every frame, (t, n) on the host."""
    return to_host(frames[:, to_device(rows), to_device(columns)])


def add_frames(frames, gain, dark, total) -> np.ndarray:
    """total += every frame, exactly for integers; returns each one's sum of (raw - dark) * gain, (t,) float64."""
    t, n = len(frames), total.size
    blocks = _blocks(n, 8 * BLOCK)
    partial = empty((t, blocks * BLOCK // 32), np.float64)
    arguments = frames, gain, dark if dark.size > 1 else None, total, partial, t, np.int64(n)
    launch("raw", "add_frames", (blocks,), BLOCK, arguments, 0, raw_definitions(frames.dtype))
    return to_host(_add_up(partial))


def _add_up(partial):
    """Sums over the last axis, in one fixed order."""
    rows, n = partial.size // partial.shape[-1], partial.shape[-1]
    out = empty(partial.shape[:-1], np.float64)
    launch("images", "add_up", (rows,), BLOCK, (partial, np.int64(n), out))
    return out


def mark_bad(gain, rows: np.ndarray, columns: np.ndarray):
    """A copy of the gain with NaN at bad pixels: that is how these kernels know them."""
    gain = to_device(gain).copy()
    gain[to_device(rows), to_device(columns)] = np.float32(np.nan)
    return gain


def _calibration(c) -> tuple:
    """What the kernels take; the short tables go to the device in one piece."""
    parts = [
        np.ascontiguousarray(part, kind)
        for part, kind in (
            (c.first, np.int64),
            (c.columns, np.int64),
            (c.levels, np.float32),
            (c.limits, np.float32),
            (c.values, np.float32),
            (c.edge_rows, np.float32),
            (c.edge_columns, np.float32),
        )
    ]
    whole = to_device(np.concatenate([part.view(np.uint8).ravel() for part in parts]))
    ends = np.cumsum([part.nbytes for part in parts])
    first, columns, levels, limits, values, edge_rows, edge_columns = (
        whole[end - part.nbytes : end] for end, part in zip(ends, parts, strict=True)
    )
    gain = to_device(c.gain)
    dark = to_device(c.dark) if c.dark.size > 1 else None
    return gain, dark, levels, limits, first, columns, values, edge_rows, edge_columns, *c.gain.shape


def corrected(frames, calibration, i):
    """Frame i as (raw - dark) * gain less its mean count, bad pixels and outliers filled; (h, w) float32."""
    h, w = frames.shape[1:]
    out = empty((h, w), np.float32)
    arguments = *_calibration(calibration), frames[i], i, out
    launch("raw", "corrected", (_blocks(w), h), BLOCK, arguments, 0, raw_definitions(frames.dtype))
    return out


COLUMNS, ROWS = 256, 40  # that a block of small.cu goes through
TOGETHER = 8  # frames that one launch makes small, or transforms


def small_frames(frames, calibration, taps, factor, steps, out) -> None:
    """Every frame, corrected and decimated, into ``out`` (t, h // factor, w // factor) int8: ``steps`` to the standard
    deviation of each.
    """
    near = _blocks(len(taps), factor)  # small rows that a row goes into
    across, down = COLUMNS // factor + 1 - near, ROWS + 1 - near
    definitions = raw_definitions(frames.dtype)[0], f"FACTOR={factor}", f"TAPS={len(taps)}"
    h, w = out.shape[1:]
    grid = _blocks(w, across), _blocks(h, down)
    taps, table = to_device(taps), _calibration(calibration)
    image = empty((min(TOGETHER, len(frames)), h, w), np.float32)
    for i in range(0, len(frames), TOGETHER):
        part, here = frames[i : i + TOGETHER], list(table)
        here[2:4] = (v[4 * i :] for v in table[2:4])  # levels and limits of these frames
        partial = empty((len(part), 2, grid[0] * grid[1]), np.float64)
        arguments = *here, part, taps, image, h, w, partial
        launch("small", "small_frames", (len(part), *grid), COLUMNS, arguments, 0, definitions)
        arguments = image, _add_up(partial), float(steps), np.int64(h * w), out[i : i + TOGETHER]
        launch("images", "rounded", (min(_blocks(h * w), 1024), len(part)), BLOCK, arguments)


def empty_spectra(shape):
    """Room for spectra of tiles, `_padded`. They are kept in 16 bits: rounding adds 1e-7 to the power of the noise."""
    return _rows_of_four(shape, np.float16)


def _rows_of_four(shape, dtype):
    """Room (..., n) whose rows begin at multiples of four."""
    return empty((*shape[:-1], 4 * _blocks(shape[-1], 4)), dtype)[..., : shape[-1]]


def _padded(array):
    """The array, (..., n), with rows that begin at multiples of four and are zero after n; and how far apart they are.

    Kernels of this module keep to that; what else is copied.
    """
    pitch, item, n = array.strides[-2] // array.itemsize, array.itemsize, array.shape[-1]
    if pitch == 4 * _blocks(n, 4) and array.strides[-1] == item:
        return array, pitch
    out = zeros((*array.shape[:-1], 4 * _blocks(n, 4)), array.dtype)
    out[..., :n] = array
    return out[..., :n], out.shape[-1]


def scale_spectra(re, im, table) -> None:
    """re, im (p, t, 2m+1, m+1) *= table (t, 2m+1, m+1), in place."""
    p, t, ny = re.shape[:3]
    table, pitch = _padded(to_device(table.astype(np.float32, copy=False)))
    plane = ny * pitch // 4
    launch("spectra", "scale_spectra", (_blocks(plane), t, p), BLOCK, (re, im, table, plane))


@lru_cache(4)
def _transform(size: int, band: int) -> tuple[str, ...]:
    """Definitions of the module `tiles`."""
    first = next(n for n in range(int(np.ceil(size**0.5)), size + 1) if size % n == 0)
    angles = 2 * np.pi * np.arange(size) / size
    roots = ", ".join(f"{{{c:.9e}f, {s:.9e}f}}" for c, s in zip(np.cos(angles), -np.sin(angles), strict=True))
    return f"SIZE={size}", f"N1={first}", f"N2={size // first}", f"M={band}", f"ROOTS={roots}"


def cut_spectra(frames, corners, window, re, im, threads) -> None:
    """As in reference.py, of int8, into spectra of `empty_spectra`."""
    p, t, _, nx = re.shape
    size, at = len(window), to_device(np.ascontiguousarray(corners, np.int32))
    taper = np.sqrt(window.diagonal())
    if not np.allclose(taper[size // 2] * taper, window[size // 2], 1e-5, 0):
        raise ValueError("the window is no taper times itself")
    definitions = _transform(size, nx - 1)
    first, second = (int(d.split("=")[1]) for d in definitions[1:3])
    shared = 8 * 2 * second * (size + first)
    leak = np.fft.rfft(taper)[:nx] / taper.sum(dtype=np.float64)
    taper, leak = to_device(np.ascontiguousarray(taper, np.float32)), to_device(leak.astype(np.complex64))
    arguments = frames, *frames.shape[1:], at, taper, leak, np.int64(re.strides[0] // re.itemsize), re, im
    launch("tiles", "cut_spectra", (p, t), BLOCK, arguments, shared, definitions)


FRAMES, ALIGN_BLOCK, SLOPES = 20, 512, 2  # as in spectra.cu


def align(re, im, steps, spread):
    """R = sum_t G_t exp(i k·step_t), as (re, im), and sum_t |G_t|², G_t = F_t exp(-spread_t k²/2); each
    (p, 2m+1, m+1), zero beyond the band.
    """
    (re, pitch), (im, _) = _padded(re), _padded(im)
    p, t, ny, nx = re.shape
    blocks = _blocks(ny, ALIGN_BLOCK // (pitch // 4))
    rows = _blocks(ny, blocks)
    totals = tuple(_rows_of_four((p, ny, nx), np.float32) for _ in range(3))
    arguments = re, im, _phases(steps, spread), t, nx - 1, pitch, *totals
    launch("spectra", "align", (blocks, p), rows * pitch // 4, arguments, 8 * FRAMES * (pitch + rows))
    return totals


@lru_cache(4)
def _ring_order(ring: bytes, weight: bytes, rings: int, device: int):
    """The coefficients of one ring after the other, where each ring begins, the weights; on the device. Of rows as
    `_padded` has them.
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


def by_ring(values, ring, weight) -> np.ndarray:
    """Sums of values (p, 2m+1, m+1) times ``weight`` over the coefficients of every ring, (p, m+1) on the host."""
    return _by_ring(values, None, ring, weight)


def ring_power(re, im, ring, weight) -> np.ndarray:
    """`by_ring` of re² + im²."""
    return _by_ring(re, im, ring, weight)


def _by_ring(values, other, ring, weight) -> np.ndarray:
    order, first, value, _ = _rings(ring, weight)
    values, other = _padded(values)[0], None if other is None else _padded(other)[0]
    p, rings = len(values), ring.shape[-1]
    out = empty((p, rings), np.float64)
    arguments = values, other, order, first, value, value.size, rings, out
    launch("spectra", "by_ring", (_blocks(rings, BLOCK // 32), p), BLOCK, arguments)
    return to_host(out)


def filtered(re, im, w, ring, weight):
    """re, im (p, 2m+1, m+1) times w (p, m+1) of the ring and ``weight`` of each coefficient; 0 where there is none."""
    _, _, value, number = _rings(ring, weight)
    out = tuple(_rows_of_four(re.shape, np.float32) for _ in range(2))
    w = to_device(np.ascontiguousarray(w, np.float32))
    arguments = _padded(re)[0], _padded(im)[0], w, number, value, value.size, ring.shape[-1], *out
    launch("spectra", "filtered", (_blocks(value.size), len(re)), BLOCK, arguments)
    return out


def _phases(steps, spread):
    """In one piece: what goes to the GPU takes its time, however small."""
    return to_device(np.concatenate([steps.ravel(), spread.ravel()], dtype=np.float32))


def gradient(re, im, steps, spread, weighted_re, weighted_im) -> np.ndarray:
    """-sum_k k Im(conj(weighted) G_t exp(i k·step_t)), (p, t, 2) on the host, k in cycles a tile, G as in `align`."""
    (re, pitch), (im, _) = _padded(re), _padded(im)
    weighted = _padded(weighted_re)[0], _padded(weighted_im)[0]
    p, t, ny, nx = re.shape
    out = empty((p, t, 2), np.float64)
    arguments = re, im, _phases(steps, spread), *weighted, t, nx - 1, pitch, out
    launch("spectra", "gradient", (_blocks(t, SLOPES), p), BLOCK, arguments, 8 * SLOPES * (pitch + ny))
    return to_host(out)


GATHER = {"TX": 64, "TY": 16, "EACH": 4, "BLOCKS": 2}  # raw.cu says what they mean; measured on an H100


MOST = 2048  # coefficients of one launch, which lie in shared memory


def gather(frames, calibration, lattice, spacing, origin, table, coefficients, out) -> None:
    """out[r] += sum_t coefficients[r, t] * frame_t where each output pixel was then; (r, h, w) float32."""
    r, h, w = out.shape
    if spacing % GATHER["EACH"]:
        raise ValueError(f"a spacing of {spacing} is no multiple of {GATHER['EACH']}")
    definitions = (*raw_definitions(frames.dtype, r), *(f"{k}={v}" for k, v in GATHER.items()))
    _set("polynomials", _polynomials(np.ascontiguousarray(table).tobytes()), definitions)
    (ny, nx), padded = lattice.shape[1:3], 4 * _blocks(r, 4)
    together = max(1, MOST // padded)
    grid = _blocks(w, GATHER["TX"]), _blocks(h, GATHER["TY"])
    threads = GATHER["TX"] * GATHER["TY"] // GATHER["EACH"]
    for i in range(0, len(frames), together):
        part = slice(i, min(i + together, len(frames)))
        t = part.stop - part.start
        weights = np.zeros((t, padded), np.float32)
        weights[:, :r] = coefficients[:, part].T
        here = to_device(lattice[part].astype(np.float32, copy=False))
        reach = empty((t, grid[0] * grid[1], 4), np.int32)
        arguments = here, t, ny, nx, spacing, h, w, reach
        launch("raw", "reach", (_blocks(t * grid[0] * grid[1]),), BLOCK, arguments, 0, definitions)
        own = _calibration(calibration.of_frames(part))
        arguments = *own, frames[part], t, here, ny, nx, spacing, origin, reach, to_device(weights), out, h, w
        launch("raw", "gather", grid, threads, arguments, weights.nbytes + 24 * t, definitions)


def lattice(field, x, y, moved):
    """``moved`` and the field's displacement at positions x, y (n,), in every frame: (t, *moved.shape), float32."""
    h, w = field.shape
    at = (2 * np.stack([x.ravel(), y.ravel()]) + 1) / np.array([[w], [h]]) - 1  # as `mode_values` has it
    modes = np.array(getattr(field, "modes", ()), np.int32)  # the simulator's truth has a form of its own
    if not modes.size or modes.max() > HIGHEST:
        return to_device(reference.lattice(field, x, y, moved))
    t, n = field.n_frames, x.size
    out = empty((t, *moved.shape), np.float32)
    amplitudes = np.ascontiguousarray(field.amplitudes, np.float64)
    arguments = (to_device(at), to_device(moved.astype(np.float64)), n, to_device(modes), len(modes))
    launch("images", "lattice", (_blocks(n),), BLOCK, (*arguments, to_device(amplitudes), t, out))
    return out


def offset_counts(positions, bins: int) -> np.ndarray:
    """How often each sub-pixel offset occurs in (t, n, 2) displacements x, y: fractions (t, bins, bins) on the host."""
    t, n = positions.shape[:2]
    counts = zeros((t, bins, bins), np.uint64)
    positions = to_device(np.ascontiguousarray(positions) if isinstance(positions, np.ndarray) else positions.copy())
    grid, shared = (_blocks(n, 64 * BLOCK), t), 4 * bins**2
    launch("images", "offset_counts", grid, BLOCK, (positions, n, bins, counts), shared)
    return to_host(counts) / (65536.0 * n)


def _set(name: str, values: np.ndarray, definitions: tuple[str, ...]) -> None:
    """A constant of the module `raw`; always the same one, so that movies in flight don't disturb each other."""
    import cupy

    place = module("raw", definitions, cupy.cuda.Device().id).get_global(name)
    place.copy_from_device_async(cupy.asarray(values).data, values.nbytes)


@lru_cache(4)
def _polynomials(table: bytes, order: int = 4) -> np.ndarray:
    """Even and odd part of the first and of the second of four weights, which the others mirror: coefficients of powers
    of s² (times s), s the offset less 1/2; (4, order) float32. Raises ValueError where that errs by 1e-5.
    """
    weights = np.frombuffer(table, np.float32).reshape(-1, 4)[:-1].astype(np.float64)
    s = np.linspace(-0.5, 0.5, len(weights))
    even = s[:, None] ** (2 * np.arange(order))
    out = []
    for left, right in ((0, 3), (1, 2)):
        for part, powers in (
            (weights[:, left] + weights[:, right], even),
            (weights[:, left] - weights[:, right], even * s[:, None]),
        ):
            found = np.linalg.lstsq(powers, part / 2, rcond=None)[0]
            if np.abs(powers @ found - part / 2).max() > 1e-5:
                raise ValueError("these weights are no polynomials of low order, symmetric about 1/2")
            out.append(found)
    return np.array(out, np.float32)


def add_weighted(total, spectrum, samples, steps) -> None:
    """total += samples(|k|) * the middle of the half spectrum; ``steps``: samples per row and column."""
    arguments = total, *total.shape, spectrum, *spectrum.shape, to_device(samples), len(samples), *map(float, steps)
    launch("images", "add_weighted", (_blocks(total.shape[1]), total.shape[0]), BLOCK, arguments)


def multiply_smooth(total, grid) -> None:
    """total *= grid, given at frequencies from -Nyquist to Nyquist and from 0 to Nyquist, linear between."""
    grid = to_device(np.ascontiguousarray(grid, np.complex64))
    arguments = total, *total.shape, grid, *grid.shape
    launch("images", "multiply_smooth", (_blocks(total.shape[1]), total.shape[0]), BLOCK, arguments)


def deviation(values) -> float:
    """Standard deviation; CuPy's own works on one multiprocessor."""
    return float(((values - values.mean()) ** 2).mean() ** 0.5)


def corners(stack) -> tuple[float, float]:
    """As in reference.py, of int8."""
    t, h, w = stack.shape
    n = (h // 2) * (w // 2)
    partial = empty((2, min(_blocks(n), 4096)), np.float64)
    launch("images", "corners", (partial.shape[1],), BLOCK, (stack, t, h, w, partial))
    together, each = to_host(_add_up(partial))
    return float(together) / n, float(each) / n


def local_mean(image, bad, size: int, other: float):
    """Mean of the pixels that are not bad in a square of ``size`` around each; ``other`` where there are none."""
    h, w = image.shape
    before, after = size // 2, size - 1 - size // 2
    rows, out = empty((h, w, 2), np.float32), empty((h, w), np.float32)
    arguments = image, bad, h, w, before, after, rows
    launch("images", "box_rows", (_blocks(w), h), BLOCK, arguments, 8 * (BLOCK + size))
    launch("images", "box_columns", (_blocks(w), _blocks(h, 64)), BLOCK, (rows, h, w, before, after, float(other), out))
    return out


def crowded(bad):
    """Pixels that touch a bad one, with three or more bad ones in the 5 x 5 around them."""
    h, w = bad.shape
    out = empty((h, w), np.bool_)
    launch("images", "crowded", (_blocks(w), h), BLOCK, (bad, h, w, out))
    return out


def peaks(surfaces) -> tuple[np.ndarray, np.ndarray]:
    """Of each surface (t, h, w): where it is highest, as a place in h * w, and how high, less its mean, in its own
    standard deviation; (t,) on the host.
    """
    t, n = len(surfaces), surfaces[0].size
    blocks = min(_blocks(n), 64)
    height, place = empty((t, blocks), np.float32), empty((t, blocks), np.int32)
    sums = empty((t, blocks, 2), np.float64)
    launch("images", "peaks", (blocks, t), BLOCK, (surfaces, n, height, place, sums))
    height, place, sums = height.get(), place.get(), sums.get().sum(1)
    top = height.max(1)
    at = np.where(height == top[:, None], place, n).min(1)
    mean = sums[:, 0] / n
    sd = np.sqrt(np.maximum(sums[:, 1] / n - mean**2, 0))
    return at, (top - mean) / np.maximum(sd, 1e-30)
