"""What the benchmarks and documents name is there."""

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MADE_UP = {"output/spectrum.py"}  # the example in contributing.md


def test_stages_of_speed_exist(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    stages = importlib.import_module("speed_cpu").STAGES
    for module, function in stages.values():
        assert hasattr(importlib.import_module(module), function), f"{module}.{function}"
    for name in ("speed_cpu", "movies"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["README.md", "docs/contributing.md", "docs/design.md", "docs/accuracy.md"])
def test_files_in_documents_exist(name):
    files = [
        f"/{path.relative_to(ROOT)}"
        for folder in ("src", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.*")
    ]
    for file in re.findall(r"`(?:[\w/]+/)?(\w+/)?(\w+\.(?:py|cu))`", (ROOT / name).read_text()):
        named = "".join(file)
        assert named in MADE_UP or any(path.endswith(f"/{named}") for path in files), named
