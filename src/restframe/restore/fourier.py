"""The last step: running images to finished sums. Undo the kernel's transfer, weight, crop, transform back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd

import numpy as np

from restframe import pages
from restframe.restore import kernel
from restframe.restore.dose import Plan, low_rank
from restframe.restore.placement import Placement

MARGIN = 32  # pixels gathered around the frame, so that nothing wraps into it
BINS = 32  # of sub-pixel offsets, per axis


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
    return min((k for k in lengths if k % 2 == 0 and (k * m // n) % 2 == 0), key=lambda k: k * k * _cost(k))


def _cost(n: int) -> float:
    """Rough cost of a transform of this length, a sample: the sum of its prime factors."""
    total, p = 20, 2
    while p * p <= n:
        while n % p == 0:
            total, n = total + p, n // p
        p += 1
    return total + (n if n > 1 else 0)


# frequencies, from -Nyquist to Nyquist and from 0 to Nyquist, at which factors are computed; linear between
GRID = (257, 129)


@dataclass(frozen=True)
class Frequencies:
    """Points of a grid over the output's half spectrum, radians per unbinned pixel."""

    radius: np.ndarray  # `GRID`: |k| in the output
    ky: np.ndarray  # on the detector, (*GRID) or (n, 1)
    kx: np.ndarray  # (*GRID) or (1, m)

    @cached_property
    def transfers(self) -> tuple[np.ndarray, np.ndarray]:
        """The kernel's transfer along y and x by sub-pixel offset, (BINS, *ky.shape) and (BINS, *kx.shape)."""
        offsets = np.arange(BINS) / BINS
        gy, gx = (kernel.transfer(offsets, k.ravel()).reshape(BINS, *k.shape) for k in (self.ky, self.kx))
        return gy, gx


def frequencies(place: Placement, size: Size) -> Frequencies:
    (h, w), (rows, columns) = size.padded, size.cropped
    ky = (np.linspace(-np.pi, np.pi, GRID[0]) * rows / h)[:, None]
    kx = (np.linspace(0, np.pi, GRID[1]) * columns / w)[None, :]
    return Frequencies(np.hypot(ky, kx), *place.detector_frequency(ky, kx))


def mean_transfer(counts: np.ndarray, at: Frequencies, power: bool = False) -> np.ndarray:
    """The kernel's transfer, or its power, averaged over sub-pixel offsets: (n, BINS, BINS) -> (n, *GRID)."""
    gy, gx = at.transfers
    if power:
        gy, gx = np.abs(gy) ** 2, np.abs(gx) ** 2
    if at.kx.shape[0] == 1:  # no stretch: each axis by itself
        return gy[..., 0].T @ (counts @ gx[:, 0])
    return np.stack([(np.tensordot(c.T, gy, 1) * gx).sum(0) for c in counts])


def by_radius(samples: np.ndarray, q: np.ndarray, at: Frequencies) -> np.ndarray:
    """A function of |k|, sampled at ``q`` (1/pixel), on the grid of frequencies."""
    return np.interp(at.radius, q * 2 * np.pi, samples)


def flat_and_straight(mean: np.ndarray, power: np.ndarray) -> np.ndarray:
    """exp(-i arg mean) / sqrt(power), complex64: puts the phase right and makes the noise flat."""
    phase = np.conj(mean) / np.maximum(np.abs(mean), 1e-12)
    return (phase / np.sqrt(np.maximum(power, 1e-6))).astype(np.complex64)


def sum_transfer(weights: np.ndarray, q: np.ndarray, counts: np.ndarray, at: Frequencies) -> np.ndarray:
    """Factor for a sum's spectrum, exp(-i arg T) / sqrt(P): its phase put right, its noise made flat.

    T = sum_t w_t G_t / sum_t w_t is the mean transfer of the sum, P = sum_t w_t² |G_t|² / sum_t w_t² that of its
    noise, G_t and |G_t|² averaged over the frame's offsets. ``weights``: (samples, t) at frequencies ``q`` (1/pixel);
    ``counts``: (t, BINS, BINS).
    """
    ones = np.ones((1, weights.shape[1]))

    def over_frames(w, power):
        vectors = low_rank(w, ones, 1e-3)
        samples = w @ np.linalg.pinv(vectors)
        images = mean_transfer(np.tensordot(vectors, counts, 1), at, power)
        return sum(by_radius(b, q, at) * image for b, image in zip(samples.T, images, strict=True))

    square = weights**2 / np.maximum((weights**2).sum(1, keepdims=True), 1e-30)
    return flat_and_straight(over_frames(weights, False), over_frames(square, True))


