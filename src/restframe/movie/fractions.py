"""Which raw frames of a movie are used, which are summed to one fraction, and what the specimen had received by then.

Motion is measured and corrected on fractions; without integration each is one raw frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from restframe.errors import SettingsError
from restframe.messages import Message, Setting
from restframe.movie.integration import divide, fit_rows, read_rows
from restframe.settings import Exposure, Row

USUAL_COUNT = 40  # fractions of an event movie of unknown dose
USUAL_DOSE = 1.0  # e/A² of a fraction of one whose dose is known
FEWEST, MOST = 10, 100


@dataclass(frozen=True, eq=False)
class Fractions:
    frames: tuple[range, ...]  # numbers of the raw frames, from 0, that each sums
    dose: np.ndarray  # (t,) e/A² received during each
    accumulated: np.ndarray  # (t,) e/A² received at the end of each, frames left out at the start included
    weight: np.ndarray  # (t,) what each counts for in a group of frames
    notes: tuple[str, ...] = ()  # sentences for people

    @property
    def raw(self) -> range:
        """All raw frames that are used."""
        return range(self.frames[0].start, self.frames[-1].stop)

    @property
    def summed(self) -> bool:
        return any(len(raw) > 1 for raw in self.frames)


def fractions(n_raw: int, exposure: Exposure, events: bool = False) -> Fractions:
    """The fractions of a movie of ``n_raw`` frames; of an ``events`` (EER) movie, whose frames hold too little to be
    used singly, about 40, or of about 1 e/A² each, when the exposure says nothing else.

    Throw and Trunc count raw frames. accumulated = initial dose + that of all raw frames up to the end of a fraction:
    what is thrown away has done its damage too (manual, sections 7 and 9). Raises `SettingsError` when no
    frame is left.
    """
    _check(n_raw, exposure)
    asked = exposure.integration
    given = read_rows(asked) if asked is not None and not isinstance(asked, tuple) else asked
    rows = given or (Row(n_raw, usual_size(n_raw, exposure) if events else 1, 0.0),)
    parts: list[range] = []
    dose: list[float] = []  # of each fraction
    accumulated: list[float] = []
    weight: list[tuple[int, float]] = []  # raw frames that it should hold, dose of one
    first, before = 0, exposure.initial_dose
    for row in fit_rows(rows, n_raw):
        each = row.dose or exposure.frame_dose
        used = range(max(first, exposure.throw), min(first + row.frames, n_raw - exposure.trunc))
        for part in divide(used, row.size) if used else []:
            parts.append(part)
            dose.append(each * len(part))
            accumulated.append(before + each * (part.stop - first))
            weight.append((row.size, each))
        first, before = first + row.frames, before + each * row.frames
    notes = _notes(parts, n_raw, exposure, given)
    return Fractions(tuple(parts), np.array(dose), np.array(accumulated), _weight(np.array(weight)), notes)


def usual_size(n_raw: int, exposure: Exposure) -> int:
    """Raw frames of a fraction when nobody says how many."""
    dose = n_raw * exposure.frame_dose
    count = min(max(round(dose / USUAL_DOSE), FEWEST), MOST) if dose > 0 else USUAL_COUNT
    return max(1, n_raw // count)


def _weight(sizes_and_doses: np.ndarray) -> np.ndarray:
    """Raw frames each fraction should hold; where that is one for all, its dose (manual 16.2)."""
    sizes, doses = sizes_and_doses.T
    return doses if sizes.max() == 1 and doses.min() > 0 else sizes


def _check(n_raw: int, exposure: Exposure) -> None:
    if not range(exposure.throw, n_raw - exposure.trunc):
        raise SettingsError(
            Setting("throw", exposure.throw),
            " and ",
            Setting("trunc", exposure.trunc),
            f" leave none of the movie's {n_raw} frames. Leave fewer out.",
        )


def _notes(parts: list[range], n_raw: int, exposure: Exposure, given: tuple[Row, ...] | None) -> tuple[str, ...]:
    notes = []
    if given:
        listed = sum(row.frames for row in given)
        if listed != n_raw:
            change = "rows are cut from the end" if listed > n_raw else "its last row holds for the rest"
            counts = f" lists {listed} raw frames, the movie has {n_raw}; {change}."
            notes.append(Message("Warning: ", Setting("integration"), counts))
        doses = {row.dose or exposure.frame_dose for row in given}
        if 0 in doses and len(doses) > 1:
            others = " gives a dose for some frames only; the others count as 0 e/A²."
            notes.append(Message("Warning: ", Setting("integration"), others))
    sizes = sorted({len(part) for part in parts})
    if given or sizes[-1] > 1:
        each = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        chosen = Message() if given else Message("; ", Setting("integration"), " would choose others")
        used = sum(map(len, parts))
        sums = f"Fractions: {len(parts)}, each the sum of {each} of the {used} raw frames used"
        notes.append(Message(sums, chosen, "."))
    return tuple(notes)
