"""The global motion: tiles that follow the coarse track, and a field of a single mode fitted to them."""

from __future__ import annotations

import numpy as np

from restframe.arrays import FloatArray
from restframe.kernels.interface import Kernels
from restframe.optics import remaining_amplitude
from restframe.settings import Exposure, Motion
from restframe.track.coarse import REFERENCE_SIDE, CoarseMotion
from restframe.track.fit import Fit, FitOptions, fit_field
from restframe.track.likelihood import SignalModel
from restframe.track.pattern import subtract_pattern_from_tiles_in_place
from restframe.track.prior import Prior
from restframe.track.problem import FieldModel, Problem, TileData
from restframe.track.rings import ring_geometry
from restframe.track.series import FrameSeries
from restframe.track.tiles import (
    TileLayout,
    Tiles,
    make_tiles_and_release_frames,
    scale_tiles_in_place,
    tile_layout,
)


def make_tile_data(kernels: Kernels, series: FrameSeries, coarse: CoarseMotion, exposure: Exposure) -> TileData:
    """Tiles that follow the coarse track, without the fixed pattern, scaled by the signal's amplitude.

    Releases the memory of the binned frames: they can't be used again.
    """
    layout = tile_layout(series.binned.shape)
    offsets = np.round(coarse.track).astype(int)
    tiles = make_tiles_and_release_frames(kernels, series.binned, layout, offsets, coarse.weight_map)
    subtract_pattern_from_tiles_in_place(kernels, tiles, coarse.pattern)
    amplitude = signal_amplitude(series, exposure, layout)
    scale_tiles_in_place(kernels, tiles, amplitude)
    return TileData(tiles, ring_geometry(layout.band), SignalModel(amplitude, pattern=coarse.pattern))


def signal_amplitude(series: FrameSeries, exposure: Exposure, layout: TileLayout) -> FloatArray:
    """Amplitude of the signal by frame and ring of a tile, (t, rings), where the noise of a frame has power one.

    It grows with the root of the counts. Where dose and pixel size are known, it fades with radiation damage.
    """
    ring_count = layout.band + 1
    amplitude = np.repeat(np.sqrt(series.relative_exposures())[:, None], ring_count, 1)
    pixel_size = exposure.pixel_size * series.binned.factor
    if not (series.dose_is_known and pixel_size > 0):
        return amplitude
    frequency = np.maximum(np.arange(ring_count), 1) / (layout.size * pixel_size)
    return np.asarray(amplitude * remaining_amplitude(frequency, series.mid_dose(), exposure.voltage).T)


def motioncor_damping(tiles: Tiles, binned_shape: tuple[int, int], motion: Motion, bfactor: float) -> FloatArray | None:
    """MotionCor's filter exp(-B f²/2), (rings,), where ``motion`` asks for it in place of the data's weights.

    f is in cycles per pixel of the image whose short side is `REFERENCE_SIDE`.
    """
    if motion.weights != "bfactor":
        return None
    frequency = np.arange(tiles.band + 1) / tiles.size * min(binned_shape) / REFERENCE_SIDE
    return np.asarray(np.exp(-0.5 * bfactor * frequency**2))


def fit_global_motion(
    kernels: Kernels,
    series: FrameSeries,
    data: TileData,
    coarse: CoarseMotion,
    motion: Motion,
    default: Prior,
) -> Fit:
    """The most probable global motion, searched from the coarse track; ``default``: the prior before any data."""
    mid_dose = series.mid_dose()
    model = FieldModel(
        modes=((0, 0),),
        tile_means=np.ones((1, len(data.tiles.centres))),
        mid_dose=mid_dose - mid_dose[0],
        reference=series.reference_frame(motion.reference),
        global_groups=series.global_groups,
        local_groups=series.local_groups,
    )
    damping = motioncor_damping(data.tiles, series.binned.shape, motion, motion.bfactor[0])
    options = FitOptions(motion.iterations, motion.tolerance / series.binned.factor / 2, default)
    return fit_field(kernels, Problem(data.with_damping(damping), model), coarse.track[None], default, options)


def local_motion_is_wanted(motion: Motion) -> bool:
    """At least two patches along both axes are asked for."""
    return min(motion.patches) > 1
