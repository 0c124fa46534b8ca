"""The kernels for CUDA: CuPy's arrays and transforms, and our own kernels in CUDA C.

Each does what its namesake in reference.py does. No sum depends on the order in which threads run, so equal input
gives equal bytes on one kind of device.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from restframe.errors import DeviceError
from restframe.kernels import reference
from restframe.kernels.cuda.arrays import BLOCK, blocks_of, empty, to_device, to_host, zeros
from restframe.kernels.cuda.courses import log_evidence, trajectories_to_device
from restframe.kernels.cuda.fixed import pattern_bias, subtract_fixed_pattern
from restframe.kernels.cuda.source import HERE, launch, module, raw_definitions
from restframe.kernels.cuda.spectra import (
    align_spectra,
    empty_spectra,
    filter_spectra,
    ring_power_sums,
    ring_sums,
    scale_spectra,
    shift_gradient,
    tile_spectra,
)
from restframe.kernels.cuda.values import mean_of_good_pixels, order_statistics
from restframe.messages import Setting

HIGHEST = 15  # degree of a field's modes, as in images.cu


COMPILING_NOTICE = "The kernels are compiled for this GPU, which takes up to 20 seconds. Later runs start at once."


def rfft2(images, columns=None):
    import cupy

    images = _widened(images) if images.dtype == np.int8 else images.astype(np.float32, copy=False)
    return cupy.fft.rfft2(images) if columns is None else cupy.fft.fft(cupy.fft.rfft(images)[..., :columns], axis=-2)


def _widened(images):
    """Images of int8 as float32."""
    if images.data.ptr % 4 or images.size % 4 or not images.flags.c_contiguous:
        return images.astype(np.float32)
    out = empty(images.shape, np.float32)
    launch("images", "widened", (blocks_of(images.size // 4),), BLOCK, (images, images.size // 4, out))
    return out


def irfft2(spectra, size):
    import cupy

    return cupy.fft.irfft2(spectra, s=size)


def pixel_counts(frames, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Counts of single pixels in every frame, (t, n) on the host."""
    return to_host(frames[:, to_device(rows), to_device(columns)])


def add_frames(frames, gain, dark, total) -> np.ndarray:
    """total += every frame, exactly for integers; returns each one's sum of (raw - dark) * gain, (t,) float64."""
    t, n = len(frames), total.size
    blocks = blocks_of(n, 8 * BLOCK)
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


def mark_bad_pixels(gain, rows: np.ndarray, columns: np.ndarray):
    """A copy of the gain with NaN at bad pixels: that is how these kernels know them."""
    gain = to_device(gain).copy()
    gain[to_device(rows), to_device(columns)] = np.float32(np.nan)
    return gain


