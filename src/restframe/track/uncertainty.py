"""The error of a measured motion field at any place, and how the errors of its frames go together.

The posterior of the coefficients (`posterior.py`) gives the covariance of the displacements that the field describes.
The motion of tiles beyond the field (`residual_local_motion.py`) and the positions in blurred frames (`blurred.py`) add
their own. The stated error is the root of the mean of this variance over tiles and frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from restframe.arrays import FloatArray
from restframe.track.posterior import Posterior
from restframe.track.problem import FieldModel

PLACES_PER_BLOCK = 64  # whose functions of time are in memory together


@dataclass(frozen=True, eq=False)
class FieldUncertainty:
    """Errors of a motion field along one axis; those along the other are as large and independent of them."""

    model: FieldModel
    posterior: Posterior
    scale: float  # unbinned pixels per binned one, times what other errors of the fit add to the posterior's deviation
    residual: FloatArray  # (t, t) covariance of the motion of places beyond the field, unbinned pixels²
    blur_variance: FloatArray  # (t,) of positions in each frame that are due to its blur, unbinned pixels²

    def covariance(self, mode_values: FloatArray, relative_to: int | None = None) -> FloatArray:
        """Between the displacements in all frames, (places, t, t) in unbinned pixels².

        ``mode_values``: (modes, places). ``relative_to``: the frame whose displacement is subtracted; None: the mean
        over all frames.
        """
        frame_count = len(self.blur_variance)
        centring = np.eye(frame_count)
        if relative_to is None:
            centring -= 1 / frame_count
        else:
            centring[:, relative_to] -= 1
        blur = np.diag(self.blur_variance)
        own = centring @ self.residual @ centring.T + (blur if relative_to is None else centring @ blur @ centring.T)
        blocks = [
            self._of_posterior(mode_values[:, first : first + PLACES_PER_BLOCK], centring)
            for first in range(0, mode_values.shape[1], PLACES_PER_BLOCK)
        ]
        return np.concatenate([np.zeros((0, frame_count, frame_count)), *blocks]) + own

    def _of_posterior(self, mode_values: FloatArray, centring: FloatArray) -> FloatArray:
        """The part that the fit knows of."""
        design = np.concatenate(
            [
                np.einsum("mp,tn->ptmn", mode_values[group.modes], centring @ group.basis.values).reshape(
                    mode_values.shape[1], len(centring), -1
                )
                for group in self.model.mode_groups
            ],
            axis=2,
        )  # (places, t, coefficients)
        joint = self.posterior.joint
        by_coefficient = np.moveaxis(design[:, :, joint], 2, 0)
        whitened = linalg.solve_triangular(
            self.posterior.joint_factor, by_coefficient.reshape(len(by_coefficient), -1), lower=True, check_finite=False
        ).reshape(by_coefficient.shape)
        together = np.einsum("npt,nps->pts", whitened, whitened, optimize=True)
        single = design[:, :, ~joint] / np.sqrt(self.posterior.single_precision)
        return np.asarray(self.scale**2 * (together + single @ np.swapaxes(single, 1, 2)))
