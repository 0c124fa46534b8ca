"""Which raw frames of a movie are used, which are summed to one fraction, and the dose of each fraction.

Motion is measured and corrected on fractions. Without integration, each fraction of a movie that is not EER is one raw
frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.arrays import FloatArray
from restframe.errors import SettingsError
from restframe.messages import Message, Setting
from restframe.movie.integration import divide_frames, fit_rows_to_movie, read_rows
from restframe.settings import Exposure, Row

DEFAULT_FRACTION_COUNT = 40  # of an event movie whose dose is unknown
DEFAULT_FRACTION_DOSE = 1.0  # e/A², of an event movie whose dose is known
MIN_FRACTIONS, MAX_FRACTIONS = 10, 100


@dataclass(frozen=True, eq=False)
class Fractions:
    """The fractions of a movie, in order."""

    frames: tuple[range, ...]  # raw frames, counted from 0, that each fraction sums
    dose: FloatArray  # (t,) e/A² during each fraction
    accumulated: FloatArray  # (t,) e/A² at the end of each fraction, with that of frames left out at the start
    weight: FloatArray  # (t,) what each fraction counts in a group of fractions
    notes: tuple[str, ...] = ()  # sentences for the user

    @property
    def raw_frames(self) -> range:
        """All raw frames that are used."""
        return range(self.frames[0].start, self.frames[-1].stop)

    @property
    def are_sums(self) -> bool:
        """Whether any fraction sums several raw frames."""
        return any(len(raw_frames) > 1 for raw_frames in self.frames)


def make_fractions(raw_count: int, exposure: Exposure, events: bool = False) -> Fractions:
    """The fractions of a movie of ``raw_count`` raw frames.

    ``events``: an EER movie, whose raw frames hold too few electrons to be used singly; unless the exposure gives an
    integration, it gets about 40 fractions, or fractions of about 1 e/A².

    Throw and Trunc count raw frames. accumulated = initial dose + dose of all raw frames up to the end of a fraction,
    because frames that are left out have damaged the specimen too (manual, sections 7 and 9). Raises `SettingsError`
    when no frame is left.

    Example: ``make_fractions(40, Exposure(frame_dose=1.2, throw=1))`` has 39 fractions, the first with an accumulated
    dose of 2.4 e/A².
    """
    _check_exposure(raw_count, exposure)
    integration = exposure.integration
    given = read_rows(integration) if integration is not None and not isinstance(integration, tuple) else integration
    default_size = (exposure.eer_grouping or default_fraction_size(raw_count, exposure)) if events else 1
    rows = given or (Row(raw_count, default_size, 0.0),)
    fractions: list[range] = []
    doses: list[float] = []
    accumulated_doses: list[float] = []
    sizes_and_doses: list[tuple[int, float]] = []  # raw frames that each fraction should hold, dose of a raw frame
    row_start, dose_before = 0, exposure.initial_dose
    for row in fit_rows_to_movie(rows, raw_count):
        raw_dose = row.dose or exposure.frame_dose
        used_frames = range(max(row_start, exposure.throw), min(row_start + row.frames, raw_count - exposure.trunc))
        for fraction in divide_frames(used_frames, row.size) if used_frames else []:
            fractions.append(fraction)
            doses.append(raw_dose * len(fraction))
            accumulated_doses.append(dose_before + raw_dose * (fraction.stop - row_start))
            sizes_and_doses.append((row.size, raw_dose))
        row_start, dose_before = row_start + row.frames, dose_before + raw_dose * row.frames
    return Fractions(
        tuple(fractions),
        np.array(doses),
        np.array(accumulated_doses),
        _group_weights(np.array(sizes_and_doses)),
        _notes(fractions, raw_count, exposure, given),
    )


def default_fraction_size(raw_count: int, exposure: Exposure) -> int:
    """Raw frames of a fraction of an event movie when the exposure gives no integration."""
    total_dose = raw_count * exposure.frame_dose
    fraction_count = DEFAULT_FRACTION_COUNT
    if total_dose > 0:
        fraction_count = min(max(round(total_dose / DEFAULT_FRACTION_DOSE), MIN_FRACTIONS), MAX_FRACTIONS)
    return max(1, raw_count // fraction_count)


def _group_weights(sizes_and_doses: FloatArray) -> FloatArray:
    """The raw frames that each fraction should hold; if that is one for all fractions, their doses (manual 16.2)."""
    sizes, doses = sizes_and_doses.T
    weights: FloatArray = doses if sizes.max() == 1 and doses.min() > 0 else sizes
    return weights


def _check_exposure(raw_count: int, exposure: Exposure) -> None:
    if not range(exposure.throw, raw_count - exposure.trunc):
        raise SettingsError(
            Setting("throw", exposure.throw),
            " and ",
            Setting("trunc", exposure.trunc),
            f" leave none of the movie's {raw_count} frames. Leave fewer out.",
        )


def _notes(
    fractions: list[range], raw_count: int, exposure: Exposure, given: tuple[Row, ...] | None
) -> tuple[str, ...]:
    notes = []
    if given:
        listed_count = sum(row.frames for row in given)
        if listed_count != raw_count:
            change = "rows are cut from the end" if listed_count > raw_count else "its last row holds for the rest"
            difference = f" lists {listed_count} raw frames, the movie has {raw_count}; {change}."
            notes.append(Message("Warning: ", Setting("integration"), difference))
        doses = {row.dose or exposure.frame_dose for row in given}
        if 0 in doses and len(doses) > 1:
            consequence = " gives a dose for some frames only; the others count as 0 e/A²."
            notes.append(Message("Warning: ", Setting("integration"), consequence))
    sizes = sorted({len(fraction) for fraction in fractions})
    if given or sizes[-1] > 1:
        size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        advice = Message() if given else Message("; ", Setting("integration"), " would choose others")
        used_count = sum(map(len, fractions))
        summary = f"Fractions: {len(fractions)}, each the sum of {size} of the {used_count} raw frames used"
        notes.append(Message(summary, advice, "."))
    return tuple(notes)
