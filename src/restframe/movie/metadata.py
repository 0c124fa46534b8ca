"""What a file says beside its frames, about the microscope and the exposure."""

from __future__ import annotations

from dataclasses import dataclass

PLAUSIBLE_PIXEL_SIZE_A = (0.01, 1000.0)  # others are not those of an electron microscope
PLAUSIBLE_VOLTAGE_KV = (10.0, 3000.0)
PLAUSIBLE_FRAME_DOSE = (1e-6, 1000.0)  # e/A² during one raw frame


@dataclass(frozen=True)
class Metadata:
    """Values that a file states; 0 or empty where it states none."""

    pixel_size: float = 0.0  # A, of a physical pixel of the camera, in the specimen
    frame_dose: float = 0.0  # e/A² during one raw frame
    voltage: float = 0.0  # kV
    gain_name: str = ""  # file name of the gain reference
    notes: tuple[str, ...] = ()  # sentences for the user, for example where two places of the file disagree


def plausible(value: float, bounds: tuple[float, float]) -> float:
    """``value`` if it lies within ``bounds``, else 0 for unknown."""
    return float(value) if bounds[0] <= value <= bounds[1] else 0.0
