"""The references of the camera, where the kernels work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from restframe.arrays import Array, FloatArray
from restframe.detector.references import References

if TYPE_CHECKING:
    from restframe.kernels.interface import Kernels


@dataclass(frozen=True, eq=False)
class CameraArrays:
    """The references of the camera, where the kernels work."""

    gain: Array  # (h, w) float32, ones where there is no gain reference
    dark: Array  # (h, w) float32, or (1, 1) zero where there is no dark reference
    host_dark: FloatArray  # the same on the host

    @property
    def has_dark(self) -> bool:
        return self.host_dark.size > 1


def camera_arrays(kernels: Kernels, references: References, shape: tuple[int, int]) -> CameraArrays:
    """References for frames of ``shape`` (h, w)."""
    gain = np.ones(shape, np.float32) if references.gain is None else references.gain
    dark = np.zeros((1, 1), np.float32) if references.dark is None else references.dark
    return CameraArrays(kernels.to_device(gain), kernels.to_device(dark), dark)
