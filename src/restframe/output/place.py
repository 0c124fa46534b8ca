"""Files appear complete or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from restframe.errors import OutputError

Writer = Callable[[Path], None]
WRITERS = 4  # files written at the same time


def place_all(drafts: Iterable[tuple[Path, Writer]]) -> list[Path]:
    """Write every file beside its target, all at the same time, then rename them in the order given. Returns the
    targets.

    Until then old files stay as they were. Put last the file whose existence means success.
    The temporary names are hidden and don't end in .mrc, so no watcher takes them for results.

    Raises OutputError when a file cannot be written; nothing new is left then.
    """
    written: list[tuple[Path, Path]] = []

    def make(draft: Path, target: Path, write: Writer) -> None:
        with explaining(target):
            write(draft)

    try:
        with ThreadPoolExecutor(WRITERS) as pool:
            waiting = []
            for target, write in drafts:
                draft = draft_of(target)
                written.append((draft, target))
                waiting.append(pool.submit(make, draft, target, write))
            for writing in waiting:
                writing.result()
        for draft, target in written:
            with explaining(target):
                os.replace(draft, target)
    finally:
        for draft, _ in written:
            draft.unlink(missing_ok=True)
    return [target for _, target in written]


def draft_of(target: Path) -> Path:
    """A name beside ``target`` for what will be it: hidden, and no other file's."""
    return target.with_name(f".{secrets.token_hex(8)}.part")


def check_place(target: Path) -> None:
    """Raise OutputError unless a file can be put there. Leaves nothing behind and an old file alone."""
    if not os.path.isdir(target.parent):
        raise OutputError(f"{target}: the folder {target.parent} does not exist. Make it first.")
    if os.path.isdir(target):
        raise OutputError(f"{target} is a folder. Give another name for the output.")
    with explaining(target):
        with suppress(FileNotFoundError):
            target.lstat()  # refuses a name that is too long
        _try(target.parent)


def check_folder(folder: Path) -> None:
    """Raise OutputError unless the folder is there, or can be made, and takes files. Makes nothing."""
    nearest = next(f for f in (folder.absolute(), *folder.absolute().parents) if os.path.exists(f))
    if not os.path.isdir(nearest):
        raise OutputError(f"{folder} cannot be made: {nearest} is not a folder. Choose another folder.")
    with explaining(folder):
        _try(nearest)


def _try(folder: Path) -> None:
    probe = draft_of(folder / "probe")
    probe.touch(exist_ok=False)
    probe.unlink()


class explaining:
    """Turns an OSError into an OutputError that names the file and says what to do."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind, error, traceback) -> None:
        if not isinstance(error, OSError):
            return
        advice = "Choose another place for the output or change its permissions."
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "Make room on that disk or choose another place for the output."
        raise OutputError(f"{self.target} cannot be written: {error.strerror or error}. {advice}") from error
