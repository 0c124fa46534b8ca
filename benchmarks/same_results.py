"""Whether two versions of restframe write the same bytes.

    python benchmarks/same_results.py 9765785 main               # two commits, on the CPU
    python benchmarks/same_results.py 9765785 --device gpu       # a commit against the working tree
    python benchmarks/same_results.py --base-source DIR --head-source DIR --device gpu      # two folders of sources
    python benchmarks/same_results.py 9765785 --save base.json   # digests of one version
    python benchmarks/same_results.py --against base.json        # the working tree against these

The movies and commands are those of result_cases.py. The base version simulates the movies once. Each version then
runs all commands, and every file is compared byte for byte. For an image that differs, the largest and the rms
difference are printed relative to the image's standard deviation. For a text, the lines are printed. The exit code is 1
when a difference is not listed in `EXPECTED`. Versions and dates in MRC headers are not compared. Differences on stdout
(without times) are only reported.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from time import perf_counter

import numpy as np
from result_cases import CASES, LIBRARY_SCRIPT, MOVIES, Case, write_extra_inputs

ROOT = Path(__file__).resolve().parents[1]
TEXT_SUFFIXES = {".log", ".aln", ".star", ".txt", ".json"}
CHANGING_LABEL = re.compile(
    rb"restframe \d+\.\d+\.\d+[^ ]* *|mrcfile.py +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
)  # of MRC headers
CHANGING_TEXT = (  # times, and names of machines and folders
    (re.compile(r"\d+(\.\d+)? (s|sec|seconds|ms)\b"), "TIME s"),
    (re.compile(r"(\btime\b[^:\n]*:\s*)[\d.]+", re.IGNORECASE), r"\1TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?"), "DATE"),
)
MAX_LINES_SHOWN = 6


@dataclass(frozen=True)
class Expected:
    """A difference that a change makes on purpose."""

    commit: str  # the change; "" where it is not known yet
    files: str  # pattern of CASE/FILE
    reason: str


EXPECTED: tuple[Expected, ...] = (
    Expected("", "integration/*", "one law for the critical dose below 200 kV (optics.py); the case is at 120 kV"),
    Expected("", "batch/restframe/*.json", "a batch writes records"),
)


@dataclass(frozen=True)
class Difference:
    """One file that is not the same."""

    file: str  # CASE/FILE
    text: str  # what differs


@dataclass(frozen=True)
class Comparison:
    """Two versions, compared."""

    same: int
    differences: tuple[Difference, ...]
    notes: tuple[Difference, ...]  # of stdout


# ---------------------------------------------------------------- running


def run_restframe(source: Path, folder: Path, words: Sequence[str]) -> tuple[int, str]:
    """Run `python WORDS` in ``folder`` with the package in ``source``; its exit code, stdout and stderr together."""
    search_path = [str(source / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(search_path)}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.returncode, done.stdout


def check_source(source: Path) -> None:
    """Raise SystemExit unless Python imports restframe from ``source``."""
    code, text = run_restframe(source, source, ["-c", "import restframe; print(restframe.__file__)"])
    if code or not Path(text.strip()).resolve().is_relative_to(source.resolve()):
        raise SystemExit(f"{source}: restframe is not imported from there: {text.strip()}")


def make_movies(source: Path, movies: Path) -> None:
    """Simulate all movies with the version in ``source``."""
    for movie in MOVIES:
        code, text = run_restframe(source, movies.parent, ["-m", "restframe", *movie.words()])
        if code:
            raise SystemExit(f"{movie.name} could not be simulated:\n{text}")
    write_extra_inputs(movies)


def run_cases(source: Path, folder: Path, movies: Path, device: str, cases: Sequence[Case]) -> None:
    """Run all commands with the version in ``source``; outputs, and stdout with times removed, go to ``folder``."""
    check_source(source)
    folder.mkdir()
    (folder / "movies").symlink_to(movies)
    gpu = ["-Gpu", "0" if device == "gpu" else "-1"]
    for case in cases:
        (folder / case.name).mkdir()
        run_case(source, folder, case.name, ["-m", "restframe", *case.arguments.split(), *gpu])
    (folder / "library").mkdir()
    script = LIBRARY_SCRIPT.replace("{gpu}", "0," if device == "gpu" else "")
    run_case(source, folder, "library", ["-c", script])
    (folder / "movies").unlink()


def run_case(source: Path, folder: Path, name: str, words: Sequence[str]) -> None:
    start = perf_counter()
    code, text = run_restframe(source, folder, words)
    (folder / name / "stdout.txt").write_text(without_times(text))
    (folder / name / "exit_code.txt").write_text(f"{code}\n")
    warning = f"  exit code {code}: {text.strip().splitlines()[-1]}" if code else ""
    print(f"  {name:14}{perf_counter() - start:6.1f} s{warning}", flush=True)


def without_times(text: str) -> str:
    for pattern, replacement in CHANGING_TEXT:
        text = pattern.sub(replacement, text)
    return text


# ---------------------------------------------------------------- comparing


def files_below(folder: Path) -> dict[str, Path]:
    """CASE/FILE of all files."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def content(path: Path) -> bytes:
    """The bytes of a file; in MRC files without versions and dates in the labels of the header."""
    data = path.read_bytes()
    if path.suffix == ".mrc":
        data = data[:224] + CHANGING_LABEL.sub(lambda found: b" " * len(found[0]), data[224:1024]) + data[1024:]
    return data


