"""Motion of the whole frame, coarsely: correlation of each frame with the sum of the others, far and robust."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from restframe.detector.binned import BinnedFrames

COARSE_SIDE = 512  # samples across the short side of the images that are correlated
FRAMES_PER_BLOCK = 4  # frames correlated at a time, to stay in the cache
SLOWEST = 6.0  # cycles across the frame, below which correlation means little
REFERENCE_SIDE = 2048  # MotionCor's B-factors are in pixels of an image with this short side


def low_frequency_band(kernels, small: BinnedFrames, side: int) -> np.ndarray:
    """The low frequencies of every small frame: (t, 2m, m'+1) complex64 in FFT order, the short side cropped to
    ``side``.
    """
    h, w = small.shape
    scale = min(1.0, side / min(h, w))
    nh, nw = (2 * round(n * scale / 2) for n in (h, w))
    half, serial = nh // 2, kernels.single_threaded()

    def some(part: slice):
        f = serial.rfft2(small.stack[part], nw // 2 + 1)
        xp = array_namespace(f)
        return np.float32(small.scale) * (xp.concat([f[:, :half], f[:, h - half :]], axis=1) if nh < h else f)

    parts = [slice(i, i + kernels.frames_per_block) for i in range(0, small.n_frames, kernels.frames_per_block)]
    out = kernels.parallel_map(some, parts)
    return array_namespace(out[0]).concat(out)


def frequencies(shape: tuple[int, int], small: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """ky (h, 1), kx (1, w) of a low band, in cycles per small pixel."""
    ny, nx = shape
    ky = np.fft.fftfreq(ny) * ny / small[0]
    return ky[:, None], (np.arange(nx) / small[1])[None, :]


def parabola(c: np.ndarray, y: int, x: int) -> tuple[float, float]:
    """Sub-sample offset (dy, dx) of a peak, on a periodic surface."""
    h, w = c.shape

    def top(a, b, d):
        bend = a - 2 * b + d
        return float(np.clip(0.5 * (a - d) / bend, -0.5, 0.5)) if bend < 0 else 0.0

    return top(c[y - 1, x], c[y, x], c[(y + 1) % h, x]), top(c[y, x - 1], c[y, x], c[y, (x + 1) % w])


def estimate_coarse_shifts(
    kernels,
    band: np.ndarray,
    small: tuple[int, int],
    bfactor: float,
    iterations: int,
    tolerance: float,
    phase_only: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Displacement of each frame, (t, 2) x, y in small pixels, relative to their mean; and how many standard deviations
    each one's correlation peak was high, (t,).

    ``band``: low_band's spectra of frames (h, w) = ``small``. Each frame is correlated with the sum of the others at
    their present places, filtered by exp(-B f²/2), f in cycles per pixel of the image whose short side is 2048;
    repeated until no frame moves by ``tolerance`` small pixels or ``iterations`` are used up. Frames whose peak is
    not clear of the noise take their neighbours' correlation to help.
    """
    xp = array_namespace(band)
    t, ny, nx = band.shape
    ky, kx = map(kernels.to_device, frequencies((ny, nx), small))
    f2 = (ky**2 + kx**2) * (min(small) / REFERENCE_SIDE) ** 2
    damping = xp.exp(-0.5 * bfactor * f2)
    # illumination and a gain that does not quite fit: smooth, and fixed on the detector
    cycles2 = (ky * small[0]) ** 2 + (kx * small[1]) ** 2
    damping = (damping * (1 - xp.exp(-0.5 * (cycles2 / SLOWEST**2) ** 2))).astype(xp.float32)
    width = 2 * (nx - 1)
    shift = np.zeros((t, 2))
    clear = np.zeros(t)
    if t < 2:
        return shift, clear
    # samples of a correlation surface per small pixel
    per_y, per_x = ny / small[0], width / small[1]
    few = max(FRAMES_PER_BLOCK, kernels.frames_per_block)
    parts = [slice(i, i + few) for i in range(0, t, few)]
    moved, serial = xp.empty_like(band), kernels.single_threaded()
    surfaces = xp.empty((t, ny, width), dtype=xp.float32)

    def bring(part: slice) -> None:
        moved[part] = band[part] * y[part]
        moved[part] *= x[part]

    def correlate(part: slice) -> None:
        product = xp.conj(total - moved[part]) * moved[part]
        if phase_only:
            product /= xp.abs(product) + np.float32(1e-20)
        product *= damping
        surfaces[part] = serial.irfft2(product, (ny, width))

    for _ in range(max(iterations, 1)):
        y, x = phase(kernels.to_device(shift), ky, kx)
        kernels.parallel_map(bring, parts)
        total = moved.sum(0)
        kernels.parallel_map(correlate, parts)
        step, clear = average_weak_correlations(kernels, surfaces)
        step /= per_x, per_y
        shift += step
        if np.abs(step).max() < tolerance:
            break
    return shift - shift.mean(0), clear


def phase(shift, ky, kx):
    """exp(+2 pi i k·shift), which brings frames back by their displacement, as factors of rows and of columns."""
    xp = array_namespace(shift)
    y = xp.exp(2j * np.pi * shift[:, 1, None, None] * ky)
    x = xp.exp(2j * np.pi * shift[:, 0, None, None] * kx)
    return y.astype(xp.complex64), x.astype(xp.complex64)


def peaks(kernels, surfaces) -> tuple[np.ndarray, np.ndarray]:
    """Where each periodic surface (t, h, w) is highest, (t, 2) x, y in samples, and how high, in its own sd, (t,)."""
    t, h, w = surfaces.shape
    highest, clear = kernels.correlation_peaks(surfaces)
    y, x = np.divmod(highest, w)
    rows, columns = (y[:, None] + (-1, 0, 1)) % h, (x[:, None] + (-1, 0, 1)) % w
    frame, around = np.arange(t)[:, None, None], (rows[:, :, None], columns[:, None, :])
    close = kernels.to_host(surfaces[tuple(map(kernels.to_device, (frame, *around)))])
    offset = np.array([parabola(c, 1, 1)[::-1] for c in close])
    whole = np.stack([(x + w // 2) % w - w // 2, (y + h // 2) % h - h // 2], -1)
    return whole + offset, clear


CLEAR = 6.0  # a peak this many standard deviations high is no accident among 2e5 samples


def average_weak_correlations(kernels, surfaces) -> tuple[np.ndarray, np.ndarray]:
    """Displacement of every frame in samples of its surface, (t, 2) x, y; and how high its own peak was, (t,).

    Surfaces whose best peak is no clearer than noise are averaged with as many neighbours in time as it takes.
    """
    t = len(surfaces)
    out, clear = peaks(kernels, surfaces)
    for i in np.flatnonzero(clear <= CLEAR):
        for reach in (1, 2, 4, 8, t):
            mean = surfaces[max(i - reach, 0) : i + reach + 1].mean(0)
            place, height = peaks(kernels, mean[None])
            if height[0] > CLEAR or 2 * reach + 1 >= t:
                break
        out[i] = place[0]
    return out, clear
