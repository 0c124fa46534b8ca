"""Integration files: how many raw frames are summed to one, and the dose of each."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from restframe.errors import InputError, SettingsError
from restframe.messages import Message, Setting
from restframe.settings import Row

EXPECTED = "expected: number of raw frames, how many are summed to one, and, if known, the dose of a raw frame in e/A²"


def read_rows(source: str | os.PathLike[str]) -> tuple[Row, ...]:
    """The rows of an integration file (manual 9.2, 14): two or three numbers, divided by blanks or tabs.

    Empty lines and what follows # are skipped. A dose that is missing or 0 is left to ``frame_dose``. Raises
    `InputError` if the file can't be read, `SettingsError`, which names the line, for anything else in it.
    """
    path = Path(source)
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise InputError(
            Setting("integration", path), f" cannot be read: {error.strerror or error}. Check the name."
        ) from error
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words:
            rows.append(_row(words, Message(Setting("integration", path), f", line {number}: '{line.strip()}'")))
    if not rows:
        raise SettingsError(Setting("integration", path), f" has no rows; {EXPECTED}.")
    return tuple(rows)


def _row(words: list[str], where: Message) -> Row:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 <= n < float("inf") for n in numbers):
        raise SettingsError(where, f"; {EXPECTED}.")
    frames, size = numbers[:2]
    if min(frames, size) < 1 or frames % 1 or size % 1:
        raise SettingsError(where, f": the first two numbers count frames, from 1; {EXPECTED}.")
    return Row(int(frames), int(size), numbers[2] if len(numbers) == 3 else 0.0)


def fit_rows(rows: tuple[Row, ...], n_raw: int) -> tuple[Row, ...]:
    """Rows that hold exactly the movie's ``n_raw`` frames: shortened from the end, or the last one made longer."""
    out, left = [], n_raw
    for row in rows:
        if left > 0:
            out.append(row._replace(frames=min(row.frames, left)))
            left -= row.frames
    if left > 0:
        out[-1] = out[-1]._replace(frames=out[-1].frames + left)
    return tuple(out)


def divide(frames: range, size: int) -> list[range]:
    """``frames`` in as many parts as ``size`` goes into them, at least one; what is left over goes one by one to the
    last parts.
    """
    parts = max(1, len(frames) // size)
    each, more = divmod(len(frames), parts)
    ends = [each * i + max(0, i - (parts - more)) for i in range(parts + 1)]
    return [frames[a:b] for a, b in pairwise(ends)]