def noise_kept(weights: np.ndarray, q: np.ndarray, blur: np.ndarray, at: Frequencies) -> np.ndarray:
    """sqrt(sum w² / sum w² b²), `GRID`: gives the noise of a sum of frames with weights w b the power that w gives.

    ``weights``: (samples, t) at frequencies ``q`` (1/pixel); ``blur``: b, (t, *GRID).
    """
    before, after = np.zeros((2, *GRID))
    for w, b in zip(weights.T, blur, strict=True):
        power = by_radius(w**2, q, at)
        before += power
        after += power * b**2
    return np.sqrt(before / np.maximum(after, 1e-6 * before + 1e-30)).astype(np.float32)


def finish(
    kernels, images, plan: Plan, counts: np.ndarray, levels: np.ndarray, place: Placement, size: Size
) -> dict[str, np.ndarray]:
    """Running images (r, *padded), which are used up, of frames less their mean counts -> sums by name, (h, w) float32.

    ``levels``: (t,) the mean counts taken off, given back here. Unbinned pixels are sums, binned ones means of what
    they cover.
    """
    totals = {name: empty_spectrum(kernels, size) for name in plan.combine}
    accumulate_spectra(kernels, totals, images, 0, plan, size)
    return finish_spectra(kernels, totals, plan, counts, levels, place, size)


def accumulate_spectra(kernels, totals: dict, images, first: int, plan: Plan, size: Size) -> None:
    """Add the running images (r, *padded) ``first``, ... to the spectra of the sums by name; they are used up."""
    steps = sample_steps(plan.q, size)
    for r, image in enumerate(images, first):
        spectrum = kernels.rfft2(image)
        pages.give_back(image)
        for name, b in plan.combine.items():
            if np.abs(b[:, r]).max() > 0:
                kernels.add_weighted_spectrum(totals[name], spectrum, b[:, r].astype(np.float32), steps)


def finish_spectra(
    kernels,
    totals: dict,
    plan: Plan,
    counts: np.ndarray,
    levels: np.ndarray,
    place: Placement,
    size: Size,
    blur: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Weighted and cropped spectra by name, which are used up -> sums by name, as in `finish`.

    ``blur``: (t, *GRID) factors by which each frame was multiplied beside its weight; the noise is made flat for that.
    """
    at = frequencies(place, size)
    out = {}
    for whole in {id(s.whole): s.whole for s in plan.sums}.values():
        factor = sum_transfer(whole, plan.q, counts, at)
        if blur is not None:
            factor = factor * noise_kept(whole, plan.q, blur, at)
        for made in (s for s in plan.sums if s.whole is whole):
            total = totals.pop(made.name)
            kernels.multiply_interpolated(total, factor)
            out[made.name] = image_of(kernels, total, float(made.part @ levels), size)
    return out


def empty_spectrum(kernels, size: Size):
    rows, columns = size.cropped
    return kernels.zeros((rows, columns // 2 + 1), np.complex64)


def sample_steps(q: np.ndarray, size: Size) -> np.ndarray:
    """Samples of a function of |k| per row and column of a spectrum."""
    return (len(q) - 1) / q[-1] / np.array(size.padded)


def image_of(kernels, spectrum, level: float, size: Size) -> np.ndarray:
    """The finished spectrum (cropped size) -> the output, (h, w) float32, ``level`` counts added."""
    (h, w), (rows, columns) = size.padded, size.cropped
    top, left = MARGIN * rows // h, MARGIN * columns // w
    image = kernels.irfft2(spectrum, size.cropped)
    cut = image[top : top + size.output[0], left : left + size.output[1]] * np.float32(rows * columns / (h * w))
    cut += np.float32(level)
    return kernels.to_host(cut)
