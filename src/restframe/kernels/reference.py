"""The kernels as plain array formulas: the specification of the fast ones, and what runs on a GPU through CuPy.

Works on the arrays it is given (NumPy or CuPy, found by array-api-compat) and returns the same kind.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
from array_api_compat import array_namespace, is_cupy_array


def to_device(array):
    """Arrays stay what they are; `cuda.py` moves them."""
    return array


def to_host(array) -> np.ndarray:
    return array.get() if is_cupy_array(array) else np.asarray(array)


def rfft2(images, columns=None):
    """Half spectra of images (..., h, w), numbers of any type; ``columns``: only so many."""
    return array_namespace(images).fft.rfft2(images)[..., :columns]


def irfft2(spectra, size):
    """Images (..., h, w) of half spectra, which are used up; ``size``: (h, w)."""
    return array_namespace(spectra).fft.irfft2(spectra, s=size)


def add_frames(frames, gain, dark, total) -> np.ndarray:
    """total += every frame, exactly for integers; returns each one's sum of (raw - dark) * gain, (t,) float64."""
    xp = array_namespace(frames)
    sums = np.empty(len(frames))
    for i, frame in enumerate(frames):
        total += frame
        sums[i] = float(xp.sum(((frame.astype(xp.float32) - dark) * gain).astype(xp.float64)))
    return sums


