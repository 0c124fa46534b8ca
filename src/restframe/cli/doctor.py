"""restframe doctor: what somebody who helps needs to know about an installation, a short test of it, and advice."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from restframe.arrays import FloatArray, IntArray
from restframe.cli.devices import find_gpus
from restframe.loop_files import loop_files
from restframe.version import BUILT, VERSION

LIBRARIES = ("numpy", "scipy", "numba", "llvmlite", "mrcfile", "tifffile", "imagecodecs", "array-api-compat")
GPU_LIBRARIES = ("cupy-cuda12x", "cupy-cuda13x", "cupy")
VARIABLES = ("PYTHONPATH", "LD_LIBRARY_PATH", "NUMBA_CACHE_DIR", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TMPDIR")
USUAL_MEMORY_BYTES = 8_000_000_000  # for a movie of 4096 x 4096 pixels and 40 frames
NAME_WIDTH = 22

TEST_FRAMES, TEST_SIDE = 8, 256
TEST_SPEED = 0.7, -0.4  # px per frame, x and y
TEST_TOLERANCE_PX = 0.1

Say = Callable[[str], None]


@dataclass
class Findings:
    """What was found, line by line, and what to do about it."""

    say: Say
    advice: list[str] = field(default_factory=list)
    is_working: bool = True

    def state(self, name: str, text: object) -> None:
        self.say(f"{name:<{NAME_WIDTH}}{text}")


def main(say: Say) -> int:
    """Print everything. Returns 0 if the test was passed, 6 if not."""
    findings = Findings(say)
    for section in (describe_versions, describe_machine, describe_folders, check_devices):
        section(findings)
        say("")
    for sentence in findings.advice or ["Nothing to do."]:
        say(f"Advice: {sentence}")
    return 0 if findings.is_working else 6


def describe_versions(findings: Findings) -> None:
    """The program, Python and the libraries."""
    findings.state("restframe", f"{VERSION}, built on {BUILT}")
    findings.state("installed in", Path(__file__).parents[1])
    findings.state("Python", f"{platform.python_version()}, {sys.executable}")
    for name in LIBRARIES:
        findings.state(name, _version_of(name))
    found = [f"{name} {_version_of(name)}" for name in GPU_LIBRARIES if _version_of(name) != "not installed"]
    findings.state("CuPy", ", ".join(found) or "not installed")
    where = Path(np.__file__).parent
    if os.environ.get("PYTHONPATH") and not str(where).startswith(
        (sys.prefix, str(Path(sys.executable).parent.parent))
    ):
        findings.advice.append(f"NumPy comes from {where}, by PYTHONPATH. Start restframe without PYTHONPATH.")


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def describe_machine(findings: Findings) -> None:
    """System, processor, memory, GPUs, and the variables that change how programs run."""
    findings.state("system", f"{platform.platform()}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    findings.state("processor", f"{_processor()}, {cores} of {os.cpu_count()} cores usable")
    quota = cpu_quota()
    if quota is not None and quota < cores:
        findings.state("processor share", f"{quota:g} cores (limit of the container)")
        findings.advice.append(f"The container may use {quota:g} cores: --threads {max(1, int(quota))} is faster.")
    total, available = memory_bytes()
    if total:
        findings.state("memory", f"{total / 1e9:.1f} GB, {available / 1e9:.1f} GB available")
        if available < USUAL_MEMORY_BYTES:
            findings.advice.append(
                f"Large movies need more memory than is available: give --max-memory {_limit(available)}."
            )
    gpus = find_gpus()
    if isinstance(gpus, str):
        findings.state("GPUs", f"none: {gpus}")
    else:
        for number, free_bytes in gpus.items():
            findings.state(f"GPU {number}", f"{_gpu_name(number)}, {free_bytes() / 1e9:.1f} GB free")
    for name in VARIABLES:
        if name in os.environ:
            findings.state(name, os.environ[name])


def _limit(available: int) -> str:
    return f"{max(1, int(0.8 * available / 1e9))}GB"


def _processor() -> str:
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu_name(number: int) -> str:
    try:
        properties = importlib.import_module("cupy").cuda.runtime.getDeviceProperties(number)
        return str(properties["name"].decode())
    except Exception as error:
        return f"unknown ({type(error).__name__})"


def cpu_quota() -> float | None:
    """Cores that a container may use at a time; None: no limit is known."""
    with suppress(OSError, ValueError):
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return float(limit) / float(period)
    with suppress(OSError, ValueError):
        limit = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text(encoding="ascii")
        period = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text(encoding="ascii")
        return float(limit) / float(period) if float(limit) > 0 else None
    return None


def memory_bytes() -> tuple[int, int]:
    """Memory of the machine or the container, and what of it is available; 0: unknown."""
    values = {}
    with suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as file:
        values = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in file if line.rstrip().endswith("kB")}
    total, available = values.get("MemTotal", 0), values.get("MemAvailable", 0)
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            limit = int(Path(name).read_text(encoding="ascii"))
            total, available = min(total, limit), min(available, limit)
    return total, available


def describe_folders(findings: Findings) -> None:
    """Where compiled code and temporary files go, and whether they can be written there."""
    folder = cache_folder()
    if folder is None:
        findings.state("compiled code", "CANNOT be written anywhere")
    else:
        findings.state("compiled code", f"{folder}, can be written")
    if folder is None:
        findings.advice.append(
            "Compiled code cannot be kept, so every run compiles it: set NUMBA_CACHE_DIR to a folder that can be "
            "written."
        )
    for name, path in (("temporary files", Path(tempfile.gettempdir())), ("working folder", Path.cwd())):
        findings.state(name, f"{path}, {_writable_text(path)}")


def cache_folder() -> Path | None:
    """Where compiled loops are written; None: nowhere."""
    place = loop_files().writable_place()
    return place.folder if place else None


def can_be_written(folder: Path) -> bool:
    """Found out by writing: permissions do not tell of full disks and file systems that are mounted read-only."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".restframe-") as file:
            file.write(bytes(4096))
            file.flush()
        return True
    except OSError:
        return False


