"""Every command of the documentation runs, on small movies.

Commands that cannot run here are checked for valid flags by the parser of the program itself, and `NOT_RUN` says why
they are not run.
"""

import argparse
import contextlib
import glob
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from restframe.cli.main import SUBCOMMANDS, main
from restframe.cli.parse import parse
from restframe.optics import CtfParameters
from restframe.simulate.ice_images import IceImage, simulate_ice

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"sh", "python", "text"}
NOT_RUN = {
    "make": "builds environments",
    "pip": "installs packages; tests/test_packages.py installs the wheel",
    "python": "measures for minutes or hours",
    "docker": "needs a container service",
    "apptainer": "needs a container service",
    "dask": "runs until it is ended; tests/batch starts clusters",
    "relion_run_ctffind": "a program of RELION; tests/cli/test_ctffind.py gives its answers",
    ".venv/bin/pytest": "would run tests in a test",
    ".venv/bin/ruff": "make test runs it",
    ".venv/bin/mypy": "make test runs it",
}
ENDLESS = {  # words of commands of restframe that run until they are ended
    "--serve": "serves the page; tests/report tests it",
    "--cluster": "needs a running scheduler; tests/batch tests it",
}
LEFT_OUT = re.compile("unknown flag|stands before any flag|given more than once|without a value|is left out")


def code_blocks(document):
    """(language, text) of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


def commands(document):
    """Lines of the blocks of shell commands, continued ones joined, without comments. A block that sets variables is
    one command.
    """
    found = []
    for language, text in code_blocks(document):
        if language != "sh":
            continue
        lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in text.replace("\\\n", " ").splitlines()]
        lines = [part.strip() for line in lines if line for part in line.split("&&")]
        found += ["\n".join(lines)] if lines and lines[0].startswith("export ") else lines
    return found


def inline_commands(document):
    """Commands of restframe and of benchmarks between single quotation marks, with their arguments."""
    starts = rf"restframe (?:{'|'.join((*SUBCOMMANDS, 'watch'))}) [^`]+|python benchmarks/[^`]+"
    return re.findall(rf"`({starts})`", document.read_text())


ALL_COMMANDS = [
    pytest.param(document, line, id=f"{document.stem}: {line}") for document in DOCUMENTS for line in commands(document)
]
INLINE_COMMANDS = [
    pytest.param(line, id=f"{document.stem}: {line}") for document in DOCUMENTS for line in inline_commands(document)
]
PYTHON_BLOCKS = [
    pytest.param(text, id=f"{document.stem} {number}")
    for document in DOCUMENTS
    if document.stem != "library"  # tests/test_library_examples.py
    for number, (language, text) in enumerate(code_blocks(document))
    if language == "python"
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where commands run: a movie and a gain, folders with movies, a home."""
    path = tmp_path_factory.mktemp("commands")
    rng = np.random.default_rng(2)
    scene = np.full((288, 328), 4.0)
    for y, x in zip(rng.integers(0, 280, 260), rng.integers(0, 320, 260), strict=True):
        scene[y : y + 5, x : x + 5] += 6
    frames = rng.poisson([np.roll(scene, frame, 1)[:, 8:] for frame in range(6)]).astype(np.uint8)
    for name in ("movie.tif", "TS_01_000_0.0.tif", "movies/grid2_0017_fractions.tiff", "frames/TS_01_001_3.0.tif"):
        (path / name).parent.mkdir(exist_ok=True)
        tifffile.imwrite(path / name, frames, compression="lzw", photometric="minisblack")
    mrcfile.write(path / "gain.mrc", rng.normal(1, 0.05, frames.shape[1:]).astype(np.float32))
    (path / "sums").mkdir()
    for name in ("tilted.mrc", "sums/first_DW.mrc"):
        with mrcfile.new(path / name, micrograph()) as mrc:
            mrc.voxel_size = 1.1
    (path / "home/bin").mkdir(parents=True)
    program = path / "home/bin/restframe"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return path


def micrograph():
    """An image of ice whose CTF is found quickly."""
    optics = CtfParameters(voltage=300, defocus=14000, astigmatism=900, astigmatism_angle=30)
    return simulate_ice(IceImage(256, 1.1, optics, strength=5.0, bfactor=60.0, seed=2))


