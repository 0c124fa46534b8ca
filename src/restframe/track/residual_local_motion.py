"""Motion of single tiles beyond the field, as far as the tiles show it: a part of the stated error.

Local motion that the modes can't describe, and particles at other heights in ice that rotates, move a tile otherwise
than the field. The residual trajectory of a tile has the prior of a mode (`prior.py`), independent of those of other
tiles. The two scales of this prior are those with the highest evidence, with the field fixed. The residual motion is
not added to the field.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import FloatArray
from restframe.kernels.interface import Kernels
from restframe.track.evidence import Trajectories, maximize_evidence
from restframe.track.prior import Prior
from restframe.track.time_basis import TimeBasis

DEFAULT_SPEED_VARIANCE = 0.03**2  # A² per unit of time
DEFAULT_ROUGHNESS_VARIANCE = 0.003**2  # the same of changes of speed
SEARCH_STEPS = 40  # of the search for the scales, at most


@dataclass(frozen=True, eq=False)
class ResidualMotion:
    """Motion of places beyond the field; binned pixels."""

    values: FloatArray  # (t, n) functions of time
    precision: FloatArray  # (n,) of their coefficients, along an axis

    @property
    def deviation(self) -> float:
        """Standard deviation of the motion less its mean over time, both axes together, rms over frames."""
        centred = self.values - self.values.mean(0)
        return float(np.sqrt(2 * (centred**2 / self.precision).sum() / len(self.values)))

    @property
    def covariance(self) -> FloatArray:
        """Between frames, along an axis, (t, t)."""
        return np.asarray((self.values / self.precision) @ self.values.T)


def residual_local_motion(
    kernels: Kernels, basis: TimeBasis, information: FloatArray, gradient: FloatArray, pixel_size: float
) -> ResidualMotion:
    """The tiles' motion beyond the field.

    ``basis``: functions of time of local motion. ``information`` (p, t, t) and ``gradient`` (p, t, 2) of the log
    likelihood by each tile's displacement, at the field. ``pixel_size``: A of a binned pixel.
    """
    values, tile_count = basis.values, len(gradient)
    roughness = np.broadcast_to(basis.roughness, (tile_count, len(basis)))
    trajectories = Trajectories(
        values.T @ information @ values, values.T @ gradient, roughness, np.zeros(tile_count, int)
    )
    default = Prior(
        np.array([DEFAULT_SPEED_VARIANCE]) / pixel_size**2, np.array([DEFAULT_ROUGHNESS_VARIANCE]) / pixel_size**2
    )
    start = default.log_scales()
    log_scales, _ = maximize_evidence(kernels, trajectories, start, start, SEARCH_STEPS)
    return ResidualMotion(values, Prior.from_log_scales(log_scales).precision(0, basis.roughness))
