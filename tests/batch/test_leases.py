"""GPUs that processes share through MotionCor2's file."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from restframe.batch.leases import FREE_GPUS, GpuLeases
from restframe.errors import NoFreeGpuError

ROOT = Path(__file__).parents[2]


def lines(path):
    return path.read_bytes().decode().splitlines()


def entry(gpu, pid):
    return f"{gpu}  {pid}".ljust(16)


def test_the_file_is_motioncors(tmp_path):
    assert str(FREE_GPUS) == "/tmp/MotionCor2_FreeGpus.txt"
    path = tmp_path / "free.txt"
    with GpuLeases(path) as leases:
        assert leases.acquire((3, 0, 12), 2) == (3, 0)
        assert lines(path) == [entry(3, os.getpid()), entry(0, os.getpid()), entry(12, 0)]
        assert path.stat().st_mode & 0o777 == 0o666
    assert lines(path) == [entry(3, 0), entry(0, 0), entry(12, 0)]


def test_entries_of_others_are_left_alone_and_those_of_dead_processes_reclaimed(tmp_path):
    path = tmp_path / "free.txt"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    other = os.getppid()
    path.write_text("".join(f"{entry(gpu, pid)}\n" for gpu, pid in ((0, other), (1, dead.pid), (2, 0), (7, other))))
    with GpuLeases(path) as leases:
        assert leases.acquire((0, 1, 2), 3) == (1, 2)
        assert lines(path) == [entry(0, other), entry(1, os.getpid()), entry(2, os.getpid()), entry(7, other)]
        path.write_text(path.read_text().replace(entry(0, other), entry(0, 0)))  # it has ended meanwhile
    assert lines(path) == [entry(0, 0), entry(1, 0), entry(2, 0), entry(7, other)]
    path.write_text(f"{entry(0, other)}\nno numbers\n{entry(1, other)}\n")
    with pytest.raises(NoFreeGpuError, match="All GPUs are in use: 0 1"), GpuLeases(path) as leases:
        leases.acquire((0, 1), 1)


def test_a_file_that_is_deleted_makes_no_second_holder(tmp_path):
    path = tmp_path / "free.txt"
    with GpuLeases(path) as first, GpuLeases(path) as second:
        assert first.acquire((0, 1), 1) == (0,)
        path.unlink()
        assert second.acquire((0, 1), 1) == (1,)
        with pytest.raises(NoFreeGpuError), GpuLeases(path) as third:
            third.acquire((0, 1), 1)


def test_links_are_not_followed(tmp_path):
    (tmp_path / "target").write_text("keep")
    (tmp_path / "free.txt").symlink_to(tmp_path / "target")
    with pytest.raises(OSError), GpuLeases(tmp_path / "free.txt") as leases:
        leases.acquire((0, 1), 1)
    assert (tmp_path / "target").read_text() == "keep"


def test_racing_processes_that_are_killed(tmp_path):
    spec = importlib.util.spec_from_file_location("gpu_leases", ROOT / "benchmarks" / "gpu_leases.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    counts = module.run_rounds(tmp_path, 6)
    assert counts["held"] > 0 and counts["kills"] > 0
    assert counts["TWICE"] == counts["lost"] == 0
