"""Compiled loops in files: kept, damaged, of other versions; and loops that are compiled ahead."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from restframe.compile_ahead import MODULES, loops

PROGRAM = """
import logging
logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)
import loop
print(loop.double(21))
"""
MODULE = """
from restframe.loops import compiled_loop, inner_loop

@inner_loop()
def twice(number):
    return 2 * number

@compiled_loop("(int64,)")
def double(number):
    return twice(number)
"""
SOURCE = str(Path(__file__).parents[1] / "src")


def run(folder, program=PROGRAM):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": f"{folder}{os.pathsep}{SOURCE}"}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert ended.stderr == ""
    return ended.stdout.splitlines()


def kept_files(folder):
    return sorted((folder / "cache" / "restframe").glob("loop.*"))


def cut(content):
    return content[: len(content) // 2]


def flipped(content):
    return bytes([*content[:60], content[60] ^ 4, *content[61:]])


def flipped_checksum(content):
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loops")
    (folder / "loop.py").write_text(MODULE)
    assert run(folder) == ["42"]
    return folder


@pytest.mark.parametrize(
    "damage", [lambda content: b"", cut, flipped, flipped_checksum, lambda content: b"\x80\x04." * 9]
)
def test_damaged_files_are_written_again(folder, damage):
    assert run(folder) == ["42"]
    (path,) = kept_files(folder)
    intact = path.read_bytes()
    path.write_bytes(damage(intact))
    lines = run(folder)
    assert lines[-1] == "42" and len(lines) == 2 and "compiled again" in lines[0]
    assert run(folder) == ["42"], "nothing is said in the next run"
    assert path.stat().st_size > 1000


def test_a_changed_inner_loop_is_noticed(tmp_path):
    (tmp_path / "loop.py").write_text(MODULE)
    assert run(tmp_path) == ["42"]
    (tmp_path / "loop.py").write_text(MODULE.replace("2 * number", "3 * number"))
    assert run(tmp_path) == ["63"]
    assert len(kept_files(tmp_path)) == 2


def test_where_nothing_can_be_written(tmp_path):
    """Loops are compiled in memory, and one line says so."""
    (tmp_path / "loop.py").write_text(MODULE)
    nowhere = "import restframe.loop_files as f; f.candidate_places = lambda: [f.Place(f.Path('/proc/x'))]; "
    nowhere += "f.LoopFiles.__init__.__defaults__ = (f.candidate_places,)\n"
    lines = run(tmp_path, nowhere + PROGRAM + "print(loop.double(1.5))")
    assert lines[0] == "42" or "cannot be kept" in lines[0]
    assert sorted(line for line in lines if "kept" not in line) == ["3.0", "42"]
    assert len([line for line in lines if "cannot be kept" in line]) == 1


def test_a_wrong_type_is_compiled_when_it_occurs(folder):
    program = PROGRAM + "print(loop.double(1.5), len(loop.double.overloads))"
    assert run(folder, program) == ["42", "3.0 2"]


def test_all_loops_are_compiled_ahead():
    """Each module with compiled loops is in the list, each loop says for which types it is compiled."""
    source = Path(SOURCE) / "restframe"
    with_loops = {
        "restframe." + ".".join(path.relative_to(source).with_suffix("").parts)
        for path in source.rglob("*.py")
        if "\n@compiled_loop(" in path.read_text(encoding="utf-8")
    }
    assert with_loops == set(MODULES)
    assert len(loops()) > 20
    decorators = sum(path.read_text(encoding="utf-8").count("\n@compiled_loop(") for path in source.rglob("*.py"))
    assert len({id(loop) for loop, _ in loops()}) == decorators
    for loop, signature in loops():
        assert loop._cache.argument_types(signature)