@pytest.fixture
def shell(folder, monkeypatch):
    """The folder, with the variables that commands use."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("PATH", f"{folder}/home/bin:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    return folder


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_blocks_say_what_they_are(document):
    """A command in a block without a language would not be found by the tests here."""
    languages = {language for language, _ in code_blocks(document)}
    assert languages <= LANGUAGES, f"{document}: a block needs one of {sorted(LANGUAGES)} behind its first ```"
    without_fences = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"^ {4,}(restframe|ctffind|python|pip|make|docker|apptainer) ", without_fences, re.MULTILINE)


def test_there_are_commands():
    assert len(ALL_COMMANDS) > 30 and len(INLINE_COMMANDS) > 5 and len(PYTHON_BLOCKS) >= 2


@pytest.mark.parametrize(("document", "line"), ALL_COMMANDS)
def test_command(shell, capsys, document, line):
    words = expanded(line)
    if words[0] == "restframe":
        run_restframe(words[1:], capsys)
    elif words[0] in NOT_RUN:
        CHECKS[words[0]](words)
    else:
        subprocess.run(["bash", "-euc", line], check=True, timeout=60)


@pytest.mark.parametrize("line", INLINE_COMMANDS)
def test_inline_command_has_valid_flags(monkeypatch, line):
    words = expanded(line)
    if words[0] == "restframe":
        check_restframe(words[1:])
    else:
        CHECKS[words[0]](words)


@pytest.mark.parametrize("text", PYTHON_BLOCKS)
def test_python_block(shell, text):
    exec(compile(text, "block", "exec"), {"__name__": "block", "x": 60.0, "y": 80.0, "image": micrograph()})


def expanded(line):
    """Words of a command as a shell makes them; "..." stands for flags that are named before."""
    line = line.replace("$SLURM_ARRAY_TASK_ID", "1")
    words = [word for word in shlex.split(line) if word != "..."]
    return [one for word in words for one in (sorted(glob.glob(word)) if "*" in word else [word])]


def run_restframe(words, capsys):
    """Run it to its end; where it has none, only read its flags."""
    check_restframe(words)
    if set(words) & set(ENDLESS):
        return
    if words[0] == "watch":
        words = [*words, "-Serial", "2", "--settle", "0.1"]  # ends two seconds after the last movie
    code = main([*words, *(["-Gpu", "-1"] if words[0].startswith("-") and "-Gpu" not in words else [])])
    captured = capsys.readouterr()
    assert code == 0, captured.out + captured.err
    assert not LEFT_OUT.search(captured.out) and not captured.err, captured.out + captured.err


def check_restframe(words):
    """Its own parser takes the words and leaves none out."""
    if words[0] in SUBCOMMANDS:
        import_module(f"restframe.cli.{words[0].replace('-', '_')}").make_parser().parse_args(words[1:])
    elif not words[0].startswith("-") and words[0] != "watch":
        assert words == ["doctor"]
    else:
        notes = parse(words[2:] if words[0] == "watch" else words).notes
        assert not any(LEFT_OUT.search(note) for note in notes), notes


class Parsed(Exception):
    """The arguments were read."""


def check_benchmark(words):
    """Run the script up to the end of its parser."""
    if words[1] == "-m":
        import_module(words[2])
        return
    script = ROOT / words[1]

    def parse_and_stop(parser, *_):
        error = io.StringIO()
        try:
            with contextlib.redirect_stderr(error):
                original(parser, words[2:])
        except SystemExit:
            pytest.fail(f"{' '.join(words)}: {error.getvalue()}")
        raise Parsed

    original = argparse.ArgumentParser.parse_args
    saved = list(sys.argv), list(sys.path)
    argparse.ArgumentParser.parse_args = parse_and_stop
    sys.argv, sys.path = words[1:], [str(script.parent), *sys.path]
    try:
        with pytest.raises(Parsed):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        argparse.ArgumentParser.parse_args = original
        sys.argv[:], sys.path[:] = saved


def check_make(words):
    assert re.search(rf"^{words[-1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def check_pip(words):
    assert words[1] == "install"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    name, _, wanted = words[2].rstrip("]").partition("[")
    assert name in (".", "restframe") and (not wanted or set(wanted.split(",")) <= set(extras))


def check_container(words):
    """Flags of restframe stand behind the name of the image."""
    if words[1] == "build":
        assert any((ROOT / word).is_file() for word in words)
        return
    image = next(index for index, word in enumerate(words) if word.startswith("restframe:") or word.endswith(".sif"))
    check_restframe(words[image + 1 :])


def check_dask(words):
    name = {"scheduler": "dask_scheduler", "worker": "dask_worker"}[words[1]]
    command = pytest.importorskip(f"distributed.cli.{name}").main
    command.make_context(name, words[2:])


def check_path(words):
    assert all((ROOT / word).exists() for word in words[1:] if "/" in word)


CHECKS = {
    "make": check_make,
    "pip": check_pip,
    "python": check_benchmark,
    "docker": check_container,
    "apptainer": check_container,
    "dask": check_dask,
    "relion_run_ctffind": lambda words: None,
    ".venv/bin/pytest": check_path,
    ".venv/bin/ruff": check_path,
    ".venv/bin/mypy": check_path,
}
