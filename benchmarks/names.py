"""How well the code can be read by those who see it first: length of names, parameters per function, annotations.

    python benchmarks/names.py                 # src
    python benchmarks/names.py src tests       # other folders
    python benchmarks/names.py --list          # also list the functions with too many parameters

Printed for each folder:
- variables: letters per variable, as an average over all places where one occurs;
- all: the same for all identifiers, that is variables, attributes, parameters and definitions;
- own: the same for variables without Python's builtins;
- the share of parameters that are annotated;
- functions with more than 7 parameters. Functions that Numba compiles (`njit`) are counted apart: their loops take
  arrays and numbers, not dataclasses.
"""

from __future__ import annotations

import argparse
import ast
import builtins
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MAX_PARAMETERS = 7
COMPILED = ("compiled_loop", "inner_loop", "njit", "jit", "guvectorize", "vectorize", "prange")
BUILTIN_NAMES = frozenset(dir(builtins))

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class LongFunction:
    """A function with more than `MAX_PARAMETERS` parameters."""

    place: str  # file:line name
    parameters: int


@dataclass(frozen=True)
class Counts:
    """What was counted in some files."""

    variables: tuple[int, int] = (0, 0)  # letters, occurrences
    identifiers: tuple[int, int] = (0, 0)
    own_names: tuple[int, int] = (0, 0)
    parameters: int = 0
    annotated: int = 0
    long_functions: tuple[LongFunction, ...] = ()
    long_compiled: int = 0

    def __add__(self, other: Counts) -> Counts:
        def both(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
            return first[0] + second[0], first[1] + second[1]

        return Counts(
            both(self.variables, other.variables),
            both(self.identifiers, other.identifiers),
            both(self.own_names, other.own_names),
            self.parameters + other.parameters,
            self.annotated + other.annotated,
            self.long_functions + other.long_functions,
            self.long_compiled + other.long_compiled,
        )


def average(letters_and_occurrences: tuple[int, int]) -> float:
    """Letters per occurrence."""
    letters, occurrences = letters_and_occurrences
    return letters / occurrences if occurrences else float("nan")


def count_source(source: str, file: str = "") -> Counts:
    """Count the names in one file's text."""
    variables: list[str] = []
    others: list[str] = []  # identifiers that are no variables
    total = Counts()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name():
                variables.append(node.id)
            case ast.Attribute():
                others.append(node.attr)
            case ast.arg():
                others.append(node.arg)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                others.append(node.name)
                total += count_function(node, file)
            case ast.ClassDef():
                others.append(node.name)
    own = [name for name in variables if name not in BUILTIN_NAMES]
    return total + Counts(letters(variables), letters([*variables, *others]), letters(own))


def letters(names: list[str]) -> tuple[int, int]:
    return sum(map(len, names)), len(names)


def count_function(function: AnyFunction, file: str) -> Counts:
    """Parameters of one function; `self` and `cls` are none."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    plain = [argument for argument in plain if argument.arg not in ("self", "cls")]
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    count = len(plain) + len(starred)
    annotated = sum(argument.annotation is not None for argument in (*plain, *starred))
    if count <= MAX_PARAMETERS:
        return Counts(parameters=count, annotated=annotated)
    if is_compiled(function):
        return Counts(parameters=count, annotated=annotated, long_compiled=1)
    place = LongFunction(f"{file}:{function.lineno} {function.name}", count)
    return Counts(parameters=count, annotated=annotated, long_functions=(place,))


def is_compiled(function: AnyFunction) -> bool:
    """Whether a decorator says that Numba compiles the function."""
    text = [ast.unparse(decorator) for decorator in function.decorator_list]
    return any(name in decorator.split("(")[0].split(".") for decorator in text for name in COMPILED)


def count_files(files: Iterable[Path], root: Path) -> Counts:
    return sum((count_source(file.read_text(), str(file.relative_to(root))) for file in files), Counts())


def folders(root: Path) -> Iterator[tuple[str, list[Path]]]:
    """Each folder below ``root`` that holds Python files, and these."""
    by_folder: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*.py")):
        by_folder.setdefault(str(file.parent.relative_to(root)), []).append(file)
    yield from sorted(by_folder.items())


HEADING = f"{'folder':34}{'variables':>10}{'all':>7}{'own':>7}{'annotated':>11}{'> 7 parameters':>16}{'compiled':>10}"


def line(name: str, counts: Counts) -> str:
    """One row below `HEADING`."""
    share = f"{100 * counts.annotated / counts.parameters:.0f} %" if counts.parameters else "-"
    return (
        f"{name:34}{average(counts.variables):10.2f}{average(counts.identifiers):7.2f}{average(counts.own_names):7.2f}"
        f"{share:>11}{len(counts.long_functions):16}{counts.long_compiled:10}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[Path(__file__).resolve().parents[1] / "src"])
    parser.add_argument("--list", action="store_true", help="list the functions with more than 7 parameters")
    options = parser.parse_args()
    for root in options.folders:
        print(HEADING)
        total = Counts()
        for name, files in folders(root):
            counts = count_files(files, root)
            total += counts
            print(line(name, counts))
        print(line(f"all of {root.name}", total))
        if options.list:
            for function in total.long_functions:
                print(f"  {function.parameters:3} parameters: {function.place}")


if __name__ == "__main__":
    main()
