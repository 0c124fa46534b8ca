"""GPUs that several processes share, by the file in which MotionCor2 notes which are in use.

The file /tmp/MotionCor2_FreeGpus.txt has one line for each GPU: its number and the process that uses it, 0 for none,
filled with blanks to 16 characters, so that each line can be overwritten in its place. MotionCor2 writes it under a
lock (flock), but from a copy that may be old, and other programs delete it. Here it is read again under the lock, only
own entries are changed, and the lock only counts if the file is still the one with that name. Because the file can
vanish while a GPU is in use, each GPU has a lock file of its own in addition, which restframe holds as long as it uses
the GPU. The system releases it when a process ends, however it ends.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from restframe.errors import NoFreeGpuError

FREE_GPUS = Path("/tmp/MotionCor2_FreeGpus.txt")
LINE_CHARACTERS = 16  # without the newline
SHARED_MODE = 0o666  # users share the files
LOCK_SECONDS = 0.02  # between two attempts to lock a file


class GpuLeases:
    """The GPUs that this process uses, released at the end of the context.

    ``path``: the file of the machine. GPU locks lie beside it.
    """

    def __init__(self, path: Path = FREE_GPUS) -> None:
        self.path = path
        self._descriptors: dict[int, int] = {}

    def __enter__(self) -> GpuLeases:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    @property
    def gpus(self) -> tuple[int, ...]:
        """Those that are held."""
        return tuple(self._descriptors)

    def acquire(self, gpus: Sequence[int], count: int) -> tuple[int, ...]:
        """Take ``count`` GPUs of the list, or as many as are free, in its order.

        Raises `NoFreeGpuError` when there is none.
        """
        with locked(self.path) as descriptor:
            entries = read_entries(descriptor)
            for gpu in gpus:
                if len(self._descriptors) < count and not is_used(entries.get(gpu, 0)):
                    gpu_lock = try_lock(self._lock_path(gpu))
                    if gpu_lock is not None:
                        self._descriptors[gpu] = gpu_lock
            for gpu in gpus:
                entries.setdefault(gpu, 0)
            entries |= dict.fromkeys(self._descriptors, os.getpid())
            write_entries(descriptor, {gpu: pid if is_used(pid) else 0 for gpu, pid in entries.items()})
        if not self._descriptors:
            numbers = " ".join(map(str, gpus))
            raise NoFreeGpuError(
                f"All GPUs are in use: {numbers}. Wait until a process ends, or give other GPUs; "
                f"{self.path} lists who uses them."
            )
        return self.gpus

    def release(self) -> None:
        """Give all GPUs back. Entries of other processes are left as they are."""
        if not self._descriptors:
            return
        with suppress(OSError), locked(self.path) as descriptor:
            entries = read_entries(descriptor)
            own = [gpu for gpu, pid in entries.items() if pid == os.getpid()]
            write_entries(descriptor, entries | dict.fromkeys(own, 0))
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _lock_path(self, gpu: int) -> Path:
        return self.path.with_name(f"{self.path.stem}.restframe-{gpu}.lock")


def read_entries(descriptor: int) -> dict[int, int]:
    """GPU: process, as the file says. Lines that are no two numbers are left out."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = b""
    while block := os.read(descriptor, 1 << 16):
        text += block
    entries: dict[int, int] = {}
    for line in text.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) == 2 and all(word.isdecimal() for word in words):
            entries.setdefault(int(words[0]), int(words[1]))
    return entries


def write_entries(descriptor: int, entries: dict[int, int]) -> None:
    """Replace the content of the file."""
    lines = (f"{gpu}  {pid}".ljust(LINE_CHARACTERS) + "\n" for gpu, pid in entries.items())
    data = "".join(lines).encode("ascii")
    os.lseek(descriptor, 0, os.SEEK_SET)
    while data:
        data = data[os.write(descriptor, data) :]
    os.ftruncate(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR))


def is_used(pid: int) -> bool:
    """Whether a process of this number exists and has not ended."""
    if pid <= 0:
        return False
    with suppress(OSError, IndexError):
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return status.rpartition(")")[2].split()[0] not in "ZX"
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return not os.path.exists("/proc/self/stat")


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """The descriptor of a file that this process has locked. It is made where it is missing."""
    import fcntl

    while True:
        descriptor = open_shared(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if is_present(descriptor, path):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """The descriptor of a file that this process has locked; None where another process holds it."""
    import fcntl

    while True:
        descriptor = open_shared(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if is_present(descriptor, path):
            return descriptor
        os.close(descriptor)  # it was deleted meanwhile


def open_shared(path: Path) -> int:
    """Open a file that all users share. Links are not followed: the folder belongs to everybody."""
    while True:
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)  # O_CREAT is refused for files of others
        with suppress(FileExistsError):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, SHARED_MODE)
            os.fchmod(descriptor, SHARED_MODE)  # whatever the umask is
            return descriptor
        time.sleep(LOCK_SECONDS)


def is_present(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one with this name."""
    status = os.fstat(descriptor)
    try:
        named = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and (status.st_dev, status.st_ino) == (named.st_dev, named.st_ino)
