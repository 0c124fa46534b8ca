"""A command and all processes that it starts: how long it takes and how much memory they have together at most."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

EVERY = 0.1  # seconds


def watched(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall seconds and peak memory in GB (shared pages counted once). Raises SystemExit where the command fails."""
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment, start_new_session=True) as process:
        while process.poll() is None:
            peak = max(peak, session_memory(process.pid))
            time.sleep(EVERY)
        seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with code {process.returncode}")
    return seconds, peak / 1e9


def session_memory(leader: int) -> int:
    """Bytes that the processes of a session have, each page counted once (PSS)."""
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
