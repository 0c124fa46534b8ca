"""The last step: running images to finished sums. Undo the kernel's transfer, weight, crop, transform back."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from restframe.restore import kernel
from restframe.restore.dose import Plan, low_rank

MARGIN = 32  # pixels gathered around the frame, so that nothing wraps into it
BINS = 16  # of sub-pixel offsets, per axis


@dataclass(frozen=True)
class Size:
    """Pixels of the output and of the padded images (h, w) that it is cropped from."""

    output: tuple[int, int]
    padded: tuple[int, int]
    cropped: tuple[int, int]  # the padded size after Fourier cropping; cropped / padded = output / frame


def sizes(shape: tuple[int, int], bin: float) -> Size:
    """``shape``: (h, w) of a frame. Width is made even; height too when binned. The binned pixel is exactly n / n_out unbinned ones."""
    frame = (shape[0], 2 * (shape[1] // 2)) if bin <= 1 else tuple(2 * (n // 2) for n in shape)
    out = tuple(frame if bin <= 1 else (2 * int(int(n / bin + 1e-6) // 2) for n in frame))
    padded = tuple(padded_length(n, m) for n, m in zip(frame, out, strict=True))
    return Size(out, padded, tuple(p * m // n for p, m, n in zip(padded, out, frame, strict=True)))


def padded_length(n: int, m: int) -> int:
    """A length >= n + 2 MARGIN that transforms fast and whose m/n is an even integer, as it is itself."""
    step = n // gcd(n, m)
    first = -(-(n + 2 * MARGIN) // step)
    lengths = (k * step for k in range(first, first + max(64, n // step // 8)))
    return min((k for k in lengths if k % 2 == 0 and (k * m // n) % 2 == 0), key=lambda k: k * _cost(k))


def _cost(n: int) -> float:
    """Rough cost of a transform of this length, a sample: the sum of its prime factors."""
    total, p = 0, 2
    while n > 1:
        while n % p == 0:
            total, n = total + p, n // p
        p += 1
    return total + 20


def offset_counts(positions: np.ndarray) -> np.ndarray:
    """How often each sub-pixel offset occurs: (t, n, 2) displacements x, y -> (t, BINS, BINS) fractions, first axis y."""
    d = np.floor((positions - np.floor(positions)) * BINS).astype(int) % BINS
    out = np.zeros((len(positions), BINS, BINS))
    for i, frame in enumerate(d):
        np.add.at(out[i], (frame[:, 1], frame[:, 0]), 1.0)
    return out / positions.shape[1]


@dataclass(frozen=True)
class Transfer:
    """What gathering did to the sums: mean complex transfer and mean power, as low-rank functions of k (see `sum_transfer`)."""

    plan: Plan
    counts: np.ndarray  # (t, BINS, BINS) from offset_counts


def _separable(counts: np.ndarray, gy: np.ndarray, gx: np.ndarray) -> np.ndarray:
    """sum over offset bins of counts[a, b] gy[a, ky] gx[b, kx]."""
    return gy.T @ (counts @ gx)


def combine(samples: np.ndarray, radius: np.ndarray, vectors: list[np.ndarray]) -> np.ndarray:
    """sum_r samples[r](|k|) vectors[r](k); ``radius`` in steps of the samples' grid (0 ... n - 1)."""
    total = None
    at = np.arange(samples.shape[0])
    for r, image in enumerate(vectors):
        term = np.interp(radius.ravel(), at, samples[:, r]).reshape(radius.shape) * image
        total = term if total is None else total + term
    return total


def sum_transfer(plan: Plan, counts: np.ndarray, ky: np.ndarray, kx: np.ndarray) -> dict[str, np.ndarray]:
    """Factor by which each sum's spectrum is multiplied: exp(-i arg T) / sqrt(P).

    T = sum_t w_t G_t / sum_t w_t is the mean transfer of the sum, P = sum_t w_t² |G_t|² / sum_t w_t² that of its noise, G_t and |G_t|² averaged over the
    frame's offsets. ``ky``, ``kx``: radians per unbinned pixel. Returns (ky, kx) complex64 by name.
    """
    middle = (np.arange(BINS) + 0.5) / BINS
    gy, gx = kernel.transfer(middle, ky), kernel.transfer(middle, kx)
    py, px = np.abs(gy) ** 2, np.abs(gx) ** 2
    n = len(plan.q)
    radius = np.hypot(ky[:, None], kx[None, :]) / (2 * np.pi) * (n - 1) / plan.q[-1]
    out = {}
    for name, b in plan.combine.items():
        weights = b @ plan.coefficients  # (samples, t)
        mean = combine(b, radius, [_separable(np.tensordot(c, counts, 1), gy, gx) for c in plan.coefficients])
        square = weights**2
        total = np.maximum(square.sum(1, keepdims=True), 1e-30)
        vectors = low_rank(square / total, np.ones((1, weights.shape[1])), 1e-3)
        b2 = (square / total) @ np.linalg.pinv(vectors)
        power = combine(b2, radius, [_separable(np.tensordot(c, counts, 1), py, px) for c in vectors])
        phase = np.conj(mean) / np.maximum(np.abs(mean), 1e-12)
        out[name] = (phase / np.sqrt(np.maximum(power, 1e-6))).astype(np.complex64)
    return out


def crop(spectrum: np.ndarray, h: int, size: tuple[int, int]) -> np.ndarray:
    """Central rows and columns of a half spectrum of ``h`` rows, for an image of ``size`` (both even)."""
    rows, columns = size
    if rows < h:
        spectrum = np.concatenate([spectrum[: rows // 2], spectrum[h - rows // 2 :]])
    return spectrum[:, : columns // 2 + 1]


def finish(kernels, images, plan: Plan, counts: np.ndarray, levels: np.ndarray, size: Size, threads: int) -> dict[str, np.ndarray]:
    """Running images (r, *padded) of frames less their mean counts -> sums by name, (h, w) float32.

    ``levels``: (t,) the mean counts taken off, given back here. Unbinned pixels are sums, binned ones means of what they cover.
    """
    h, w = size.padded
    rows, columns = size.cropped
    ky = 2 * np.pi * np.fft.fftfreq(rows) * rows / h
    kx = 2 * np.pi * np.arange(columns // 2 + 1) / w
    n = len(plan.q)
    radius = np.hypot(ky[:, None], kx[None, :]).astype(np.float32) / np.float32(2 * np.pi / (n - 1) * plan.q[-1])
    spectra = {name: np.zeros((rows, columns // 2 + 1), np.complex64) for name in plan.combine}
    for r, image in enumerate(images):
        f = crop(kernels.rfft2(image, threads), h, size.cropped)
        for name, b in plan.combine.items():
            if np.abs(b[:, r]).max() > 0:
                spectra[name] += np.interp(radius.ravel(), np.arange(n), b[:, r]).reshape(radius.shape).astype(np.float32) * f
    top, left = (MARGIN * c // p for c, p in zip(size.cropped, size.padded, strict=True))
    out = {}
    for name, factor in sum_transfer(plan, counts, ky, kx).items():
        spectrum = spectra.pop(name)
        spectrum *= factor
        image = kernels.irfft2(spectrum, size.cropped, threads)
        image *= rows * columns / (h * w)
        cut = image[top : top + size.output[0], left : left + size.output[1]]
        out[name] = (cut + np.float32(plan.plain[name] @ levels)).astype(np.float32)
    return out
