"""One run at a time in a folder of results.

The lock is a file that names its holder: host, process, when it began. The holder rewrites it as a sign of life. A lock
whose process is gone, or on another host has shown no sign of life for a minute, is taken over.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from restframe.errors import LockedError
from restframe.output.drafts import discard, draft_of, machine, remove_abandoned, start_of
from restframe.output.place import explaining

STATE_FOLDER = "state"  # in the folder of the records
HEARTBEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0  # without a sign of life, on another host


def state_path(records: Path, kind: str, part: str = "") -> Path:
    """A file of the state of a run: ``kind`` is lock or running, ``part`` is the slice of the movies, as 2-of-8."""
    return records / STATE_FOLDER / (f"{kind}-{part}.json" if part else f"{kind}.json")


class FolderLock:
    """Held as a context. Raises `LockedError` on entering where another run holds it, `OutputError` without a place.

    ``on_lost`` is called, in another thread, if another run has taken the lock over, as happens to a process that did
    not run for a minute.
    """

    def __init__(self, path: Path, on_lost: Callable[[], None] = lambda: None) -> None:
        self.path = path
        self._on_lost = on_lost
        self._ended = threading.Event()
        self._entry = {
            "host": socket.gethostname(),
            "machine": machine(),
            "pid": os.getpid(),
            "start": start_of(os.getpid()),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "token": secrets.token_hex(8),
        }
        self._thread = threading.Thread(target=self._keep_alive, name="lock", daemon=True)

    def __enter__(self) -> FolderLock:
        with explaining(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with guarded(self.path.parent):
                self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        with suppress(OSError), guarded(self.path.parent):
            if self._is_ours():
                self.path.unlink()

    def _acquire(self) -> None:
        remove_abandoned([self.path.parent])
        draft = draft_of(self.path)
        try:
            draft.write_text(json.dumps(self._entry), encoding="ascii")
            while True:
                try:
                    put_new(draft, self.path)
                    return
                except FileExistsError:
                    self._remove_dead_lock(draft)
        finally:
            discard(draft)

    def _remove_dead_lock(self, draft: Path) -> None:
        """Raise `LockedError` unless the holder is gone."""
        holder = _read(self.path)
        try:
            silent_seconds = draft.stat().st_mtime - self.path.stat().st_mtime  # both by the clock of the disk
        except FileNotFoundError:
            return
        if is_alive(holder, silent_seconds):
            raise LockedError(
                f"{self.path.parent.parent} is in use by another run: host {holder.get('host')}, process "
                f"{holder.get('pid')}, since {holder.get('since')}, last sign of life {max(silent_seconds, 0):.0f} s "
                "ago. Wait for its end, or use another folder for the results."
            )
        grave = draft_of(self.path)
        with suppress(FileNotFoundError):
            os.rename(self.path, grave)
            if _read(grave) != holder:  # another host was faster: the lock is alive
                with suppress(FileExistsError):
                    put_new(grave, self.path)
        discard(grave)

    def _is_ours(self) -> bool:
        return bool(_read(self.path).get("token") == self._entry["token"])

    def _keep_alive(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                if not self._is_ours():
                    self._on_lost()
                    return
                os.utime(self.path)
            except OSError:  # the disk does not answer: the next time it may
                continue


def put_new(source: Path, target: Path) -> None:
    """Give a file a second name. Raises FileExistsError where there is one of that name, on network disks too."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # a disk without links
        with open(target, "xb") as file:
            file.write(source.read_bytes())


def is_alive(holder: dict[str, Any], silent_seconds: float) -> bool:
    """Whether the process that an entry names still runs. On another host, its last sign of life decides."""
    if holder.get("machine") == machine():
        return start_of(int(holder.get("pid", 0))) == holder.get("start")
    return silent_seconds < DEAD_SECONDS


def _read(path: Path) -> dict[str, Any]:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Processes of one host come here one after the other. Where the system has no such locks, nothing is done."""
    try:
        import fcntl
    except ImportError:  # on Windows
        yield
        return
    with _opened(folder / ".guard") as file:
        with suppress(OSError):  # a disk without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _opened(path: Path) -> IO[bytes]:
    return open(path, "ab")


def age_seconds(path: Path) -> float:
    """Seconds since a file was changed, by this computer's clock."""
    return max(time.time() - path.stat().st_mtime, 0.0)