def _writable_text(folder: Path) -> str:
    return "can be written" if can_be_written(folder) else "CANNOT be written"


def check_devices(findings: Findings) -> None:
    """Correct a small movie of known motion on the CPU and on every GPU."""
    gpus = find_gpus()
    devices: list[tuple[str, tuple[int, ...]]] = [("CPU", ())]
    if not isinstance(gpus, str):
        devices += [(f"GPU {number}", (number,)) for number in gpus]
    for name, numbers in devices:
        start = time.perf_counter()
        try:
            error_px = track_error_px(numbers)
        except Exception as error:
            findings.state(f"test on {name}", f"FAILED: {type(error).__name__}: {error}")
            findings.is_working = False
            findings.advice.append(f"Report the failed test on {name}, with this text.")
            continue
        is_right = error_px < TEST_TOLERANCE_PX
        seconds = time.perf_counter() - start
        result = "passed" if is_right else f"FAILED, expected below {TEST_TOLERANCE_PX:g} px"
        findings.state(f"test on {name}", f"{result}: track error {error_px:.3f} px, {seconds:.1f} s")
        if not is_right:
            findings.is_working = False
            findings.advice.append(f"Results on {name} are wrong: report this text.")


def track_error_px(gpus: tuple[int, ...]) -> float:
    """The largest error of the measured motion of a movie that moves steadily."""
    from restframe.session import correct

    result = correct(np.stack(list(known_frames())), gpus=gpus)
    expected: FloatArray = -np.outer(np.arange(TEST_FRAMES), TEST_SPEED)
    return float(np.abs(np.asarray(result.global_shifts) - expected).max())


def known_frames() -> Iterator[IntArray]:
    """Counts of a specimen of blobs that moves steadily, (h, w) uint8. Weak enough that no blob looks like a defect."""
    random = np.random.default_rng(1)
    places = random.uniform(-20, TEST_SIDE + 20, (300, 2))
    y, x = np.arange(TEST_SIDE)[:, None], np.arange(TEST_SIDE)[:, None]
    for frame in range(TEST_FRAMES):
        across = np.exp(-((x - places[:, 0] - TEST_SPEED[0] * frame) ** 2) / 8)
        down = np.exp(-((y - places[:, 1] - TEST_SPEED[1] * frame) ** 2) / 8)
        yield random.poisson(4 + 4 * down @ across.T).astype(np.uint8)
