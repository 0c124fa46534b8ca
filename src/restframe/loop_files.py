"""Files of compiled loops: where they lie, with checksums, and locks for processes that need the same loop.

A file without the right checksum is removed, and one line says so. Each folder is tried by writing; where none can be
written, one line says so, and loops are compiled in memory. This module imports nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from stat import S_ISDIR
from tempfile import gettempdir

try:
    import fcntl
except ImportError:  # Windows: processes do not wait for each other
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("restframe")

MARK = b"restframe-sha256"
SEAL_BYTES = len(MARK) + hashlib.sha256().digest_size
CONFIGURED_FOLDER = "NUMBA_CACHE_DIR"
LOCK_NAME = "lock"
LOCK_POSITIONS = 2**30  # bytes of the lock file, each of which stands for loops
LOCK_SECONDS = 120.0  # longer than any loop takes: after these the other process is not waited for
POLL_SECONDS = 0.02


def with_checksum(data: bytes) -> bytes:
    """``data`` and its checksum."""
    return data + MARK + hashlib.sha256(data).digest()


def has_checksum(content: bytes) -> bool:
    """Whether ``content`` is what `with_checksum` made."""
    return with_checksum(content[:-SEAL_BYTES]) == content


@dataclass(frozen=True)
class Place:
    """A folder for compiled loops."""

    folder: Path
    is_shared: bool = False  # anybody may make a folder of this name: it must be this user's alone

    def is_safe(self) -> bool:
        """Whether files in it may be executed."""
        return not self.is_shared or not os.path.lexists(self.folder) or is_private(self.folder)

    def make(self) -> None:
        """Make the folder. Raises OSError where it cannot be made, or where others may write to it."""
        self.folder.mkdir(mode=0o700 if self.is_shared else 0o777, parents=True, exist_ok=True)
        if not self.is_safe():
            raise PermissionError(f"others may write to {self.folder}")

    def can_be_written(self) -> bool:
        """Found out by writing: permissions do not tell of full disks and of file systems that are read-only."""
        probe = self.folder / f"probe.{os.getpid()}"
        try:
            self.make()
            probe.write_bytes(bytes(4096))
            probe.unlink()
        except OSError:
            with suppress(OSError):
                probe.unlink()
            return False
        return True


def is_private(folder: Path) -> bool:
    """Whether ``folder`` is a folder, not a link, to which only this user may write."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    is_own = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
    return S_ISDIR(status.st_mode) and is_own


def candidate_places() -> list[Place]:
    """Where compiled loops may lie, the preferred place first; none of them has to exist, or to be writable.

    NUMBA_CACHE_DIR where it is set, and nothing else if it can be written; the installation, the user's folder for
    caches, a folder for temporary files.
    """
    configured = os.environ.get(CONFIGURED_FOLDER)
    places = [Place(Path(configured, "restframe"))] if configured else []
    if configured and places[0].can_be_written():
        return places
    places.append(Place(Path(__file__).parent / "__pycache__" / "loops"))
    with suppress(RuntimeError):  # neither HOME nor an entry in the list of users
        user_caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        places.append(Place(Path(user_caches, "restframe", "loops")))
    with suppress(OSError):  # no folder for temporary files can be written
        user = os.getuid() if hasattr(os, "getuid") else "loops"
        places.append(Place(Path(gettempdir(), f"restframe-{user}"), is_shared=True))
    return places


class LoopFiles:
    """Files with checksums: read from the first place that has them, written to the first that can be written."""

    def __init__(self, find_places: Callable[[], Sequence[Place]] = candidate_places) -> None:
        self._places = list(find_places())
        self._unwritable: set[Place] = set()
        self._reported: set[Path | None] = set()  # one line for each folder, not for each loop
        self._lock_files: dict[Place, int] = {}

    def writable_place(self) -> Place | None:
        """Where files are written; None where they cannot be kept."""
        for place in self._places:
            if place not in self._unwritable:
                if place in self._lock_files or place.can_be_written():
                    return place
                self._unwritable.add(place)
        return None

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where there is none. A damaged one is removed, and a line says so."""
        for place in self._places:
            path = place.folder / name
            try:
                if not place.is_safe():
                    continue
                content = path.read_bytes()
            except OSError:
                continue
            if has_checksum(content):
                return content[:-SEAL_BYTES]
            self.remove_damaged(path)
        return None

    def is_empty(self) -> bool:
        """Whether no loops are kept anywhere, of any version."""
        return not any(True for place in self._places for _ in place.folder.glob("*.bin"))

    def has(self, name: str) -> bool:
        """Whether there is such a file, intact or not."""
        return any(place.is_safe() and os.path.isfile(place.folder / name) for place in self._places)

    def write(self, name: str, data: bytes) -> None:
        """Write a file. Where there is no place for it, a line says so, once."""
        while (place := self.writable_place()) is not None:
            partial = place.folder / f"{name}.{os.getpid()}"
            try:
                partial.write_bytes(with_checksum(data))
                partial.replace(place.folder / name)
                return
            except OSError:  # the disk became full, for example
                self._unwritable.add(place)
                with suppress(OSError):
                    partial.unlink()
        if None not in self._reported:
            self._reported.add(None)
            logger.warning(
                "compiled loops cannot be kept, so every run compiles them: no folder can be written (%s). Set %s to "
                "one that can.",
                ", ".join(str(place.folder) for place in self._places),
                CONFIGURED_FOLDER,
            )

    def remove(self, name: str) -> None:
        """Remove a file where it can be removed."""
        for place in self._places:
            with suppress(OSError):
                (place.folder / name).unlink()

    def remove_damaged(self, path: Path) -> None:
        """Remove a file, and say once for its folder that it was damaged."""
        if path.parent not in self._reported:
            self._reported.add(path.parent)
            logger.warning("compiled loops in %s are damaged; they are compiled again", path.parent)
        with suppress(OSError):
            path.unlink()

    def lock(self, name: str) -> None:
        """Wait until no other process has the lock of ``name``, and take it: it is about to compile that loop.

        A process has one such lock at a time; it ends with `unlock` or with the process. Where the file system has no
        locks, or the other process takes too long, nothing is waited for.
        """
        self.unlock()
        place = self.writable_place() if fcntl else None
        if place is None:
            return
        position = int(hashlib.sha256(name.encode()).hexdigest(), 16) % LOCK_POSITIONS
        try:
            if place not in self._lock_files:
                self._lock_files[place] = os.open(place.folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
            file, give_up = self._lock_files[place], time.monotonic() + LOCK_SECONDS
            while time.monotonic() < give_up:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, position)
                    return
                except (BlockingIOError, PermissionError):  # another process has it
                    time.sleep(POLL_SECONDS)
        except OSError:  # no locks here
            return

    def unlock(self) -> None:
        """Let the others go on."""
        for file in self._lock_files.values():
            with suppress(OSError):
                fcntl.lockf(file, fcntl.LOCK_UN)


@cache
def loop_files() -> LoopFiles:
    """The files of this process."""
    return LoopFiles()