def describe(base: Path, head: Path) -> str:
    """How two files differ; empty when they do not."""
    if content(base) == content(head):
        return ""
    if base.suffix in TEXT_SUFFIXES:
        return differing_lines(base.read_text(errors="replace"), head.read_text(errors="replace"))
    if base.suffix in (".mrc", ".npy"):
        return differing_pixels(base, head)
    return f"{base.stat().st_size} and {head.stat().st_size} bytes, which differ"


def differing_lines(base: str, head: str) -> str:
    lines = [
        line.rstrip()
        for line in difflib.unified_diff(base.splitlines(), head.splitlines(), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    more = [f"... {len(lines) - MAX_LINES_SHOWN} more lines"] if len(lines) > MAX_LINES_SHOWN else []
    return "\n".join(line[:200] for line in lines[:MAX_LINES_SHOWN] + more)


def differing_pixels(base: Path, head: Path) -> str:
    before, after = read_image(base), read_image(head)
    if before.shape != after.shape or before.dtype != after.dtype:
        return f"{before.shape} {before.dtype} and {after.shape} {after.dtype}"
    difference = after.astype(float) - before.astype(float)
    spread = before.astype(float).std() or 1.0
    if not difference.any():
        return "the header differs, all pixels are the same"
    largest, rms = np.abs(difference).max() / spread, np.sqrt(np.mean(difference**2)) / spread
    count = np.count_nonzero(difference)
    return f"largest difference {largest:.2g}, rms {rms:.2g} of the standard deviation; {count} of {before.size} values"


def read_image(path: Path) -> np.ndarray:
    import mrcfile

    return np.load(path) if path.suffix == ".npy" else mrcfile.read(path)


def compare(base: Path, head: Path) -> Comparison:
    """Compare all files of two folders."""
    before, after = files_below(base), files_below(head)
    differences = [Difference(file, "missing in the new version") for file in before if file not in after]
    differences += [Difference(file, "only in the new version") for file in after if file not in before]
    notes: list[Difference] = []
    same = 0
    for file in before.keys() & after.keys():
        text = describe(before[file], after[file])
        if not text:
            same += 1
        else:
            (notes if file.endswith("/stdout.txt") else differences).append(Difference(file, text))
    return Comparison(same, in_order(differences), in_order(notes))


def in_order(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    return tuple(sorted(differences, key=lambda difference: difference.file))


# ---------------------------------------------------------------- digests


def digests(folder: Path, movies: Path, device: str) -> dict[str, object]:
    """What --save keeps of one version: a digest per file, and the texts."""

    def of_folder(root: Path) -> dict[str, str]:
        return {file: hashlib.sha256(content(path)).hexdigest() for file, path in files_below(root).items()}

    texts = {f: p.read_text(errors="replace") for f, p in files_below(folder).items() if p.suffix in TEXT_SUFFIXES}
    machine = f"{platform.processor() or platform.machine()}, numpy {np.__version__}, {device}"
    return {"machine": machine, "movies": of_folder(movies), "files": of_folder(folder), "texts": texts}


def compare_digests(base: Mapping[str, dict], head: Mapping[str, dict]) -> Comparison:
    """Compare what `digests` returned for two versions. Raises SystemExit when their movies differ."""
    changed = [file for file, digest in base["movies"].items() if head["movies"].get(file) != digest]
    if changed:
        raise SystemExit(f"The simulated movies differ ({', '.join(changed[:3])}, ...): results can't be compared.")
    before, after = base["files"], head["files"]
    differences, notes, same = [], [], 0
    for file in sorted(before.keys() | after.keys()):
        if before.get(file) == after.get(file):
            same += 1
            continue
        if file not in before or file not in after:
            text = f"only in the {'new' if file in after else 'base'} version"
        elif file in base["texts"]:
            text = differing_lines(base["texts"][file], head["texts"][file])
        else:
            text = "other bytes"
        (notes if file.endswith("/stdout.txt") else differences).append(Difference(file, text))
    return Comparison(same, in_order(differences), in_order(notes))


# ---------------------------------------------------------------- commits


def git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True).stdout.strip()


@contextmanager
def sources_of(commit: str | None, source: Path | None, scratch: Path) -> Iterator[Path]:
    """A folder with the sources: ``source``, a temporary worktree of ``commit``, or the working tree."""
    if source or not commit:
        yield (source or ROOT).resolve()
        return
    folder = scratch / f"source-{commit.replace('/', '-')}"
    git("worktree", "add", "--detach", str(folder), commit)
    try:
        yield folder
    finally:
        git("worktree", "remove", "--force", str(folder))


def happened_between(commit: str, base: str | None, head: str | None) -> bool:
    """Whether a change lies between two commits; True where that is not known."""

    def contains(tip: str) -> bool:
        words = ["git", "-C", str(ROOT), "merge-base", "--is-ancestor", commit, tip]
        return subprocess.run(words, capture_output=True).returncode == 0

    if not commit or not base:
        return True
    return contains(head or "HEAD") and not contains(base)


# ---------------------------------------------------------------- the report


def report(comparison: Comparison, base: str | None, head: str | None) -> int:
    """Print what differs; the exit code."""
    expected = [entry for entry in EXPECTED if happened_between(entry.commit, base, head)]
    unexplained = 0
    for difference in comparison.differences:
        reasons = [entry.reason for entry in expected if fnmatch(difference.file, entry.files)]
        unexplained += not reasons
        print(f"{'expected' if reasons else 'DIFFERS'}  {difference.file}" + "".join(f" ({r})" for r in reasons))
        print("    " + difference.text.replace("\n", "\n    "))
    files_by_text: dict[str, list[str]] = {}
    for note in comparison.notes:
        files_by_text.setdefault(note.text, []).append(note.file)
    for text, files in files_by_text.items():
        print(f"note     {', '.join(files)}\n    " + text.replace("\n", "\n    "))
    explained = len(comparison.differences) - unexplained
    print(
        f"{comparison.same} files are the same, {explained} differ as expected, {unexplained} differ without a reason;"
    )
    print(f"{len(comparison.notes)} texts on stdout differ.")
    return 1 if unexplained else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", help="commit")
    parser.add_argument("head", nargs="?", help="commit; without it, the working tree")
    parser.add_argument("--base-source", type=Path, help="folder with the sources of the base version, instead of base")
    parser.add_argument("--head-source", type=Path, help="folder with the sources of the new version, instead of head")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="only these; read_back needs tiff")
    parser.add_argument("--save", type=Path, metavar="FILE.json", help="run the base version only, write its digests")
    parser.add_argument("--against", type=Path, metavar="FILE.json", help="compare the new version with such digests")
    parser.add_argument("--keep", type=Path, help="folder that keeps movies and outputs; a temporary one without it")
    options = parser.parse_args()
    if bool(options.base or options.base_source or options.save) == bool(options.against):
        parser.error("give a base version or --against")
    chosen = [case for case in CASES if not options.cases or case.name in options.cases]
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        return run_versions(options, options.keep.resolve(), chosen)
    with tempfile.TemporaryDirectory(prefix="same_results-") as scratch:
        return run_versions(options, Path(scratch).resolve(), chosen)


def run_versions(options: argparse.Namespace, scratch: Path, cases: Sequence[Case]) -> int:
    """Run one or both versions as the options say; the exit code."""
    movies = scratch / "movies"
    movies.mkdir()
    versions = {
        "base": (options.base, options.base_source),
        "head": (options.head, options.head_source),
    }
    names = ["head"] if options.against else ["base"] if options.save else ["base", "head"]
    for name in names:
        commit, source = versions[name]
        with sources_of(commit, source, scratch) as folder:
            print(f"{name}: {commit or folder}", flush=True)
            start = perf_counter()
            if name == names[0]:
                make_movies(folder, movies)
                print(f"  movies simulated{perf_counter() - start:6.1f} s", flush=True)
            run_cases(folder, scratch / name, movies, options.device, cases)
            print(f"  all           {perf_counter() - start:6.1f} s", flush=True)
    if options.save:
        options.save.write_text(json.dumps(digests(scratch / "base", movies, options.device), indent=1) + "\n")
        return 0
    if options.against:
        saved, present = json.loads(options.against.read_text()), digests(scratch / "head", movies, options.device)
        if saved["machine"] != present["machine"]:
            print(f"note     the digests come from another machine: {saved['machine']}, not {present['machine']}")
        return report(compare_digests(saved, present), None, None)
    return report(compare(scratch / "base", scratch / "head"), options.base, options.head)


if __name__ == "__main__":
    sys.exit(main())
