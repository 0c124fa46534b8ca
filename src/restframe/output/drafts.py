"""Names of files that are being written, by which a later run finds those of a process that was killed.

A draft is hidden and does not end in .mrc, so that no watcher takes it for a result. Its name holds the process that
makes it: .restframe-MACHINE-PROCESS-START-TOKEN.part
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from restframe.termination import STATE

DRAFT_NAME = re.compile(r"\.restframe-(?P<machine>[0-9a-f]+)-(?P<process>\d+)-(?P<start>\d+)-[0-9a-f]+\.part")
OLD_DRAFT_NAME = re.compile(r"\.[0-9a-f]{16}\.part")  # of restframe 0.1
OLD_SECONDS = 24 * 3600  # without a change, from which on a draft of another machine is taken for abandoned


def draft_of(target: Path) -> Path:
    """A name beside ``target`` for what will be it. The file is removed where this process is ended by a signal."""
    process = os.getpid()
    name = f".restframe-{machine()}-{process}-{start_of(process)}-{secrets.token_hex(6)}.part"
    draft = target.with_name(name)
    STATE.files.add(draft)
    return draft


def discard(draft: Path) -> None:
    """Remove a draft, unless it was put in place or never made. Where the disk refuses that, a later run does it."""
    with suppress(OSError):
        draft.unlink()
    STATE.files.forget(draft)


def remove_abandoned(folders: Iterable[Path]) -> list[Path]:
    """Remove drafts in ``folders`` whose processes are gone. Returns those that were removed."""
    removed = []
    for folder in dict.fromkeys(folders):
        with suppress(OSError), os.scandir(folder) as entries:
            drafts = [Path(entry.path) for entry in entries if entry.name.endswith(".part")]
            for draft in drafts:
                with suppress(OSError):
                    if is_abandoned(draft):
                        draft.unlink()
                        removed.append(draft)
    return removed


def is_abandoned(draft: Path) -> bool:
    """Whether nobody writes to a draft any more; False for a file of another kind."""
    match = DRAFT_NAME.fullmatch(draft.name)
    if match is None and not OLD_DRAFT_NAME.fullmatch(draft.name):
        return False
    if match is not None and match["machine"] == machine():
        return start_of(int(match["process"])) != match["start"]
    return time.time() - draft.lstat().st_mtime > OLD_SECONDS


@cache
def machine() -> str:
    """What tells numbers of processes apart: the host, the time since it was started, and the container."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def start_of(process: int) -> str:
    """When a process was started, in the system's own unit; "" if there is none, "0" where the system does not tell."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
        return status.rpartition(")")[2].split()[19]
    except FileNotFoundError:
        return "" if os.path.exists("/proc/self/stat") else _start_without_proc(process)
    except (OSError, IndexError):
        return ""


def _start_without_proc(process: int) -> str:
    if os.name != "posix":
        return "0"
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "0"
