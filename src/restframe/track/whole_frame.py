"""Motion of the whole frame, coarsely: correlation of each frame with the sum of the others, far and robust."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

COARSE_SIDE = 512  # samples across the short side of the images that are correlated
REFERENCE_SIDE = 2048  # MotionCor's B-factors are in pixels of an image with this short side


def low_band(frames: Iterator[np.ndarray], side: int, threads: int) -> np.ndarray:
    """The low frequencies of every small frame: (t, 2m, m'+1) complex64 in FFT order, the short side cropped to
    ``side``.
    """
    from scipy import fft

    out = []
    for frame in frames:
        h, w = frame.shape
        scale = min(1.0, side / min(h, w))
        nh, nw = (2 * round(n * scale / 2) for n in (h, w))
        f = fft.rfft2(frame, workers=threads)[:, : nw // 2 + 1]
        half = nh // 2
        out.append(np.concatenate([f[:half], f[h - half :]]) if nh < h else f)
    return np.stack(out).astype(np.complex64)


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


def coarse_track(
    band: np.ndarray,
    small: tuple[int, int],
    bfactor: float,
    iterations: int,
    tolerance: float,
    phase_only: bool,
    threads: int,
) -> np.ndarray:
    """Displacement of each frame, (t, 2) x, y in small pixels, relative to their mean.

    ``band``: low_band's spectra of frames (h, w) = ``small``. Each frame is correlated with the sum of the others at
    their present places, filtered by exp(-B f²/2), f in cycles per pixel of the image whose short side is 2048;
    repeated until no frame moves by ``tolerance`` small pixels or ``iterations`` are used up. Frames whose peak is
    not clear of the noise take their neighbours' correlation to help.
    """
    from scipy import fft

    t, ny, nx = band.shape
    ky, kx = frequencies((ny, nx), small)
    f2 = (ky**2 + kx**2) * (min(small) / REFERENCE_SIDE) ** 2
    damping = np.exp(-0.5 * bfactor * f2)
    damping[0, 0] = 0
    width = 2 * (nx - 1)
    shift = np.zeros((t, 2))
    if t < 2:
        return shift
    # samples of a correlation surface per small pixel
    per_y, per_x = ny / small[0], width / small[1]
    for _ in range(max(iterations, 1)):
        moved = band * phase(shift, ky, kx)
        total = moved.sum(0)
        surfaces = np.empty((t, ny, width), np.float32)
        for i in range(t):
            product = np.conj(total - moved[i]) * moved[i]
            if phase_only:
                product /= np.abs(product) + 1e-20
            surfaces[i] = fft.irfft2(product * damping, s=(ny, width), workers=threads)
        step = np.stack([peak(c, per_y, per_x) for c in help_weak(surfaces)])
        shift += step
        if np.abs(step).max() < tolerance:
            break
    return shift - shift.mean(0)


def phase(shift, ky, kx):
    """exp(+2 pi i k·shift): brings frames back by their displacement."""
    y = np.exp(2j * np.pi * shift[:, 1, None, None] * ky)
    x = np.exp(2j * np.pi * shift[:, 0, None, None] * kx)
    return (y * x).astype(np.complex64)


def peak(c: np.ndarray, per_y: float, per_x: float) -> np.ndarray:
    """Displacement (x, y) in small pixels of the highest point of a periodic surface."""
    y, x = np.unravel_index(np.argmax(c), c.shape)
    dy, dx = parabola(c, int(y), int(x))
    h, w = c.shape
    return np.array([((x + w // 2) % w - w // 2 + dx) / per_x, ((y + h // 2) % h - h // 2 + dy) / per_y])


CLEAR = 6.0  # a peak this many standard deviations high is no accident among 2e5 samples


def help_weak(surfaces: np.ndarray) -> np.ndarray:
    """Surfaces whose best peak is no clearer than noise, averaged with as many neighbours in time as it takes."""
    t = len(surfaces)
    out = surfaces.copy()
    for i in range(t):
        for reach in (0, 1, 2, 4, 8, t):
            mean = surfaces[max(i - reach, 0) : i + reach + 1].mean(0)
            out[i] = mean
            if mean.max() > CLEAR * mean.std() or 2 * reach + 1 >= t:
                break
    return out
