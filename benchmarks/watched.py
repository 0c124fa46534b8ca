"""Wall time and peak memory of a command and of all processes that it starts."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

EVERY = 0.1  # seconds


def watched(
    command: list[str], environment: dict[str, str], device: Callable[[], int] = lambda: 0
) -> tuple[float, float, float]:
    """Wall seconds, peak memory in GB (shared pages counted once), and that of ``device``, which says how many bytes
    are taken there. Raises SystemExit where the command fails.
    """
    start, peak, most, before = time.perf_counter(), 0, 0, device()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, start_new_session=True) as process:
        while process.poll() is None:
            peak, most = max(peak, session_memory(process.pid)), max(most, device() - before)
            time.sleep(EVERY)
        seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with code {process.returncode}")
    return seconds, peak / 1e9, most / 1e9


def session_memory(leader: int) -> int:
    """Memory in bytes of all processes of a session, each page counted once (PSS)."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(status.read_text().rsplit(")", 1)[1].split()[3]) != leader:
                continue
            lines = status.with_name("smaps_rollup").read_text().splitlines()
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
        total += 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total
