"""Which part of the program may import which: read from the source, nothing is run."""

import ast
from pathlib import Path

import pytest

import restframe

SOURCE = Path(restframe.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

# the stages of a movie, in their order, and those that each may import besides itself
STAGES = {
    "detector": set(),
    "track": {"detector"},
    "restore": {"detector", "track"},
    "ctf": set(),
}
RESTORE_TAKES_FROM_TRACK = {"restframe.track.field"}  # the motion field, not how it was measured

# files outside kernels/ that import CuPy or Numba, and why
DEVICE_EXCEPTIONS = {
    "compiled_cache.py",  # checksums of Numba's cached loops
    "loops.py",  # how every Numba function is compiled, and where it is kept
    "simulate/cuda.py",  # the simulator's own CUDA kernels
    "cli/devices.py",  # asks which GPUs there are
}


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def imported_modules(path: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in the file; ``from a import b`` gives a and a.b."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: imports are absolute here"
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def folder_of(module: str) -> str:
    """The folder of restframe that a module is in, '' for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "restframe" and len(parts) > 1 else ""


def files_in(folder: str) -> list[Path]:
    return [path for path in FILES if name_of(path).startswith(f"{folder}/")]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_later_stage(stage):
    for path in files_in(stage):
        others = {folder_of(module) for module in imported_modules(path)} & set(STAGES) - {stage}
        assert others <= STAGES[stage], f"{name_of(path)} imports {', '.join(sorted(others - STAGES[stage]))}"


def test_restore_knows_only_the_motion_field():
    for path in files_in("restore"):
        for module in imported_modules(path):
            if folder_of(module) == "track":
                assert any(module.startswith(known) for known in RESTORE_TAKES_FROM_TRACK), f"{name_of(path)}: {module}"


def test_only_kernels_know_a_device():
    for path in FILES:
        devices = {module.split(".")[0] for module in imported_modules(path)} & {"cupy", "cupyx", "numba"}
        if devices and not name_of(path).startswith("kernels/"):
            assert name_of(path) in DEVICE_EXCEPTIONS, f"{name_of(path)} imports {', '.join(sorted(devices))}"


def test_only_cli_knows_cli():
    for path in FILES:
        if not name_of(path).startswith("cli/") and name_of(path) != "__main__.py":
            assert "cli" not in {folder_of(module) for module in imported_modules(path)}, name_of(path)


def test_the_stages_know_nothing_of_files_and_sets_of_movies():
    for stage in STAGES:
        for path in files_in(stage):
            above = {folder_of(module) for module in imported_modules(path)} & {"output", "batch", "report", "pipeline"}
            assert not above, f"{name_of(path)} imports {', '.join(sorted(above))}"


def test_reports_are_made_from_records():
    """Never from results in memory, so that a page can be made again later."""
    forbidden = {*STAGES, "pipeline", "result", "session"}
    for path in files_in("report"):
        assert not {folder_of(module) for module in imported_modules(path)} & forbidden, name_of(path)
