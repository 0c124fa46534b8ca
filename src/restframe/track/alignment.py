"""Tiles shifted back by a motion field, and summed over the frames.

R(k) = sum_t g_t a_t Y_t(k) exp(i k·u_t) for the spectrum Y_t of a frame, its signal amplitude a_t and displacement u_t.
Where u_t is known only to a variance v_t along an axis, the coherent part of the signal is g_t = exp(-v_t |k|²/2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from restframe.arrays import Array, FloatArray
from restframe.kernels.interface import Kernels
from restframe.track.rings import RingGeometry, squared_wave_numbers
from restframe.track.tiles import Tiles


@dataclass(frozen=True, eq=False)
class AlignedTiles:
    """The sum R over the aligned frames of each tile, and ring sums that the likelihood needs."""

    displacement: FloatArray  # (p, t, 2) binned pixels
    position_variance: FloatArray  # (p, t) binned pixels²: v, along an axis
    real: Array  # (p, 2m+1, m+1): R, on the device
    imaginary: Array
    sum_power: FloatArray  # (p, rings) sums of |R|² over independent coefficients
    frame_power: FloatArray  # (p, rings) sums of sum_t |g_t a_t Y_t|² over the same
    coherent_power: Array  # (p, t, rings): b = g a², on the device
    frame_sums: FloatArray  # (3, p, rings): of b, b² and g b over the frames


def align_tiles(
    kernels: Kernels,
    tiles: Tiles,
    rings: RingGeometry,
    amplitude: FloatArray,
    displacement: FloatArray,
    position_variance: FloatArray,
) -> AlignedTiles:
    """``tiles`` hold a_t Y_t. ``amplitude``: a, (t, rings); ``displacement``: (p, t, 2) binned pixels;
    ``position_variance``: (p, t) binned pixels².
    """
    phases = shift_phases(tiles, displacement, position_variance)
    real, imaginary, frame_power = kernels.align_spectra(tiles.real, tiles.imaginary, *phases)
    share = tiles.windows.independent_share[:, None]
    sum_power = share * kernels.ring_power_sums(real, imaginary, rings.index, rings.weight)
    frame_power = share * kernels.ring_sums(frame_power, rings.index, rings.weight)
    variance = kernels.to_device(position_variance[..., None])
    xp = array_namespace(variance)
    coherence = xp.exp(-0.5 * variance * kernels.to_device(squared_wave_numbers(tiles)))
    coherent_power = coherence * kernels.to_device(amplitude**2)
    frame_sums = kernels.to_host(
        xp.stack(
            [
                coherent_power.sum(1),
                (coherent_power * coherent_power).sum(1),
                (coherence * coherent_power).sum(1),
            ]
        )
    )
    return AlignedTiles(
        displacement, position_variance, real, imaginary, sum_power, frame_power, coherent_power, frame_sums
    )


def shift_phases(
    tiles: Tiles, displacement: FloatArray, position_variance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Phases (p, t, 2) in radians, for a wave of one cycle per tile, that undo the displacement of each tile beyond its
    own offset; and their variance, (p, t).
    """
    radians_per_pixel = 2 * np.pi / tiles.size
    phases = radians_per_pixel * (displacement - tiles.offsets[None])
    return phases.astype(np.float32), (radians_per_pixel**2 * position_variance).astype(np.float32)
