"""Files appear complete or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from restframe.errors import OutputError
from restframe.output.drafts import discard, draft_of
from restframe.termination import raise_if_ended

Writer = Callable[[Path], None]
FILES_AT_ONCE = 4  # written at the same time
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)  # errors of disks that have no fsync


def place_all(
    drafts: Iterable[tuple[Path, Writer]], obsolete: Iterable[Path] = (), durable: bool = False
) -> list[Path]:
    """Write every file beside its target, all at the same time, then rename them in the order given. Returns the
    targets.

    ``obsolete``: files of an earlier run, which are removed before the first is renamed. Until then all old files stay
    as they were. Put last the file whose existence means success. The temporary names are hidden and don't end in .mrc,
    so no watcher takes them for results.

    ``durable``: each file is forced to the disk before it gets its name, and the names before this function returns, so
    that both survive a power cut.

    Raises OutputError when a file cannot be written; nothing new is left then.
    """
    draft_and_target: list[tuple[Path, Path]] = []

    def write_draft(draft: Path, target: Path, write: Writer) -> None:
        with explaining(target):
            write(draft)
            if durable:
                force_to_disk(draft)

    try:
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            writings = []
            for target, write in drafts:
                draft = draft_of(target)
                draft_and_target.append((draft, target))
                writings.append(pool.submit(write_draft, draft, target, write))
            for writing in writings:
                writing.result()
        raise_if_ended()
        for path in obsolete:
            with explaining(path):
                path.unlink(missing_ok=True)
        for draft, target in draft_and_target:
            with explaining(target):
                os.replace(draft, target)
        if durable:
            for folder in dict.fromkeys(target.parent for _, target in draft_and_target):
                with explaining(folder):
                    force_to_disk(folder)
    finally:
        for draft, _ in draft_and_target:
            discard(draft)
    return [target for _, target in draft_and_target]


def force_to_disk(path: Path) -> None:
    """Return when the content of a file, or the names in a folder, are on the disk. Raises OSError where that fails.

    Some systems cannot do this for folders, and some disks cannot do it at all. There nothing is done.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:
        if path.is_dir():  # on Windows
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def check_place(target: Path) -> None:
    """Raise OutputError unless a file can be put there. Leaves nothing behind and an old file alone."""
    if not os.path.isdir(target.parent):
        raise OutputError(f"{target}: the folder {target.parent} does not exist. Make it first.")
    if os.path.isdir(target):
        raise OutputError(f"{target} is a folder. Give another name for the output.")
    with explaining(target):
        with suppress(FileNotFoundError):
            target.lstat()  # refuses a name that is too long
        _check_that_files_can_be_made(target.parent)


def check_folder(folder: Path) -> None:
    """Raise OutputError unless the folder is there, or can be made, and takes files. Makes nothing."""
    candidates = (folder.absolute(), *folder.absolute().parents)
    nearest = next(existing for existing in candidates if os.path.exists(existing))
    if not os.path.isdir(nearest):
        raise OutputError(f"{folder} cannot be made: {nearest} is not a folder. Choose another folder.")
    with explaining(folder):
        _check_that_files_can_be_made(nearest)


def _check_that_files_can_be_made(folder: Path) -> None:
    probe = draft_of(folder / "probe")
    probe.touch(exist_ok=False)
    discard(probe)


class explaining:
    """Turns an OSError into an OutputError that names the file and says what to do."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            return
        advice = "Choose another place for the output or change its permissions."
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "Make room on that disk or choose another place for the output."
        raise OutputError(f"{self.target} cannot be written: {error.strerror or error}. {advice}") from error
