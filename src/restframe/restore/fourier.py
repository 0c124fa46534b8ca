"""The last step: from running images to finished sums. Undo the kernel's transfer, weight, crop, transform back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from restframe import pages
from restframe.arrays import AnyArray, Array, ComplexArray, FloatArray
from restframe.restore import kernel
from restframe.restore.dose import Plan, Sum, low_rank_basis
from restframe.restore.kernel import OFFSET_BINS
from restframe.restore.placement import Placement
from restframe.restore.sizes import MARGIN_PX, ImageSizes

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels

GRID_SHAPE = (257, 129)
"""Frequencies, from -Nyquist to Nyquist and from 0 to Nyquist, at which factors are computed; linear in between."""

TRANSFER_ACCURACY = 1e-3  # of the weights from which a sum's transfer is computed


@dataclass(frozen=True, eq=False)
class FrequencyGrid:
    """A grid over the half spectrum of the output, in radians per unbinned pixel."""

    radius: FloatArray  # `GRID_SHAPE`: |k| in the output
    ky: FloatArray  # on the detector, `GRID_SHAPE`, or (n, 1) where nothing is stretched
    kx: FloatArray  # on the detector, `GRID_SHAPE`, or (1, m)

    @cached_property
    def transfers(self) -> tuple[AnyArray, AnyArray]:
        """The kernel's transfer along y and x by sub-pixel offset, complex.

        (OFFSET_BINS, *ky.shape) and (OFFSET_BINS, *kx.shape).
        """
        return self._transfer(self.ky), self._transfer(self.kx)

    def _transfer(self, frequency: FloatArray) -> ComplexArray:
        offsets = np.arange(OFFSET_BINS) / OFFSET_BINS
        return kernel.transfer(offsets, frequency.ravel()).reshape(OFFSET_BINS, *frequency.shape)


def make_frequency_grid(placement: Placement, sizes: ImageSizes) -> FrequencyGrid:
    """The grid for images of these ``sizes``; ``placement`` says which frequency each has on the detector."""
    (height, width), (rows, columns) = sizes.padded, sizes.cropped
    ky = (np.linspace(-np.pi, np.pi, GRID_SHAPE[0]) * rows / height)[:, None]
    kx = (np.linspace(0, np.pi, GRID_SHAPE[1]) * columns / width)[None, :]
    return FrequencyGrid(np.hypot(ky, kx), *placement.detector_frequency(ky, kx))


def mean_transfer(histograms: FloatArray, grid: FrequencyGrid, power: bool = False) -> AnyArray:
    """The kernel's transfer, or its power, averaged over sub-pixel offsets, (n, *GRID_SHAPE).

    ``histograms``: (n, OFFSET_BINS, OFFSET_BINS) how often each offset occurs, y first.
    """
    along_y, along_x = grid.transfers
    if power:
        along_y, along_x = np.abs(along_y) ** 2, np.abs(along_x) ** 2
    if grid.kx.shape[0] == 1:  # no stretch: each axis by itself
        separable: AnyArray = along_y[..., 0].T @ (histograms @ along_x[:, 0])
        return separable
    averages = ((np.tensordot(histogram.T, along_y, 1) * along_x).sum(0) for histogram in histograms)
    return np.stack(list(averages))


def interpolate_by_radius(samples: FloatArray, frequencies: FloatArray, grid: FrequencyGrid) -> FloatArray:
    """A function of |k|, sampled at ``frequencies`` (1/pixel), on the grid, `GRID_SHAPE`."""
    return np.interp(grid.radius, frequencies * 2 * np.pi, samples)


def phase_and_noise_correction(transfer: AnyArray, noise_power: FloatArray) -> ComplexArray:
    """exp(-i arg transfer) / sqrt(noise power), complex64: makes the phase right and the noise flat."""
    phase = np.conj(transfer) / np.maximum(np.abs(transfer), 1e-12)
    correction = phase / np.sqrt(np.maximum(noise_power, 1e-6))
    return correction.astype(np.complex64)


def transfer_correction(
    weights: FloatArray, frequencies: FloatArray, histograms: FloatArray, grid: FrequencyGrid
) -> ComplexArray:
    """Factor for the spectrum of a sum, exp(-i arg T) / sqrt(P), complex64 of `GRID_SHAPE`.

    T = sum_t w_t G_t / sum_t w_t is the mean transfer of the sum, P = sum_t w_t² |G_t|² / sum_t w_t² that of its
    noise; G_t and |G_t|² are averages over the sub-pixel offsets of frame t. ``weights``: w, (samples, t) at
    ``frequencies`` (1/pixel); ``histograms``: (t, OFFSET_BINS, OFFSET_BINS).
    """
    ones = np.ones((1, weights.shape[1]))

    def sum_over_frames(weights: FloatArray, power: bool) -> AnyArray:
        """Of G or |G|²: by a few combinations of the frames that represent all weights."""
        basis = low_rank_basis(weights, ones, TRANSFER_ACCURACY)
        coefficients = weights @ np.linalg.pinv(basis)
        transfers = mean_transfer(np.tensordot(basis, histograms, 1), grid, power)
        terms = (
            interpolate_by_radius(samples, frequencies, grid) * transfer
            for samples, transfer in zip(coefficients.T, transfers, strict=True)
        )
        return np.asarray(sum(terms))

    squares = weights**2 / np.maximum((weights**2).sum(1, keepdims=True), 1e-30)
    return phase_and_noise_correction(sum_over_frames(weights, False), sum_over_frames(squares, True))


def blur_noise_correction(
    weights: FloatArray, frequencies: FloatArray, blur: FloatArray, grid: FrequencyGrid
) -> FloatArray:
    """sqrt(sum w² / sum w² b²), float32 of `GRID_SHAPE`: gives noise weighted by w b the power that it has with w.

    ``weights``: w, (samples, t) at ``frequencies`` (1/pixel); ``blur``: b, (t, *GRID_SHAPE).
    """
    power_without, power_with = np.zeros((2, *GRID_SHAPE))
    for frame_weights, frame_blur in zip(weights.T, blur, strict=True):
        power = interpolate_by_radius(frame_weights**2, frequencies, grid)
        power_without += power
        power_with += power * frame_blur**2
    ratio: FloatArray = power_without / np.maximum(power_with, 1e-6 * power_without + 1e-30)
    return np.sqrt(ratio).astype(np.float32)


@dataclass(frozen=True, eq=False)
class SumSpec:
    """What is to be made of running images or spectra, and how they were gathered."""

    plan: Plan
    placement: Placement
    sizes: ImageSizes
    offset_histograms: FloatArray  # (t, OFFSET_BINS, OFFSET_BINS): how often each sub-pixel offset occurs in each frame
    mean_counts: FloatArray  # (t,) float64 mean counts that were subtracted from the frames; they are added again


def finish_images(kernels: Kernels, images: Array, spec: SumSpec) -> dict[str, FloatArray]:
    """Sums by name, (h, w) float32, of running images (r, *padded), which are used up.

    Unbinned pixels are sums of counts. Binned pixels are means of the unbinned ones that they cover.
    """
    totals = {name: empty_spectrum(kernels, spec.sizes) for name in spec.plan.combinations}
    accumulate_spectra(kernels, totals, images, 0, spec.plan, spec.sizes)
    return finish_spectra(kernels, totals, spec)


def accumulate_spectra(
    kernels: Kernels, totals: dict[str, Array], images: Array, first: int, plan: Plan, sizes: ImageSizes
) -> None:
    """Add running images to the spectra of the sums; ``totals``: spectra by name, changed in place.

    ``images``: (n, *padded) float32, those with the numbers ``first``, ``first`` + 1, ...; they are used up.
    """
    steps = samples_per_pixel(plan.frequencies, sizes)
    for number, image in enumerate(images, first):
        spectrum = kernels.rfft2(image)
        pages.release_pages(image)
        for name, combination in plan.combinations.items():
            if np.abs(combination[:, number]).max() > 0:
                samples = combination[:, number].astype(np.float32)
                kernels.add_weighted_spectrum(totals[name], spectrum, samples, steps)


def finish_spectra(
    kernels: Kernels, totals: dict[str, Array], spec: SumSpec, blur: FloatArray | None = None
) -> dict[str, FloatArray]:
    """Sums by name, as `finish_images` returns them, of weighted and cropped spectra by name, which are used up.

    ``blur``: (t, *GRID_SHAPE) factors by which each frame was multiplied beside its weight; the noise is made flat for
    them.
    """
    plan = spec.plan
    grid = make_frequency_grid(spec.placement, spec.sizes)
    finished = {}
    for whole_weights, sums in _sums_by_whole(plan):
        correction: AnyArray = transfer_correction(whole_weights, plan.frequencies, spec.offset_histograms, grid)
        if blur is not None:
            correction = correction * blur_noise_correction(whole_weights, plan.frequencies, blur, grid)
        for wanted in sums:
            spectrum = totals.pop(wanted.name)
            kernels.multiply_interpolated(spectrum, correction)
            counts = float(wanted.frames @ spec.mean_counts)
            finished[wanted.name] = image_from_spectrum(kernels, spectrum, counts, spec.sizes)
    return finished


def _sums_by_whole(plan: Plan) -> Iterator[tuple[FloatArray, list[Sum]]]:
    """The weights of each whole, and the sums that are parts of it."""
    for whole_weights in {id(wanted.whole_weights): wanted.whole_weights for wanted in plan.sums}.values():
        yield whole_weights, [wanted for wanted in plan.sums if wanted.whole_weights is whole_weights]


def empty_spectrum(kernels: Kernels, sizes: ImageSizes) -> Array:
    """Zeros for the half spectrum of a cropped image, complex64."""
    rows, columns = sizes.cropped
    return kernels.zeros((rows, columns // 2 + 1), np.complex64)


def samples_per_pixel(frequencies: FloatArray, sizes: ImageSizes) -> FloatArray:
    """Samples of a function of |k|, given at ``frequencies`` (1/pixel), per row and per column of a spectrum, (2,)."""
    density: FloatArray = (len(frequencies) - 1) / frequencies[-1] / np.array(sizes.padded)
    return density


def image_from_spectrum(kernels: Kernels, spectrum: Array, counts: float, sizes: ImageSizes) -> FloatArray:
    """The output, (h, w) float32 on the host, of a finished half spectrum of the cropped size; ``counts`` are added."""
    (height, width), (rows, columns) = sizes.padded, sizes.cropped
    top, left = MARGIN_PX * rows // height, MARGIN_PX * columns // width
    image = kernels.irfft2(spectrum, sizes.cropped)
    scale = np.float32(rows * columns / (height * width))
    output = image[top : top + sizes.output[0], left : left + sizes.output[1]] * scale
    output += np.float32(counts)
    return kernels.to_host(output)
