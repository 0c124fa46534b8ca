"""Global motion where single frames do not determine it: the posterior of the path through all frames.

The correlation of a frame with the others, each ring weighted as in the likelihood (`likelihood.py`), is the log
likelihood of its displacement. Steps between frames are normally distributed, with the variance of the prior
(`prior.py`), or, rarely, jumps of any length. The forward-backward algorithm (Rabiner, Proc. IEEE 77, 257 (1989),
section III) gives the probability of every displacement on a grid in every frame.

A frame whose displacement is uncertain counts in the sum of the others by its mean phase, exp(-k² variance / 2). The
iterations start from the prior alone: waves that are long in comparison with the uncertainty decide first, and shorter
ones follow. The result is the mean of the posterior, so a movie without signal is left at rest. Of displacements that
fit equally well, as in a crystal, the one with the smallest steps is the most probable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import AnyArray, Array, FloatArray, IntArray
from restframe.kernels.interface import Kernels
from restframe.track.low_band import LowBand, shift_factors
from restframe.track.prior import DEFAULT_TIME_AXIS
from restframe.track.spectrum import smooth_positive
from restframe.track.tiles import frame_blocks

SPEED_VARIANCE = 1.0  # A² per unit of stretched time along an axis, as in the default prior
MIN_STEP_VARIANCE = 0.05  # binned pixels²
JUMP_PROBABILITY = 0.01  # of a step of any length within the grid
# iteration by iteration: half width and spacing of the grid in binned pixels, and the fraction of the band that is used
SEARCH_GRIDS = (*3 * ((32, 2.0, 0.5),), *3 * ((12, 1.0, 1.0),))
LOWEST_RING = 3  # cycles across the frame; lower frequencies are illumination
MIN_PAIR_WEIGHT = 1e-4  # of a ring: with less, uncertain displacements leave nothing of its signal


@dataclass(frozen=True, eq=False)
class PathPosterior:
    """What the frames say about the global motion; binned pixels."""

    mean: FloatArray  # (t, 2) displacement x, y, zero in the reference frame
    variance: FloatArray  # (t,) along an axis


def step_variance(mid_dose: FloatArray, pixel_size: float) -> FloatArray:
    """Prior variance of the motion from frame to frame along an axis, (t - 1,) binned pixels².

    ``mid_dose``: (t,) e/A² at the middle of each frame; ``pixel_size``: A of a binned pixel.
    """
    times = DEFAULT_TIME_AXIS.stretched_time(mid_dose - mid_dose[0])
    return np.asarray(np.maximum(SPEED_VARIANCE * np.diff(times) / pixel_size**2, MIN_STEP_VARIANCE))


def path_posterior(kernels: Kernels, band: LowBand, step_variances: FloatArray, reference: int) -> PathPosterior:
    """Mean and variance of the displacement of each frame.

    ``step_variances``: (t - 1,) as from `step_variance`; ``reference``: the frame whose displacement is zero.
    """
    times = np.concatenate([[0.0], np.cumsum(step_variances)])
    posterior = PathPosterior(np.zeros((len(times), 2)), np.abs(times - times[reference]))
    spectra: dict[float, BandRings] = {}
    for half_width, spacing, band_fraction in SEARCH_GRIDS:
        if band_fraction not in spectra:
            spectra[band_fraction] = band_rings(kernels, cropped_band(band, band_fraction))
        grid = np.arange(-half_width, half_width + spacing / 2, spacing)
        surfaces = log_likelihood_surfaces(kernels, spectra[band_fraction], posterior, grid)
        scales = likelihood_scales(surfaces)
        scaled = surfaces * scales[:, None, None]
        probability = path_probability(scaled, grid, posterior.mean, step_variances, reference)
        posterior = posterior_moments(probability, grid, posterior.mean, reference)
    within_cell = (1 - scales) * spacing**2 / 4  # variance that the scales have added
    return replace(posterior, variance=np.maximum(posterior.variance - within_cell, 0))


def likelihood_scales(surfaces: FloatArray) -> FloatArray:
    """Factors (t,) for the log likelihoods (t, n, n) of displacements on a grid, 1 where the grid is fine enough.

    Peaks lie between grid points. Where the signal is strong, a point near a wrong peak, as those of a crystal, can
    therefore have a much higher likelihood than all points near the right one. With these factors, the log likelihood
    at the corner of a grid cell is at most 1 below that at its highest point.
    """
    last = surfaces.shape[1] - 2
    scales = np.ones(len(surfaces))
    for frame, surface in enumerate(surfaces):
        row, column = np.clip(np.unravel_index(np.argmax(surface), surface.shape), 1, last)
        along_y = surface[row - 1, column] - 2 * surface[row, column] + surface[row + 1, column]
        along_x = surface[row, column - 1] - 2 * surface[row, column] + surface[row, column + 1]
        scales[frame] = 1 / max(1.0, -(along_y + along_x) / 8)
    return scales


def cropped_band(band: LowBand, fraction: float) -> LowBand:
    """The lower ``fraction`` of the frequencies along both axes."""
    if fraction >= 1:
        return band
    rows, columns = band.spectra.shape[1:]
    half = max(int(rows * fraction / 2), 1)
    xp = array_namespace(band.spectra)
    kept_columns = band.spectra[:, :, : max(int((columns - 1) * fraction), 1) + 1]
    return replace(band, spectra=xp.concat([kept_columns[:, :half], kept_columns[:, rows - half :]], axis=1))


@dataclass(frozen=True, eq=False)
class BandRings:
    """Spectra of whole frames and their rings; the last ring holds the coefficients that are not used."""

    band: LowBand
    ring: IntArray  # (2m, m'+1)
    multiplicity: FloatArray  # (2m, m'+1) 2 for a coefficient whose conjugate is not there, 0 where it is not used
    count: AnyArray  # (rings,) coefficients of the full plane
    frame_power: FloatArray  # (t, rings) mean power of each frame

    @property
    def frequency(self) -> FloatArray:
        """Of each ring, cycles per binned pixel."""
        return np.arange(len(self.count)) / min(self.band.frame_shape)


def band_rings(kernels: Kernels, band: LowBand) -> BandRings:
    ky, kx = band.frequencies()
    rows, columns = band.spectra.shape[1:]
    last = min(rows // 2, columns - 1)
    ring = np.minimum(np.rint(np.hypot(ky, kx) * min(band.frame_shape)).astype(int), last + 1)
    cycles = np.hypot(ky * band.frame_shape[0], kx * band.frame_shape[1])
    multiplicity = np.where(kx == 0, 1.0, 2.0) * (cycles >= LOWEST_RING) * (ring <= last)
    count = np.bincount(ring.ravel(), multiplicity.ravel(), last + 2)
    rings = BandRings(band, ring, multiplicity, count, np.zeros((0, 0)))
    power = [
        ring_mean(kernels, rings, abs(band.spectra[block]) ** 2)
        for block in frame_blocks(len(band.spectra), kernels.frames_per_block)
    ]
    return replace(rings, frame_power=np.concatenate(power))


def ring_mean(kernels: Kernels, rings: BandRings, power: Array) -> FloatArray:
    """Mean of ``power`` (n, 2m, m'+1) over the coefficients of each ring, (n, rings)."""
    weighted = kernels.to_host(power) * rings.multiplicity
    flat_ring, ring_count = rings.ring.ravel(), len(rings.count)
    total = np.stack([np.bincount(flat_ring, image.ravel(), ring_count) for image in weighted])
    return np.asarray(total / np.maximum(rings.count, 1))


def log_likelihood_surfaces(
    kernels: Kernels, rings: BandRings, posterior: PathPosterior, grid: FloatArray
) -> FloatArray:
    """(t, n, n): log likelihood of each frame displaced by ``grid`` (n,) in y and in x from the mean of ``posterior``,
    with the others where that expects them.
    """
    spectra, (ky, kx) = rings.band.spectra, rings.band.frequencies()
    xp = array_namespace(spectra)
    row_factors, column_factors = shift_factors(*map(kernels.to_device, (posterior.mean, ky, kx)))
    fading = np.exp(-0.5 * (2 * np.pi * rings.frequency) ** 2 * posterior.variance[:, None])
    fading_on_device = kernels.to_device(fading.astype(np.float32))
    ring_on_device = kernels.to_device(rings.ring)
    total = 0 * spectra[0]
    blocks = frame_blocks(len(spectra), kernels.frames_per_block)
    for block in blocks:
        aligned = spectra[block] * row_factors[block] * column_factors[block]
        total = total + (aligned * fading_on_device[block][:, ring_on_device]).sum(0)
    weight = ring_weights(ring_mean(kernels, rings, abs(total)[None] ** 2)[0], rings, fading)
    surfaces = np.zeros((len(spectra), len(grid), len(grid)))
    if not weight.any():
        return surfaces
    # only waves that have a weight
    highest = rings.frequency[np.flatnonzero(weight)[-1]]
    used_rows = np.flatnonzero(np.abs(ky[:, 0]) <= highest)
    column_stop = int(np.searchsorted(kx[0], highest, side="right"))
    part = (kernels.to_device(used_rows), slice(column_stop))
    used_ring = rings.ring[used_rows, :column_stop]
    coefficient_weight = weight[used_ring] * rings.multiplicity[used_rows, :column_stop]
    weight_on_device = kernels.to_device(coefficient_weight.astype(np.float32))
    used_fading = kernels.to_device(fading[:, used_ring].astype(np.float32))
    grid_rows = kernels.to_device(np.exp(2j * np.pi * grid[:, None] * ky[used_rows].T).astype(np.complex64))
    grid_columns = kernels.to_device(np.exp(2j * np.pi * kx[:, :column_stop].T * grid).astype(np.complex64))
    for block in blocks:
        moved = spectra[block][:, part[0], part[1]] * row_factors[block][:, part[0]]
        moved = moved * column_factors[block][:, :, :column_stop]
        others = total[part] - moved * used_fading[block]
        correlation = xp.conj(others) * moved * weight_on_device
        surfaces[block] = kernels.to_host(xp.real(grid_rows @ correlation @ grid_columns))
    return surfaces


def ring_weights(sum_power: FloatArray, rings: BandRings, fading: FloatArray) -> FloatArray:
    """W = S / (N (N + S sum g²)) of each ring, (rings,), from the power of the faded sum (rings,).

    ``fading``: (t, rings) mean phase g of each frame.
    """
    noise = np.maximum(rings.frame_power.mean(0), 1e-30)
    own_weight = (fading**2).sum(0)
    pair_weight = fading.sum(0) ** 2 - own_weight
    known = (rings.count > 0) & (pair_weight > MIN_PAIR_WEIGHT)
    pairs = np.where(known, pair_weight, 1.0)
    cross_power = sum_power - (fading**2 * rings.frame_power).sum(0)
    standard_error = noise * own_weight / pairs / np.sqrt(np.maximum(rings.count, 1) / 2)
    signal = smooth_positive(np.where(known, cross_power / pairs, 0.0), np.where(known, standard_error, np.inf))
    noise = np.maximum(noise - signal, 1e-3 * noise)
    return np.asarray(signal / (noise * (noise + signal * own_weight)))


def path_probability(
    surfaces: FloatArray, grid: FloatArray, centre: FloatArray, step_variances: FloatArray, reference: int
) -> FloatArray:
    """(t, n, n): probability that frame i stands at ``centre[i]`` + ``grid`` (n,) in y and x.

    ``surfaces``: (t, n, n) log likelihoods; ``centre``: (t, 2). The reference frame stands at its centre.
    """
    frame_count, grid_count = surfaces.shape[:2]
    likelihood = np.exp(surfaces - surfaces.max((1, 2), keepdims=True))
    likelihood[reference] = 0
    likelihood[reference, grid_count // 2, grid_count // 2] = 1
    anywhere = JUMP_PROBABILITY / grid_count**2
    steps = [
        step_probability(centre[frame + 1] - centre[frame], grid, step_variances[frame])
        for frame in range(frame_count - 1)
    ]
    forward = np.empty_like(likelihood)
    forward[0] = likelihood[0] / likelihood[0].sum()
    for frame, (step_x, step_y) in enumerate(steps, 1):
        expected = (1 - JUMP_PROBABILITY) * (step_y @ forward[frame - 1] @ step_x.T) + anywhere
        forward[frame] = expected * likelihood[frame]
        forward[frame] /= max(forward[frame].sum(), 1e-300)
    probability = np.empty_like(likelihood)
    probability[-1] = forward[-1]
    backward = np.ones((grid_count, grid_count))
    for frame in range(frame_count - 2, -1, -1):
        step_x, step_y = steps[frame]
        later = backward * likelihood[frame + 1]
        backward = (1 - JUMP_PROBABILITY) * (step_y.T @ later @ step_x) + anywhere * later.sum()
        backward /= backward.max()
        probability[frame] = forward[frame] * backward
    return np.asarray(probability / probability.sum((1, 2), keepdims=True))


def step_probability(offset: FloatArray, grid: FloatArray, variance: float) -> tuple[FloatArray, FloatArray]:
    """For x and y, (n, n): probability of a step from an old grid point (column) to a new one (row).

    ``offset``: (2,) new centre of the grid less the old one. Where the step is short in comparison with the spacing,
    only neighbours are reached, with the same variance.
    """
    spacing = grid[1] - grid[0]
    matrices = []
    for shift in offset:
        distance = shift + grid[:, None] - grid
        if variance > 0.5 * spacing**2:
            scale = spacing / np.sqrt(2 * np.pi * variance)
            matrices.append(scale * np.exp(-0.5 * distance**2 / variance))
            continue
        to_neighbour = variance / (2 * spacing**2)
        stay, left, right = (np.maximum(1 - np.abs(distance + step) / spacing, 0) for step in (0.0, spacing, -spacing))
        matrices.append((1 - 2 * to_neighbour) * stay + to_neighbour * (left + right))
    return matrices[0], matrices[1]


def posterior_moments(probability: FloatArray, grid: FloatArray, centre: FloatArray, reference: int) -> PathPosterior:
    """Mean and variance of `path_probability`, relative to the reference frame."""
    along_y, along_x = probability.sum(2), probability.sum(1)
    mean_y, mean_x = along_y @ grid, along_x @ grid
    variance = 0.5 * (along_y @ grid**2 - mean_y**2 + along_x @ grid**2 - mean_x**2)
    spacing = grid[1] - grid[0]
    if spacing > 1:
        variance = variance + spacing**2 / 12  # within a grid cell
    variance[reference] = 0
    mean = centre + np.stack([mean_x, mean_y], 1)
    return PathPosterior(mean - mean[reference], variance)