def _calibration(c) -> tuple:
    """What the kernels take; the short tables go to the device in one piece."""
    parts = [
        np.ascontiguousarray(part, kind)
        for part, kind in (
            (c.row_start, np.int64),
            (c.bad_columns, np.int64),
            (c.mean_counts, np.float32),
            (c.outlier_limits, np.float32),
            (c.bad_values, np.float32),
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


def corrected_frame(frames, calibration, i):
    """Frame i as (raw - dark) * gain less its mean count, bad pixels and outliers filled; (h, w) float32."""
    h, w = frames.shape[1:]
    out = empty((h, w), np.float32)
    arguments = *_calibration(calibration), frames[i], i, out
    launch("raw", "corrected", (blocks_of(w), h), BLOCK, arguments, 0, raw_definitions(frames.dtype))
    return out


COLUMNS, ROWS = 256, 40  # that a block of small.cu goes through
FRAMES_PER_BLOCK = 8  # frames that one launch makes small, or transforms


def make_binned_frames(frames, calibration, taps, factor, steps, out) -> None:
    """Every frame, corrected and decimated, into ``out`` (t, h // factor, w // factor) int8: ``steps`` to the standard
    deviation of each.
    """
    near = blocks_of(len(taps), factor)  # small rows that a row goes into
    across, down = COLUMNS // factor + 1 - near, ROWS + 1 - near
    definitions = raw_definitions(frames.dtype)[0], f"FACTOR={factor}", f"TAPS={len(taps)}"
    h, w = out.shape[1:]
    grid = blocks_of(w, across), blocks_of(h, down)
    taps, table = to_device(taps), _calibration(calibration)
    image = empty((min(FRAMES_PER_BLOCK, len(frames)), h, w), np.float32)
    for i in range(0, len(frames), FRAMES_PER_BLOCK):
        part, here = frames[i : i + FRAMES_PER_BLOCK], list(table)
        here[2:4] = (v[4 * i :] for v in table[2:4])  # levels and limits of these frames
        partial = empty((len(part), 2, grid[0] * grid[1]), np.float64)
        arguments = *here, part, taps, image, h, w, partial
        launch("small", "small_frames", (len(part), *grid), COLUMNS, arguments, 0, definitions)
        arguments = image, _add_up(partial), float(steps), np.int64(h * w), out[i : i + FRAMES_PER_BLOCK]
        launch("images", "rounded", (min(blocks_of(h * w), 1024), len(part)), BLOCK, arguments)


GATHER = {"TX": 64, "TY": 16, "EACH": 4, "BLOCKS": 2}  # raw.cu says what they mean; measured on an H100


MOST = 2048  # coefficients of one launch, which lie in shared memory


def gather(frames, calibration, lattice, spacing, origin, table, coefficients, out) -> None:
    """out[r] += sum_t coefficients[r, t] * frame_t where each output pixel was then; (r, h, w) float32."""
    r, h, w = out.shape
    if spacing % GATHER["EACH"]:
        raise ValueError(f"a spacing of {spacing} is no multiple of {GATHER['EACH']}")
    definitions = (*raw_definitions(frames.dtype, r), *(f"{k}={v}" for k, v in GATHER.items()))
    _set("polynomials", _polynomials(np.ascontiguousarray(table).tobytes()), definitions)
    (ny, nx), padded = lattice.shape[1:3], 4 * blocks_of(r, 4)
    together = max(1, MOST // padded)
    grid = blocks_of(w, GATHER["TX"]), blocks_of(h, GATHER["TY"])
    threads = GATHER["TX"] * GATHER["TY"] // GATHER["EACH"]
    for i in range(0, len(frames), together):
        part = slice(i, min(i + together, len(frames)))
        t = part.stop - part.start
        weights = np.zeros((t, padded), np.float32)
        weights[:, :r] = coefficients[:, part].T
        here = to_device(lattice[part].astype(np.float32, copy=False))
        reach = empty((t, grid[0] * grid[1], 4), np.int32)
        arguments = here, t, ny, nx, spacing, h, w, reach
        launch("raw", "reach", (blocks_of(t * grid[0] * grid[1]),), BLOCK, arguments, 0, definitions)
        own = _calibration(calibration.of_frames(part))
        arguments = *own, frames[part], t, here, ny, nx, spacing, origin, reach, to_device(weights), out, h, w
        launch("raw", "gather", grid, threads, arguments, weights.nbytes + 24 * t, definitions)


def displacement_grid(field, x, y, moved):
    """``moved`` and the field's displacement at positions x, y (n,), in every frame: (t, *moved.shape), float32."""
    h, w = field.shape
    at = (2 * np.stack([x.ravel(), y.ravel()]) + 1) / np.array([[w], [h]]) - 1  # as `mode_values` has it
    modes = np.array(getattr(field, "modes", ()), np.int32)  # the simulator's truth has a form of its own
    if not modes.size or modes.max() > HIGHEST:
        return to_device(reference.displacement_grid(field, x, y, moved))
    t, n = field.n_frames, x.size
    out = empty((t, *moved.shape), np.float32)
    amplitudes = np.ascontiguousarray(field.amplitudes, np.float64)
    arguments = (to_device(at), to_device(moved.astype(np.float64)), n, to_device(modes), len(modes))
    launch("images", "lattice", (blocks_of(n),), BLOCK, (*arguments, to_device(amplitudes), t, out))
    return out


def subpixel_histogram(positions, bins: int) -> np.ndarray:
    """How often each sub-pixel offset occurs in (t, n, 2) displacements x, y: fractions (t, bins, bins) on the host."""
    t, n = positions.shape[:2]
    counts = zeros((t, bins, bins), np.uint64)
    positions = to_device(np.ascontiguousarray(positions) if isinstance(positions, np.ndarray) else positions.copy())
    grid, shared = (blocks_of(n, 64 * BLOCK), t), 4 * bins**2
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


def add_weighted_spectrum(total, spectrum, samples, steps) -> None:
    """total += samples(|k|) * the middle of the half spectrum; ``steps``: samples per row and column."""
    arguments = total, *total.shape, spectrum, *spectrum.shape, to_device(samples), len(samples), *map(float, steps)
    launch("images", "add_weighted", (blocks_of(total.shape[1]), total.shape[0]), BLOCK, arguments)


def multiply_interpolated(total, grid) -> None:
    """total *= grid, given at frequencies from -Nyquist to Nyquist and from 0 to Nyquist, linear between."""
    grid = to_device(np.ascontiguousarray(grid, np.complex64))
    arguments = total, *total.shape, grid, *grid.shape
    launch("images", "multiply_smooth", (blocks_of(total.shape[1]), total.shape[0]), BLOCK, arguments)


def standard_deviation(values) -> float:
    """Standard deviation; CuPy's own works on one multiprocessor."""
    return float(((values - values.mean()) ** 2).mean() ** 0.5)


def nyquist_power(stack) -> tuple[float, float]:
    """As in reference.py, of int8."""
    t, h, w = stack.shape
    n = (h // 2) * (w // 2)
    partial = empty((2, min(blocks_of(n), 4096)), np.float64)
    launch("images", "corners", (partial.shape[1],), BLOCK, (stack, t, h, w, partial))
    together, each = to_host(_add_up(partial))
    return float(together) / n, float(each) / n


def local_mean(image, bad, size: int, other: float):
    """Mean of the pixels that are not bad in a square of ``size`` around each; ``other`` where there are none."""
    h, w = image.shape
    before, after = size // 2, size - 1 - size // 2
    rows, out = empty((h, w, 2), np.float32), empty((h, w), np.float32)
    arguments = image, bad, h, w, before, after, rows
    launch("images", "box_rows", (blocks_of(w), h), BLOCK, arguments, 8 * (BLOCK + size))
    launch(
        "images", "box_columns", (blocks_of(w), blocks_of(h, 64)), BLOCK, (rows, h, w, before, after, float(other), out)
    )
    return out


def defect_cluster_mask(bad):
    """Pixels that touch a bad one, with three or more bad ones in the 5 x 5 around them."""
    h, w = bad.shape
    out = empty((h, w), np.bool_)
    launch("images", "crowded", (blocks_of(w), h), BLOCK, (bad, h, w, out))
    return out


def correlation_peaks(surfaces) -> tuple[np.ndarray, np.ndarray]:
    """Of each surface (t, h, w): where it is highest, as a place in h * w, and how high, less its mean, in its own
    standard deviation; (t,) on the host.
    """
    t, n = len(surfaces), surfaces[0].size
    blocks = min(blocks_of(n), 64)
    height, place = empty((t, blocks), np.float32), empty((t, blocks), np.int32)
    sums = empty((t, blocks, 2), np.float64)
    launch("images", "peaks", (blocks, t), BLOCK, (surfaces, n, height, place, sums))
    height, place, sums = height.get(), place.get(), sums.get().sum(1)
    top = height.max(1)
    at = np.where(height == top[:, None], place, n).min(1)
    mean = sums[:, 0] / n
    sd = np.sqrt(np.maximum(sums[:, 1] / n - mean**2, 0))
    return at, (top - mean) / np.maximum(sd, 1e-30)


class Cuda:
    """The kernels on one NVIDIA GPU; see `interface.Kernels`. Raises `DeviceError` where there is no such GPU."""

    frames_per_block = FRAMES_PER_BLOCK
    compiling_notice = COMPILING_NOTICE

    def __init__(self, device: int = 0) -> None:
        try:
            import cupy
        except ImportError as error:
            raise DeviceError(
                Setting("gpus", (device,)),
                f": CuPy cannot be imported ({error}). Install it with pip install 'restframe[cuda]', or use the CPU.",
            ) from None
        self.device = device
        try:
            with cupy.cuda.Device(device):
                pass
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise DeviceError(
                Setting("gpus", (device,)), f": no such GPU ({error}). nvidia-smi lists the GPUs of this machine."
            ) from None

    @contextmanager
    def active(self) -> Iterator[None]:
        import cupy

        with cupy.cuda.Device(self.device):
            yield

    def single_threaded(self) -> Cuda:
        return self

    def parallel_map(self, work, items):
        return [work(item) for item in items]

    def is_compiled(self) -> bool:
        """Whether an earlier process compiled these kernels for this kind of GPU, where CuPy keeps them.

        Leaves a note for the next process if not.
        """
        import cupy

        kind = cupy.__version__, cupy.cuda.runtime.runtimeGetVersion(), cupy.cuda.Device().compute_capability
        text = "".join(path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.cu*")))
        digest = sha256("\n".join(map(str, (*kind, text))).encode()).hexdigest()[:16]
        folder = Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")
        note = folder / f"restframe-{digest}"
        if note.exists():
            return True
        with suppress(OSError):  # CuPy then keeps nothing either
            folder.mkdir(parents=True, exist_ok=True)
            note.touch()
        return False

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether it says that the GPU has too little memory; what is not used is given back then."""
        import cupy

        short = isinstance(error, cupy.cuda.memory.OutOfMemoryError) or "ALLOC_FAILED" in str(error)
        if short:
            error.__traceback__ = None  # it holds arrays
            cupy.fft.config.get_plan_cache().clear()
            cupy.get_default_memory_pool().free_all_blocks()
        return short

    def device_frames(self, raw, memory_share: float):
        """Raw frames whose blocks lie on the GPU."""
        from restframe.kernels.cuda.frames import DeviceFrames

        return DeviceFrames(raw, memory_share)

    def zeros(self, shape, dtype):
        return zeros(shape, dtype)

    to_device = staticmethod(to_device)
    to_host = staticmethod(to_host)
    rfft2 = staticmethod(rfft2)
    irfft2 = staticmethod(irfft2)
    add_frames = staticmethod(add_frames)
    pixel_counts = staticmethod(pixel_counts)
    corrected_frame = staticmethod(corrected_frame)
    mark_bad_pixels = staticmethod(mark_bad_pixels)
    mean_of_good_pixels = staticmethod(mean_of_good_pixels)
    local_mean = staticmethod(local_mean)
    defect_cluster_mask = staticmethod(defect_cluster_mask)
    order_statistics = staticmethod(order_statistics)
    standard_deviation = staticmethod(standard_deviation)
    nyquist_power = staticmethod(nyquist_power)
    correlation_peaks = staticmethod(correlation_peaks)
    make_binned_frames = staticmethod(make_binned_frames)
    tile_spectra = staticmethod(tile_spectra)
    scale_spectra = staticmethod(scale_spectra)
    subtract_fixed_pattern = staticmethod(subtract_fixed_pattern)
    pattern_bias = staticmethod(pattern_bias)
    ring_sums = staticmethod(ring_sums)
    ring_power_sums = staticmethod(ring_power_sums)
    filter_spectra = staticmethod(filter_spectra)
    align_spectra = staticmethod(align_spectra)
    shift_gradient = staticmethod(shift_gradient)
    trajectories_to_device = staticmethod(trajectories_to_device)
    log_evidence = staticmethod(log_evidence)
    displacement_grid = staticmethod(displacement_grid)
    subpixel_histogram = staticmethod(subpixel_histogram)
    gather = staticmethod(gather)
    add_weighted_spectrum = staticmethod(add_weighted_spectrum)
    multiply_interpolated = staticmethod(multiply_interpolated)
    empty = staticmethod(empty)
    empty_spectra = staticmethod(empty_spectra)
