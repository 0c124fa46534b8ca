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
    """``shape``: (h, w) of a frame. Width is made even; height too when binned.

    The binned pixel is exactly n / n_out unbinned ones.
    """
    h, out_h, padded_h = _lengths(shape[0], bin, bin > 1)
    w, out_w, padded_w = _lengths(shape[1], bin, True)
    return Size((out_h, out_w), (padded_h, padded_w), (padded_h * out_h // h, padded_w * out_w // w))


def _lengths(n: int, bin: float, even: bool) -> tuple[int, int, int]:
    """One axis: pixels of the frame that are used, of the output, of the padded image."""
    used = 2 * (n // 2) if even else n
    out = 2 * (int(n / bin + 1e-6) // 2) if bin > 1 else used
    return used, out, padded_length(used, out)


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
    """How often each sub-pixel offset occurs: (t, n, 2) displacements x, y -> fractions (t, BINS, BINS), y first."""
    d = np.floor((positions - np.floor(positions)) * BINS).astype(int) % BINS
    out = np.zeros((len(positions), BINS, BINS))
    for i, frame in enumerate(d):
        np.add.at(out[i], (frame[:, 1], frame[:, 0]), 1.0)
    return out / positions.shape[1]


# frequencies, from -Nyquist to Nyquist and from 0 to Nyquist, at which the transfer is computed; linear between
GRID = (257, 129)


def _separable(counts: np.ndarray, gy: np.ndarray, gx: np.ndarray) -> np.ndarray:
    """sum over offset bins of counts[a, b] gy[a, ky] gx[b, kx]."""
    return gy.T @ (counts @ gx)


def combine(samples: np.ndarray, radius: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """sum_r samples[|k|, r] vectors[r](k); ``radius`` in steps of the samples' grid."""
    at = np.arange(len(samples))
    return sum(np.interp(radius, at, b) * v for b, v in zip(samples.T, vectors, strict=True))


def sum_transfer(weights: np.ndarray, q: np.ndarray, counts: np.ndarray, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
    """Factor for a sum's spectrum, exp(-i arg T) / sqrt(P): its phase put right, its noise made flat.

    (ky, kx) complex64.

    T = sum_t w_t G_t / sum_t w_t is the mean transfer of the sum, P = sum_t w_t² |G_t|² / sum_t w_t² that of its
    noise, G_t and |G_t|² averaged over the frame's offsets. ``weights``: (samples, t) at frequencies ``q`` (1/pixel);
    ``counts``: (t, BINS, BINS); ``ky``, ``kx``: radians per unbinned pixel.
    """
    middle = (np.arange(BINS) + 0.5) / BINS
    gy, gx = kernel.transfer(middle, ky), kernel.transfer(middle, kx)
    radius = np.hypot(ky[:, None], kx[None, :]) / (2 * np.pi) * (len(q) - 1) / q[-1]
    ones = np.ones((1, weights.shape[1]))

    def over_frames(w, a, b):
        vectors = low_rank(w, ones, 1e-3)
        images = np.stack([_separable(np.tensordot(v, counts, 1), a, b) for v in vectors])
        return combine(w @ np.linalg.pinv(vectors), radius, images)

    mean = over_frames(weights, gy, gx)
    square = weights**2 / np.maximum((weights**2).sum(1, keepdims=True), 1e-30)
    power = over_frames(square, np.abs(gy) ** 2, np.abs(gx) ** 2)
    phase = np.conj(mean) / np.maximum(np.abs(mean), 1e-12)
    return (phase / np.sqrt(np.maximum(power, 1e-6))).astype(np.complex64)


def finish(
    kernels, images, plan: Plan, counts: np.ndarray, levels: np.ndarray, size: Size, threads: int
) -> dict[str, np.ndarray]:
    """Running images (r, *padded) of frames less their mean counts -> sums by name, (h, w) float32.

    ``levels``: (t,) the mean counts taken off, given back here. Unbinned pixels are sums, binned ones means of what
    they cover.
    """
    (h, w), (rows, columns) = size.padded, size.cropped
    steps = (len(plan.q) - 1) / plan.q[-1] / np.array([h, w])  # samples per row and column of the spectrum
    totals = {name: kernels.zeros((rows, columns // 2 + 1), np.complex64, images) for name in plan.combine}
    for r, image in enumerate(images):
        spectrum = kernels.rfft2(image, threads)
        for name, b in plan.combine.items():
            if np.abs(b[:, r]).max() > 0:
                kernels.add_weighted(totals[name], spectrum, b[:, r].astype(np.float32), steps)
    ky = np.linspace(-np.pi, np.pi, GRID[0]) * rows / h
    kx = np.linspace(0, np.pi, GRID[1]) * columns / w
    top, left = (MARGIN * c // p for c, p in zip(size.cropped, size.padded, strict=True))
    out = {}
    for name, b in plan.combine.items():
        total = totals.pop(name)
        kernels.multiply_smooth(total, sum_transfer(b @ plan.coefficients, plan.q, counts, ky, kx))
        image = kernels.to_host(kernels.irfft2(total, size.cropped, threads))
        cut = image[top : top + size.output[0], left : left + size.output[1]]
        out[name] = cut * np.float32(rows * columns / (h * w)) + np.float32(plan.plain[name] @ levels)
    return out
