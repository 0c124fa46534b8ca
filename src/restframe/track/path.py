"""Where the whole frame went when no frame alone says so: the most probable path through all frames' surfaces.

Each frame's correlation with the others, every ring weighted as the likelihood does (`likelihood.py`), is its log
likelihood as a function of where it stands. A path earns the sum of these, less what its steps cost: they are normal,
or jumps of any length at a fixed price. The best path on a lattice is found exactly (Viterbi 1967).
"""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace

from restframe.track.likelihood import smooth_positive
from restframe.track.whole_frame import frequencies, phase

STEP = 2.0  # small pixels, sd of the motion from frame to frame along an axis
JUMP = 12.0  # what any longer step costs, in log likelihood
LATTICES = ((32, 2.0), (32, 2.0), (32, 2.0), (32, 2.0), *6 * ((16, 1.0),))  # round by round: reach, spacing; small px
LOWEST_RING = 3  # cycles across the frame; what is slower is illumination


def most_probable_path(kernels, band, small: tuple[int, int], start: np.ndarray) -> np.ndarray:
    """Displacement of each frame, (t, 2) x, y in small pixels, relative to their mean.

    ``band``: `low_frequency_band`'s spectra of frames (h, w) = ``small``; ``start``: (t, 2), where to look first.
    """
    track = start
    auto = kernels.to_host(sum((abs(f) ** 2 for f in band), start=0 * abs(band[0])))
    for reach, spacing in LATTICES:
        around = np.arange(-reach, reach + spacing / 2, spacing)
        log_likelihood = surfaces(kernels, band, auto, small, track, around)
        found = best_path(log_likelihood, around, track)
        found -= found.mean(0)
        settled = np.abs(found - track).max() < spacing / 2
        track = found
        if settled and spacing == LATTICES[-1][1]:
            break
    return track


def surfaces(kernels, band, auto: np.ndarray, small: tuple[int, int], track: np.ndarray, around: np.ndarray):
    """(t, n, n): log likelihood of each frame displaced from ``track`` (t, 2) by ``around`` (n,) in y and in x, the
    others held. ``auto``: the frames' summed power.
    """
    xp = array_namespace(band)
    t, ny, nx = band.shape
    ky, kx = frequencies((ny, nx), small)
    rows, columns = phase(*map(kernels.to_device, (track, ky, kx)))
    total = sum((band[i] * rows[i] * columns[i] for i in range(t)), start=0 * band[0])
    weight = kernels.to_device(ring_weights(kernels.to_host(abs(total) ** 2), auto, t, ky * small[0], kx * small[1]))
    down = kernels.to_device(np.exp(2j * np.pi * around[:, None] * ky.T).astype(np.complex64))
    across = kernels.to_device(np.exp(2j * np.pi * kx.T * around).astype(np.complex64))
    out = np.empty((t, len(around), len(around)))
    for i in range(t):
        moved = band[i] * rows[i] * columns[i]
        out[i] = kernels.to_host(xp.real(down @ (xp.conj(total - moved) * moved * weight) @ across))
    return out


def ring_weights(power: np.ndarray, auto: np.ndarray, t: int, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
    """2 W of the likelihood for each coefficient of the half plane, float32, from the power of the frames' sum and the
    sum of the frames' powers; ky (h, 1), kx (1, w) in cycles across the frame.
    """
    twice = np.where(kx == 0, 1.0, 2.0) * (np.hypot(ky, kx) >= LOWEST_RING)
    ring = np.rint(np.hypot(ky, kx)).astype(int)

    def mean(values):
        return np.bincount(ring.ravel(), (values * twice).ravel()) / np.maximum(count, 1)

    count = np.bincount(ring.ravel(), twice.ravel())
    noise = np.maximum(mean(auto) / t, 1e-30)
    # without signal, the cross terms of a coefficient have the variance (t N)²
    sd = np.where(count > 0, noise / t / np.sqrt(np.maximum(count, 1) / 2), np.inf)
    signal = smooth_positive(mean(power - auto) / (t * t - t), sd)
    noise = np.maximum(noise - signal, 1e-3 * noise)
    return (twice * (signal / (noise * (noise + t * signal)))[ring]).astype(np.float32)


def best_path(gain: np.ndarray, around: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(t, 2) x, y: the path with the largest sum of ``gain`` (t, n, n) less the price of its steps; in frame i it may
    stand at centre[i] + ``around`` (n,) in y and x.
    """
    best, origins = gain[0], []
    for i in range(1, len(gain)):
        dx, dy = (0.5 * ((around[:, None] + d - around) / STEP) ** 2 for d in centre[i] - centre[i - 1])
        # the price is a sum over the axes: for every new y and old x the best old y, then the best old x
        by_y = best[None] - dy[:, :, None]
        old_y = by_y.argmax(1)  # (y, old x)
        by_x = by_y.max(1)[:, None] - dx
        old_x = by_x.argmax(2)  # (y, x)
        come = by_x.max(2)
        top = np.array(np.unravel_index(best.argmax(), best.shape))
        jumped = come < best.max() - JUMP
        origin = np.stack([np.take_along_axis(old_y, old_x, 1), old_x])
        origins.append(np.where(jumped, top[:, None, None], origin))
        best = np.maximum(come, best.max() - JUMP) + gain[i]
    y, x = np.unravel_index(best.argmax(), best.shape)
    path = [(x, y)]
    for origin in reversed(origins):
        y, x = origin[:, y, x]
        path.append((x, y))
    return centre + around[np.array(path[::-1])]
