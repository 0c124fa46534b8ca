"""Global motion where single frames have no significant peak: the most probable path through all surfaces.

The correlation of a frame with the others, each ring weighted as in the likelihood (`likelihood.py`), is the log
likelihood of its displacement. A path has the sum of these, less a penalty for its steps: they are normally
distributed, or jumps of any length at a fixed penalty. The best path on a grid is found exactly (Viterbi 1967).
"""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import FloatArray, IntArray
from restframe.kernels.interface import Kernels
from restframe.track.low_band import LowBand, shift_factors
from restframe.track.spectrum import smooth_positive

STEP_SD = 2.0  # binned pixels, standard deviation of the motion from frame to frame along an axis
JUMP_PENALTY = 12.0  # of a step of any length, in log likelihood
# iteration by iteration: half width and spacing of the grid, in binned pixels
SEARCH_GRIDS = ((32, 2.0), (32, 2.0), (32, 2.0), (32, 2.0), *6 * ((16, 1.0),))
LOWEST_RING = 3  # cycles across the frame; lower frequencies are illumination


def most_probable_path(kernels: Kernels, band: LowBand, start: FloatArray) -> FloatArray:
    """Displacement of each frame, (t, 2) x, y in binned pixels, relative to their mean.

    ``start``: (t, 2), the centre of the first search grid.
    """
    track = start
    spectra = band.spectra
    frame_power = kernels.to_host(sum((abs(spectrum) ** 2 for spectrum in spectra), start=0 * abs(spectra[0])))
    for half_width, spacing in SEARCH_GRIDS:
        grid = np.arange(-half_width, half_width + spacing / 2, spacing)
        path = best_path(log_likelihood_surfaces(kernels, band, frame_power, track, grid), grid, track)
        path -= path.mean(0)
        converged = np.abs(path - track).max() < spacing / 2
        track = path
        if converged and spacing == SEARCH_GRIDS[-1][1]:
            break
    return track


def log_likelihood_surfaces(
    kernels: Kernels, band: LowBand, frame_power: FloatArray, track: FloatArray, grid: FloatArray
) -> FloatArray:
    """(t, n, n): log likelihood of each frame displaced from ``track`` (t, 2) by ``grid`` (n,) in y and in x, with the
    other frames at ``track``. ``frame_power``: (2m, m'+1) sum of the frames' powers.
    """
    spectra = band.spectra
    xp = array_namespace(spectra)
    frame_count, (height, width) = len(spectra), band.frame_shape
    ky, kx = band.frequencies()
    row_factors, column_factors = shift_factors(*map(kernels.to_device, (track, ky, kx)))
    aligned_frames = (spectra[frame] * row_factors[frame] * column_factors[frame] for frame in range(frame_count))
    total = sum(aligned_frames, start=0 * spectra[0])
    sum_power = kernels.to_host(abs(total) ** 2)
    weights = kernels.to_device(ring_weights(sum_power, frame_power, frame_count, ky * height, kx * width))
    grid_rows = kernels.to_device(np.exp(2j * np.pi * grid[:, None] * ky.T).astype(np.complex64))
    grid_columns = kernels.to_device(np.exp(2j * np.pi * kx.T * grid).astype(np.complex64))
    surfaces = np.empty((frame_count, len(grid), len(grid)))
    for frame in range(frame_count):
        aligned = spectra[frame] * row_factors[frame] * column_factors[frame]
        correlation = grid_rows @ (xp.conj(total - aligned) * aligned * weights) @ grid_columns
        surfaces[frame] = kernels.to_host(xp.real(correlation))
    return surfaces


def ring_weights(
    sum_power: FloatArray, frame_power: FloatArray, frame_count: int, ky: FloatArray, kx: FloatArray
) -> FloatArray:
    """2 W of the likelihood for each coefficient of the half plane, float32.

    ``sum_power``: power of the frames' sum; ``frame_power``: sum of the frames' powers; ky (h, 1), kx (1, w) in cycles
    across the frame.
    """
    multiplicity = np.where(kx == 0, 1.0, 2.0) * (np.hypot(ky, kx) >= LOWEST_RING)
    ring = np.rint(np.hypot(ky, kx)).astype(int)
    count = np.bincount(ring.ravel(), multiplicity.ravel())

    def ring_mean(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(ring.ravel(), (values * multiplicity).ravel()) / np.maximum(count, 1))

    noise = np.maximum(ring_mean(frame_power) / frame_count, 1e-30)
    # without signal, the cross terms of a coefficient have the variance (t N)²
    standard_error = np.where(count > 0, noise / frame_count / np.sqrt(np.maximum(count, 1) / 2), np.inf)
    pair_count = frame_count * frame_count - frame_count
    signal = smooth_positive(ring_mean(sum_power - frame_power) / pair_count, standard_error)
    noise = np.maximum(noise - signal, 1e-3 * noise)
    weights = signal / (noise * (noise + frame_count * signal))
    return np.asarray(multiplicity * weights[ring], np.float32)


def best_path(surfaces: FloatArray, grid: FloatArray, centres: FloatArray) -> FloatArray:
    """(t, 2) x, y: the path with the largest sum of ``surfaces`` (t, n, n) less the penalties of its steps.

    In each frame the path is at the frame's row of ``centres`` (t, 2) plus ``grid`` (n,) in y and x.
    """
    best, origins = surfaces[0], []
    for frame in range(1, len(surfaces)):
        penalty_x, penalty_y = (
            0.5 * ((grid[:, None] + motion - grid) / STEP_SD) ** 2 for motion in centres[frame] - centres[frame - 1]
        )
        best, origin = _best_predecessors(best, penalty_x, penalty_y)
        best = best + surfaces[frame]
        origins.append(origin)
    row, column = np.unravel_index(best.argmax(), best.shape)
    path = [(column, row)]
    for origin in reversed(origins):
        row, column = origin[:, row, column]
        path.append((column, row))
    return np.asarray(centres + grid[np.array(path[::-1])])


def _best_predecessors(best: FloatArray, penalty_x: FloatArray, penalty_y: FloatArray) -> tuple[FloatArray, IntArray]:
    """The largest value with which each place of a frame can be reached, (n, n), and from which row and column, (2, n,
    n). ``best``: the values of the frame before; penalties: (new, old) along each axis.

    The penalty of a step is a sum over the axes: for every new y and old x the best old y is found, then the best old
    x.
    """
    by_old_row = best[None] - penalty_y[:, :, None]
    old_row = by_old_row.argmax(1)  # (y, old x)
    by_old_column = by_old_row.max(1)[:, None] - penalty_x
    old_column = by_old_column.argmax(2)  # (y, x)
    stepped = by_old_column.max(2)
    jumped = best.max() - JUMP_PENALTY
    origin = np.stack([np.take_along_axis(old_row, old_column, 1), old_column])
    highest = np.array(np.unravel_index(best.argmax(), best.shape))
    origin = np.where(stepped < jumped, highest[:, None, None], origin)
    return np.maximum(stepped, jumped), origin
