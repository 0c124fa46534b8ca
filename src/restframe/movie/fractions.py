"""Which frames of a movie are used, and what the specimen had received at the end of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.errors import SettingsError
from restframe.settings import Exposure


@dataclass(frozen=True, eq=False)
class Fractions:
    frames: range  # numbers of the raw frames used, from 0
    dose: np.ndarray  # (t,) e/A² received during each
    accumulated: np.ndarray  # (t,) e/A² received at the end of each, frames left out at the start included


def fractions(n_raw: int, exposure: Exposure) -> Fractions:
    """The used frames of a movie of ``n_raw`` frames.

    accumulated = initial_dose + frame_dose (raw frame from 0 + 1): what is thrown away has done its damage too (manual,
    -Throw and -InitDose). Raises `SettingsError` for negative or not finite values and when no frame is left.
    """
    for flag, value in (
        ("-Throw", exposure.throw),
        ("-Trunc", exposure.trunc),
        ("-FmDose", exposure.frame_dose),
        ("-InitDose", exposure.initial_dose),
    ):
        if not 0 <= value < float("inf"):
            raise SettingsError(f"{flag} {value:g}: expected a value of 0 or more.")
    frames = range(exposure.throw, n_raw - exposure.trunc)
    if not frames:
        raise SettingsError(
            f"-Throw {exposure.throw} and -Trunc {exposure.trunc} leave none of the movie's {n_raw} frames. "
            "Leave fewer out."
        )
    dose = np.full(len(frames), float(exposure.frame_dose))
    return Fractions(frames, dose, exposure.initial_dose + exposure.frame_dose * (np.array(frames) + 1.0))
