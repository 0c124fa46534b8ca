"""Integration files: how many raw frames are summed to one fraction, and the dose of a raw frame."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from restframe.errors import InputError, SettingsError
from restframe.files import why_unreadable
from restframe.messages import Message, Setting
from restframe.settings import Row

EXPECTED_ROW = (
    "expected: number of raw frames, how many are summed to one, and, if known, the dose of a raw frame in e/A²"
)


def read_rows(source: str | os.PathLike[str]) -> tuple[Row, ...]:
    """The rows of an integration file (manual 9.2, 14): two or three numbers, separated by blanks or tabs.

    Empty lines and text after # are skipped. For rows without a dose, or with a dose of 0, ``frame_dose`` applies.
    Raises `InputError` if the file cannot be read, and `SettingsError`, which names the line, for any other content.
    """
    path = Path(source)
    if kind := why_unreadable(path):
        raise InputError(Setting("integration", path), f" is {kind}. Only regular files are read.")
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        reason = f" cannot be read: {error.strerror or error}. Check the name."
        raise InputError(Setting("integration", path), reason) from error
    rows = []
    for line_number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words:
            location = Message(Setting("integration", path), f", line {line_number}: '{line.strip()}'")
            rows.append(_parse_row(words, location))
    if not rows:
        raise SettingsError(Setting("integration", path), f" has no rows; {EXPECTED_ROW}.")
    return tuple(rows)


def _parse_row(words: list[str], location: Message) -> Row:
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or not all(0 <= number < float("inf") for number in numbers):
        raise SettingsError(location, f"; {EXPECTED_ROW}.")
    frame_count, size = numbers[:2]
    if min(frame_count, size) < 1 or frame_count % 1 or size % 1:
        raise SettingsError(location, f": the first two numbers count frames, from 1; {EXPECTED_ROW}.")
    return Row(int(frame_count), int(size), numbers[2] if len(numbers) == 3 else 0.0)


def fit_rows_to_movie(rows: tuple[Row, ...], raw_count: int) -> tuple[Row, ...]:
    """Rows that list exactly ``raw_count`` raw frames: rows are cut from the end, or the last row is made longer."""
    fitted_rows: list[Row] = []
    remaining_count = raw_count
    for row in rows:
        if remaining_count > 0:
            fitted_rows.append(row._replace(frames=min(row.frames, remaining_count)))
            remaining_count -= row.frames
    if remaining_count > 0:
        fitted_rows[-1] = fitted_rows[-1]._replace(frames=fitted_rows[-1].frames + remaining_count)
    return tuple(fitted_rows)


def divide_frames(frames: range, size: int) -> list[range]:
    """Divide ``frames`` into fractions of ``size`` frames, at least one fraction.

    If frames remain, the last fractions get one frame more each.
    """
    fraction_count = max(1, len(frames) // size)
    base_size, larger_count = divmod(len(frames), fraction_count)
    ends = [base_size * index + max(0, index - (fraction_count - larger_count)) for index in range(fraction_count + 1)]
    return [frames[start:stop] for start, stop in pairwise(ends)]
