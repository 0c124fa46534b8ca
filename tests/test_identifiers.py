"""The measures of benchmarks/names.py: that they count correctly, and that the code keeps to them."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SPEC = importlib.util.spec_from_file_location("names", ROOT / "benchmarks" / "names.py")
names = importlib.util.module_from_spec(_SPEC)
sys.modules["names"] = names  # dataclasses look their module up
_SPEC.loader.exec_module(names)

EXAMPLE = """
def scale(image: int, factor):
    result = image.copy()
    return len(result) * factor

@njit(cache=True)
def loop(a, b, c, d, e, f, g, h): ...

class Frame:
    def crop(self, a, b, c, d, e, f, g, *more): ...
"""


def test_counts_of_an_example():
    counts = names.count_source(EXAMPLE, "example.py")
    used = ["result", "image", "len", "result", "factor", "int", "njit"]
    assert counts.variables == (sum(map(len, used)), len(used))
    assert counts.own_names == (sum(map(len, used)) - len("len" + "int"), len(used) - 2)
    assert counts.identifiers[1] == len(used) + 1 + 2 + 8 + 9 + 4  # copy, arguments, definitions
    assert (counts.parameters, counts.annotated) == (2 + 8 + 8, 1)
    assert counts.long_functions == (names.LongFunction("example.py:10 crop", 8),)
    assert counts.long_compiled == 1


def _source():
    return names.count_files(sorted((ROOT / "src").rglob("*.py")), ROOT / "src")


def test_names_are_words():
    assert names.average(_source().variables) >= 6


def test_functions_have_few_parameters():
    assert not _source().long_functions