def pixel_counts(frames, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Counts of single pixels in every frame, (t, n) on the host."""
    xp = array_namespace(frames)
    return to_host(frames[:, xp.asarray(rows), xp.asarray(columns)])


def corrected_frame(frames, calibration, i):
    """Frame i as (raw - dark) * gain less its mean count, bad pixels and outliers filled; (h, w) float32."""
    c, frame = calibration, frames[i]
    xp = array_namespace(frame)
    level, limit = xp.float32(c.mean_counts[i]), xp.float32(c.outlier_limits[i])
    out = (frame.astype(xp.float32) - xp.asarray(c.dark)) * xp.asarray(c.gain) - level
    out[out >= limit - level] = 0
    rows = np.repeat(np.arange(len(c.row_start) - 1), np.diff(c.row_start))
    out[xp.asarray(rows), xp.asarray(c.bad_columns)] = level * xp.asarray(c.bad_values)
    return out


def decimate(frame, taps, factor):
    """Low-passed by ``taps`` both ways (zero outside), one pixel in ``factor`` kept; (h // factor, w // factor)."""
    xp = array_namespace(frame)
    first = (factor - 1) // 2 - (len(taps) - 1) // 2
    after = len(taps) + factor
    padded = xp.pad(frame, ((-first, after), (-first, after)))
    h, w = frame.shape[0] // factor, frame.shape[1] // factor
    rows = sum(float(tap) * padded[k : k + h * factor : factor] for k, tap in enumerate(taps))
    return sum(float(tap) * rows[:, k : k + w * factor : factor] for k, tap in enumerate(taps)).astype(xp.float32)


def tile_spectra(frames, corners, taper, lattice, re, im):
    """Spectra of square pieces of ``frames`` (t, h, w) times a window each, less their mean, into ``re``, ``im``
    (p, t, 2m+1, m+1). The mean is weighted by the window, so zero frequency becomes zero; off the frame is nothing.

    ``corners``: (t, p, 2) first row and column of each. The window: ``taper`` (size,) along y times the same along x,
    times what ``lattice`` (p, n+1, n+1) says at the corners of n x n equal cells of the piece, bilinearly between. Row
    m of a spectrum is ky = 0, column 0 is kx = 0.
    """
    xp = array_namespace(frames)
    h, w = frames.shape[1:]
    size, band = len(taper), re.shape[-1] - 1
    hats = xp.asarray(hat_functions(size, lattice.shape[-1] - 1).astype(np.float32))
    taper, lattice = xp.asarray(taper), xp.asarray(lattice)
    for f, frame in enumerate(frames):
        for i, (y, x) in enumerate(corners[f]):
            window = taper[:, None] * taper * (hats @ lattice[i] @ hats.T)
            seen = xp.zeros((size, size), dtype=window.dtype)
            y0, y1, x0, x1 = max(y, 0), min(y + size, h), max(x, 0), min(x + size, w)
            if y0 < y1 and x0 < x1:
                inside = slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)
                piece, part = frame[y0:y1, x0:x1], window[inside]
                seen[inside] = part * (piece - xp.sum(part * piece) / xp.sum(part))
            spectrum = xp.fft.rfft2(seen)[:, : band + 1]
            for part, values in ((re, spectrum.real), (im, spectrum.imag)):
                part[i, f, :band] = values[-band:]
                part[i, f, band:] = values[: band + 1]


def hat_functions(size: int, cells: int) -> np.ndarray:
    """What each corner of ``cells`` equal cells has to say at ``size`` pixels, linearly: (size, cells + 1)."""
    at = (np.arange(size) + 0.5) * cells / size
    return np.maximum(1 - np.abs(at[:, None] - np.arange(cells + 1)), 0)


def scale_spectra(re, im, table) -> None:
    """re, im (p, t, 2m+1, m+1) *= table (t, 2m+1, m+1), in place."""
    re *= table
    im *= table


def subtract_fixed_pattern(re, im, turns, part) -> None:
    """Spectra of every tile less ``part`` of what they share once turned, in place.

    F_t -= part conj(turns_t) sum_s turns_s F_s; ``turns``: (t, 2m+1, m+1) complex.
    """
    for a, b in zip(re, im, strict=True):
        shared = part * ((a + 1j * b) * turns).sum(0)
        fixed = turns.conj() * shared
        a -= fixed.real.astype(a.dtype)
        b -= fixed.imag.astype(b.dtype)


def pattern_bias(displacement, across, strength, power, part, size, slopes=True) -> tuple[float, np.ndarray]:
    """-sum power log(1 - part |V|²) over tiles, rings and directions, and its slopes by ``displacement`` (p, t, 2), in
    pixels of a tile of ``size``; zeros where no ``slopes`` are asked for.

    V = sum_t strength_t exp(-2 pi i r/size n·u_t) of ring r and direction n; ``across``: (2, n) directions,
    ``strength``: (t, rings), ``power``: (p, rings).
    """
    k = 2 * np.pi * np.arange(power.shape[1]) / size
    seen = strength[:, None] * np.exp(-1j * (displacement @ across)[..., None] * k)  # (p, t, n, rings)
    together = seen.sum(1, keepdims=True)
    left = 1 - part * np.abs(together) ** 2
    value = -(power[:, None, None] * np.log(left)).sum()
    pull = 2 * part * k * power[:, None, None] / left * together.conj()
    by_direction = (seen * pull).imag.sum(-1)
    return float(value), by_direction @ across.T if slopes else np.zeros(displacement.shape)


def ring_sums(values, ring: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sums of values (p, 2m+1, m+1) times ``weight`` (2m+1, m+1) over the coefficients of every ring, (p, m+1) on the
    host; ``ring``: number of each coefficient's, -1: none.
    """
    inside = ring >= 0
    flat = to_host(values)[:, inside] * weight[inside]
    return np.stack([np.bincount(ring[inside], row, ring.shape[-1]) for row in flat])


def ring_power_sums(re, im, ring: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """`ring_sums` of re² + im²."""
    return ring_sums(re**2 + im**2, ring, weight)


def filter_spectra(re, im, w: np.ndarray, ring: np.ndarray, weight: np.ndarray):
    """re, im (p, 2m+1, m+1) times w (p, m+1) of the ring and ``weight`` of each coefficient; 0 where there is none."""
    xp = array_namespace(re)
    f = xp.asarray(np.where(ring >= 0, w[:, np.maximum(ring, 0)] * weight, 0).astype(np.float32))
    return f * re, f * im


def trajectories_to_device(data: np.ndarray, linear: np.ndarray) -> tuple:
    """The log likelihood of courses to where `log_evidence` works on it."""
    return data, linear


def log_evidence(data, linear, a: np.ndarray, negligible: float) -> tuple[np.ndarray, ...]:
    """Of each course in time, with the log likelihood linear·x - x·data·x / 2 of either axis: the log evidence for the
    prior, (m,), its slopes by the logs of the prior's two scales, (m, 2), minus its second derivatives, (m, 2, 2), and
    what these are on average; on the host.

    ``data`` (m, n, n), ``linear`` (m, n, 2), ``a`` (m, 2, n): the prior's precision is A + A', diagonal, a part by each
    scale. Q = A + A', P = data + Q, x = P⁻¹ linear, W = Q⁻¹ - P⁻¹. Of both axes: the evidence is linear·x / 2 + log det
    Q - log det P, its slope x·A x / 2 - tr(W A), the slopes' covariance tr(W A W A') (Harville 1977, section 5).
    Behind the last coefficient of which the data say more than ``negligible`` of the prior's precision, what they say
    of two together is left out. Raises LinAlgError where P is not positive definite.
    """
    parts = []
    for d, l, both in zip(map(to_host, data), map(to_host, linear), a, strict=True):
        q = both.sum(0)
        told = np.flatnonzero(d.diagonal() > negligible * q)
        k = told[-1] + 1 if len(told) else 1
        p = np.diag(d.diagonal() + q)
        p[:k, :k] = d[:k, :k] + np.diag(q[:k])
        log_det = 2 * np.log(np.linalg.cholesky(p).diagonal()).sum()
        inverse = np.linalg.inv(p)
        x, w = inverse @ l, np.diag(1 / q) - inverse
        value = 0.5 * np.sum(l * x) - log_det + np.log(q).sum()
        slope = both @ (0.5 * (x**2).sum(1) - w.diagonal())
        curvature = (both / q**2) @ both.T - both @ (inverse * (inverse + x @ x.T)) @ both.T + np.diag(slope)
        parts.append((value, slope, curvature, both @ w**2 @ both.T))
    return tuple(map(np.array, zip(*parts, strict=True)))


def mark_bad_pixels(gain, rows: np.ndarray, columns: np.ndarray):
    """The gain as these kernels want it: as it is, the calibration lists bad pixels."""
    return gain


def mean_of_good_pixels(image, bad) -> float:
    """Mean of the pixels that are not bad; 0 if there are none."""
    xp = array_namespace(image)
    n = bad.size - int(xp.count_nonzero(bad))
    return float(xp.sum(xp.where(bad, np.float32(0), image), dtype=xp.float64)) / n if n else 0.0


def order_statistics(values, ranks) -> np.ndarray:
    """Those of ``values`` (n,) that have these places in their ascending order, from 0; on the host."""
    return np.partition(to_host(values), ranks)[np.asarray(ranks)]


def standard_deviation(values) -> float:
    """Standard deviation."""
    return float(array_namespace(values).std(values))


def local_mean(image, bad, size: int, other: float):
    """Mean of the pixels that are not bad in a square of ``size`` around each; ``other`` where there are none.

    The image continues as in a mirror.
    """
    from scipy import ndimage  # takes 0.3 s to load, and the fast kernels don't need it

    weight = ndimage.uniform_filter((~bad).astype(np.float32), size, mode="reflect")
    total = ndimage.uniform_filter(np.where(bad, np.float32(0), image), size, mode="reflect")
    return np.where(weight > 0.5 / size**2, total / np.maximum(weight, 1e-6), np.float32(other))


def defect_cluster_mask(bad):
    """Pixels that touch a bad one, with three or more bad ones in the 5 x 5 around them."""
    from scipy import ndimage

    touching = ndimage.binary_dilation(bad, np.ones((3, 3), bool)) & ~bad
    return touching & (ndimage.uniform_filter(bad.astype(np.float32), 5) * 25 > 2.5)


def correlation_peaks(surfaces) -> tuple[np.ndarray, np.ndarray]:
    """Of each surface (t, h, w): where it is highest, as a place in h * w, and how high, less its mean, in its own
    standard deviation; (t,).
    """
    flat = surfaces.reshape(len(surfaces), -1)
    sd = np.maximum(flat.std(axis=1), np.float32(1e-30))
    return flat.argmax(axis=1), (flat.max(axis=1) - flat.mean(axis=1)) / sd


def nyquist_power(stack) -> tuple[float, float]:
    """The highest frequency along both axes at once, of images (t, h, w) of small integers, one value for each 2 x 2
    pixels: the mean power of its sum over the images, and the sum of its mean powers in each.
    """
    xp = array_namespace(stack)
    h, w = (2 * (n // 2) for n in stack.shape[1:])
    total, each = xp.zeros((h // 2, w // 2), dtype=xp.int32), 0.0
    for image in stack:
        a = image[:h, :w].astype(xp.int16)
        corner = a[0::2, 0::2] - a[0::2, 1::2] - a[1::2, 0::2] + a[1::2, 1::2]
        total += corner
        each += float((corner.astype(xp.float64) ** 2).mean())
    return float((total.astype(xp.float64) ** 2).mean()), each


def make_binned_frames(frames, calibration, taps, factor, steps, out):
    """Every frame, corrected and decimated, into ``out`` (t, h // factor, w // factor) int8: ``steps`` to the standard
    deviation of each.
    """
    for i, one in enumerate(out):
        small_frame(frames, calibration, i, taps, factor, steps, one)


def small_frame(frames, calibration, i, taps, factor, steps, out):
    """Frame i as in `make_binned_frames`."""
    frame = decimate(corrected_frame(frames, calibration, i), taps, factor)
    xp = array_namespace(frame)
    scaled = frame * (steps / max(float(frame.std()), 1e-20))
    out[:] = xp.round(xp.clip(scaled, -127, 127)).astype(xp.int8)


def _aligned(re, im, steps, spread, p: int):
    """Spectra of tile p brought to rest, faded where they are not sure to be, (t, 2m+1, m+1) complex."""
    xp = array_namespace(re)
    m = re.shape[-1] - 1
    ky, kx = xp.arange(-m, m + 1), xp.arange(m + 1)
    s, v = xp.asarray(steps[p]), xp.asarray(spread[p])[:, None]
    down, across = (xp.exp(1j * s[:, i, None] * k - v * k**2 / 2) for i, k in ((1, ky), (0, kx)))
    return (re[p] + 1j * im[p]) * down[:, :, None] * across[:, None, :]


def align_spectra(re, im, steps, spread):
    """R = sum_t G_t exp(i k·step_t), as (re, im), and sum_t |G_t|², G_t = F_t exp(-spread_t k²/2); each
    (p, 2m+1, m+1). ``steps``: (p, t, 2) phase of one cycle a tile; ``spread``: (p, t) its variance. Beyond
    |k| = m + 1/2, where no ring is, the fast kernels may leave zeros.
    """
    xp = array_namespace(re)
    tiles = [_aligned(re, im, steps, spread, p) for p in range(len(re))]
    total, own = xp.stack([f.sum(0) for f in tiles]), xp.stack([(abs(f) ** 2).sum(0) for f in tiles])
    return total.real.astype(xp.float32), total.imag.astype(xp.float32), own


def shift_gradient(re, im, steps, spread, weighted_re, weighted_im):
    """-sum_k k Im(conj(weighted) G_t exp(i k·step_t)), (p, t, 2), k in cycles a tile, G as in `align`."""
    xp = array_namespace(re)
    m = re.shape[-1] - 1
    ky, kx = xp.arange(-m, m + 1)[:, None], xp.arange(m + 1)[None, :]
    out = np.empty((*re.shape[:2], 2))
    for p in range(len(re)):
        v = ((weighted_re[p] - 1j * weighted_im[p]) * _aligned(re, im, steps, spread, p)).imag
        out[p, :, 0] = to_host(-(v * kx).sum((1, 2)))
        out[p, :, 1] = to_host(-(v * ky).sum((1, 2)))
    return out


def _sample(frame, calibration, i, y, x):
    """Corrected counts at whole pixels y, x; off the frame, the local mean of the nearest edge."""
    xp = array_namespace(frame)
    h, w = frame.shape
    level = xp.float32(calibration.mean_counts[i])
    rows, columns = xp.asarray(calibration.edge_rows), xp.asarray(calibration.edge_columns)
    yc, xc = xp.clip(y, 0, h - 1), xp.clip(x, 0, w - 1)
    out = frame[yc, xc]
    beside = (x < 0) | (x >= w)
    out = xp.where(beside, level * columns[(x >= w).astype(int), yc], out)
    return xp.where((y < 0) | (y >= h), level * rows[(y >= h).astype(int), xc], out)


def gather(frames, calibration, lattice, spacing, origin, table, coefficients, out):
    """out[r] += sum_t coefficients[r, t] * frame_t where each output pixel was then; (r, h, w) float32.

    ``lattice``: (t, ny, nx, 2) displacement at output pixels origin + j * spacing, linear between. ``table``: kernel
    weights by offset.
    """
    xp = array_namespace(frames)
    h, w = out.shape[1:]
    table = xp.asarray(table)
    fine = table.shape[0] - 2
    y, x = xp.arange(h), xp.arange(w)
    ly, lx = y // spacing, x // spacing
    fy, fx = ((y % spacing) / spacing)[:, None, None], ((x % spacing) / spacing)[None, :, None]
    for i in range(len(frames)):
        frame = corrected_frame(frames, calibration, i)
        u = xp.asarray(lattice[i])
        top = u[ly][:, lx] * (1 - fx) + u[ly][:, lx + 1] * fx
        bottom = u[ly + 1][:, lx] * (1 - fx) + u[ly + 1][:, lx + 1] * fx
        d = top * (1 - fy) + bottom * fy
        whole = xp.floor(d).astype(int)
        part = (d - whole) * fine
        j = part.astype(int)
        part = (part - j).astype(xp.float32)[..., None]
        weights = table[j] * (1 - part) + table[j + 1] * part  # (h, w, 2, 4)
        ys, xs = y[:, None] + origin + whole[..., 1], x[None, :] + origin + whole[..., 0]
        value = xp.zeros((h, w), dtype=xp.float32)
        for m in range(4):
            row = sum(weights[..., 0, n] * _sample(frame, calibration, i, ys + m - 1, xs + n - 1) for n in range(4))
            value += weights[..., 1, m] * row
        for r in range(len(coefficients)):
            out[r] += xp.float32(coefficients[r, i]) * value


def _signed(n: int) -> np.ndarray:
    """Row numbers of a spectrum as frequencies: 0, 1, ..., -1; the Nyquist row of an even number is negative."""
    k = np.arange(n)
    return np.where(k < (n + 1) // 2, k, k - n)


def add_weighted_spectrum(total, spectrum, samples, steps):
    """total += samples(|k|) * the middle of the half spectrum; ``steps``: samples per row and column."""
    xp = array_namespace(total)
    rows, columns = total.shape
    ky = _signed(rows)
    at = xp.sqrt(xp.asarray((ky * steps[0]) ** 2)[:, None] + xp.asarray((np.arange(columns) * steps[1]) ** 2)[None, :])
    n = xp.minimum(at.astype(int), len(samples) - 2)
    samples = xp.asarray(samples)
    weight = samples[n] + (at - n) * (samples[n + 1] - samples[n])
    total += weight.astype(xp.float32) * spectrum[xp.asarray(ky % len(spectrum))][:, :columns]


def multiply_interpolated(total, grid):
    """total *= grid, given at frequencies from -Nyquist to Nyquist and from 0 to Nyquist, linear between."""
    xp = array_namespace(total)
    rows, columns = total.shape
    y = (_signed(rows) / rows + 0.5) * (grid.shape[0] - 1)
    x = np.arange(columns) / (columns - 1) * (grid.shape[1] - 1)
    n, m = np.minimum(y.astype(int), grid.shape[0] - 2), np.minimum(x.astype(int), grid.shape[1] - 2)
    fy, fx = (y - n)[:, None], (x - m)[None, :]
    low = grid[n][:, m] * (1 - fx) + grid[n][:, m + 1] * fx
    high = grid[n + 1][:, m] * (1 - fx) + grid[n + 1][:, m + 1] * fx
    total *= xp.asarray((low * (1 - fy) + high * fy).astype(np.complex64))


FRAMES = 16  # whose field is evaluated at a time


def displacement_grid(field, x, y, moved):
    """``moved`` (ny, nx, 2) and the field's displacement at positions x, y (ny, nx), in every frame: (t, ny, nx, 2)
    float32.
    """
    out = np.empty((field.n_frames, *moved.shape), np.float32)
    for first in range(0, len(out), FRAMES):
        out[first : first + FRAMES] = field(x, y, slice(first, first + FRAMES)) + moved
    return out


def subpixel_histogram(positions, bins: int) -> np.ndarray:
    """How often each sub-pixel offset occurs: (t, n, 2) displacements x, y -> fractions (t, bins, bins), y first.

    Bin i stands for the offset i / bins; one between two bins counts in part for each, so that what is linear in the
    offset is averaged exactly.
    """
    at = (positions - np.floor(positions)).astype(float) * bins
    low = np.floor(at).astype(int)
    part = at - low
    out = np.zeros((len(positions), bins, bins))
    for frame, n, f in zip(out, low, part, strict=True):
        for dy in (0, 1):
            for dx in (0, 1):
                weight = np.abs(1 - dy - f[:, 1]) * np.abs(1 - dx - f[:, 0])
                place = (n[:, 1] + dy) % bins * bins + (n[:, 0] + dx) % bins
                frame += np.bincount(place, weight, bins**2).reshape(bins, bins)
    return out / positions.shape[1]


class Reference:
    """The kernels as plain array formulas; see `interface.Kernels`."""

    frames_per_block = 1
    compiling_notice = ""

    def active(self) -> AbstractContextManager[None]:
        return nullcontext()

    def single_threaded(self) -> Reference:
        return self

    def parallel_map(self, work, items):
        return [work(item) for item in items]

    def is_compiled(self) -> bool:
        return True

    def is_out_of_memory(self, error: Exception) -> bool:
        return False

    def device_frames(self, raw, memory_share: float):
        return raw

    def zeros(self, shape, dtype):
        return np.zeros(shape, dtype)

    def empty(self, shape, dtype):
        return np.empty(shape, dtype)

    def empty_spectra(self, shape):
        return np.empty(shape, np.float32)

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
