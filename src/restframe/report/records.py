"""Records of a folder, read again only where they have changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from restframe.errors import InputError
from restframe.output.names import RECORD_FOLDER
from restframe.output.record import FORMAT

Content: TypeAlias = Mapping[str, Any]

STATE_FOLDER = "state"  # in the folder of the records: what the runs of a batch say of themselves, one file for each


@dataclass(frozen=True, eq=False)
class Record:
    """A record and its file."""

    path: Path
    content: Content

    @property
    def name(self) -> str:
        """The name of the sum without extension."""
        return self.path.stem

    @property
    def done(self) -> bool:
        return bool(self.content.get("status") == "done")

    def value(self, key: str) -> Any:
        """The value of a key such as ``motion.total``; None where it is missing."""
        value: Any = self.content
        for key_part in key.split("."):
            value = value.get(key_part) if isinstance(value, Mapping) else None
        return value

    def number(self, key: str) -> float | None:
        """The same, None for what is not a number."""
        value = self.value(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def numbers(self, key: str) -> list[float]:
        """A list of numbers; empty where it is missing."""
        value = self.value(key)
        return [float(one) for one in value] if isinstance(value, list) else []

    def files(self, kind: str) -> list[Path]:
        """Outputs and pictures of a kind, wherever the folder is now."""
        entries = [*(self.content.get("outputs") or []), *(self.content.get("pictures") or [])]
        return [Path(os.path.normpath(self.path.parent / one["path"])) for one in entries if one["kind"] == kind]

    def file(self, kind: str) -> Path | None:
        """The first of them."""
        return next(iter(self.files(kind)), None)


def read_record(record_file: Path) -> Record:
    """Raises `InputError` for a file that is no record."""
    try:
        content = json.loads(record_file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{record_file} cannot be read: {error.strerror}. Give a movie's record, a .json file."
        ) from error
    except ValueError as error:
        raise InputError(
            f"{record_file} is no record: {error}. Give the record of a movie, which a batch writes."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(
            f"{record_file} is no record of restframe. Give the .json file of a movie, which a batch writes."
        )
    return Record(record_file, content)


def record_folder(folder: Path) -> Path:
    """Where the records of a batch with outputs in ``folder`` are; that folder itself may be given.

    Raises `InputError` where there is none.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder} is not a folder. Give the folder of the corrected sums.")
    for candidate in (folder / RECORD_FOLDER, folder):
        if os.path.isdir(candidate) and _record_names(candidate):
            return candidate
    if os.path.isdir(folder / RECORD_FOLDER):
        return folder / RECORD_FOLDER
    raise InputError(f"{folder} holds no records. A batch writes them to its folder {RECORD_FOLDER}.")


class RecordReader:
    """The records of a folder. What was read once is kept until its file changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: dict[str, tuple[tuple[int, int], Record]] = {}

    def records(self) -> list[Record]:
        """All that can be read now, in the order in which they were finished."""
        record_names = _record_names(self.folder)
        for gone in set(self._records) - set(record_names):
            del self._records[gone]
        for record_name in record_names:
            record_file = self.folder / record_name
            try:
                status = os.stat(record_file)
                version = status.st_size, status.st_mtime_ns
                if record_name not in self._records or self._records[record_name][0] != version:
                    self._records[record_name] = version, read_record(record_file)
            except (OSError, InputError):  # replaced at this moment, or another program's file
                self._records.pop(record_name, None)
        known_records = [record for _, record in self._records.values()]
        return sorted(known_records, key=lambda record: (str(record.content.get("finished")), record.name))

    def running(self) -> Content | None:
        """What the runs of a batch say of themselves; None without one. Runs of parts of the movies are added up."""
        run_states = []
        for record_file in sorted((self.folder / STATE_FOLDER).glob("running*.json")):
            try:
                content = json.loads(record_file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(content, dict):
                run_states.append(content)
        return combined_runs(run_states) if run_states else None


def combined_runs(run_states: Sequence[Content]) -> Content:
    """The state of several runs as one: those that still run count, where there are any."""
    counted = [run for run in run_states if run.get("is_running")] or run_states
    oldest_waiting = [run["oldest_waiting"] for run in counted if run.get("oldest_waiting")]
    return {
        "is_running": any(bool(run.get("is_running")) for run in counted),
        "host": ", ".join(sorted({str(run.get("host")) for run in counted})),
        "heartbeat": max(str(run.get("heartbeat")) for run in counted),
        "waiting": sum(int(run.get("waiting") or 0) for run in counted),
        "oldest_waiting": min(oldest_waiting, default=None),
        "running": [str(one.get("movie")) for run in counted for one in run.get("running") or []],
    }


def _record_names(folder: Path) -> list[str]:
    return sorted(
        record_name
        for record_name in os.listdir(folder)
        if record_name.endswith(".json") and not record_name.startswith(".")
    )
