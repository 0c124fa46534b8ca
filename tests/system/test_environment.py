"""The command in the environments that batch systems and other programs leave: variables, search paths, streams."""

import os
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from restframe.environment import own_packages_first, remove_unusable
from restframe.messages import Lines, one_line

COMMAND = [sys.executable, "-m", "restframe"]


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """A specimen that moves by one pixel from frame to frame."""
    folder = tmp_path_factory.mktemp("movie")
    rng = np.random.default_rng(5)
    scene = np.kron(rng.integers(2, 12, (40, 40)), np.ones((4, 4)))
    frames = rng.poisson([scene[8:136, 16 - t : 144 - t] for t in range(5)]).astype(np.int16)
    with mrcfile.new(folder / "movie.mrc", data=frames) as mrc:
        mrc.set_image_stack()
    return folder / "movie.mrc"


def run(movie, folder, environment=None, redirections="", words=()):
    """The command in a shell, with the redirections of the caller."""
    line = " ".join(
        [*COMMAND, "-InMrc", str(movie), "-OutMrc", str(folder / "o.mrc"), "-Gpu", "-1", *words, redirections]
    )
    return subprocess.run(
        line,
        shell=True,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | (environment or {}),
        executable="/bin/bash",
    )


@pytest.fixture(scope="module")
def expected(movie, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected")
    assert run(movie, folder).returncode == 0
    return (folder / "o.mrc").read_bytes()


@pytest.mark.parametrize(
    "environment",
    [
        {"OMP_NUM_THREADS": ""},
        {"OMP_NUM_THREADS": "0", "NUMBA_NUM_THREADS": "0"},
        {"OMP_NUM_THREADS": "-3", "OMP_THREAD_LIMIT": "none", "GOMP_CPU_AFFINITY": "x", "OMP_DISPLAY_ENV": "TRUE"},
        {"NUMBA_NUM_THREADS": "many", "NUMBA_DISABLE_JIT": "1", "NUMBA_THREADING_LAYER": "tbb", "MKL_NUM_THREADS": ""},
        {
            "OMP_STACKSIZE": "lots",
            "OMP_SCHEDULE": "x",
            "OMP_PLACES": "?",
            "OMP_PROC_BIND": "?",
            "PYTHONWARNINGS": "error",
        },
        {
            "OMP_NUM_THREADS": "2,1",
            "NUMBA_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "0",
            "LANG": "none",
            "TMPDIR": "/no",
        },
    ],
    ids=lambda environment: " ".join(f"{name}={value}" for name, value in environment.items()),
)
def test_variables_of_batch_systems_change_nothing(movie, expected, tmp_path, environment):
    process = run(movie, tmp_path, environment, words=["--threads", "2"])
    assert (process.returncode, process.stderr) == (0, "")
    assert (tmp_path / "o.mrc").read_bytes() == expected


def test_usable_variables_are_kept():
    environment = {"OMP_NUM_THREADS": " 4, 2", "NUMBA_CACHE_DIR": "/a b", "OMP_DISPLAY_ENV": "1", "HOME": "/h"}
    assert remove_unusable(environment) == []
    assert remove_unusable(environment, all_others=True) == ["OMP_DISPLAY_ENV"]
    assert set(environment) == {"OMP_NUM_THREADS", "NUMBA_CACHE_DIR", "HOME"}


@pytest.mark.parametrize("name", ["numpy", "scipy", "numba", "tifffile"])
def test_packages_of_another_program_are_not_used(movie, expected, tmp_path, name):
    (tmp_path / "other" / name).mkdir(parents=True)
    (tmp_path / "other" / name / "__init__.py").write_text("raise RuntimeError('of another Python')")
    search = os.pathsep.join([str(tmp_path / "other"), os.environ.get("PYTHONPATH", "")])
    process = run(movie, tmp_path, {"PYTHONPATH": search})
    assert (process.returncode, process.stderr) == (0, "")
    assert (tmp_path / "o.mrc").read_bytes() == expected


def test_packages_that_are_found_nowhere_else_are_used():
    path = ["/work/folder", "/modules/numpy", "/env/lib", "/modules/restframe"]
    ordered = own_packages_first(path, "/modules/numpy:/modules/restframe", "/modules/restframe")
    assert ordered == ["/work/folder", "/env/lib", "/modules/restframe", "/modules/numpy"]


def test_libraries_that_cannot_be_imported_are_explained(tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text("raise ImportError('built for another Python\\nmore')")
    own = Path(__file__).parents[2] / "src"
    # without site-packages the other NumPy is the only one
    line = [sys.executable, "-S", "-m", "restframe", "-InMrc", "x", "-OutMrc", "y"]
    environment = {"PYTHONPATH": f"{own}{os.pathsep}{tmp_path}", "PATH": os.environ["PATH"]}
    process = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 6 and process.stdout == ""
    assert process.stderr.startswith("Error: restframe cannot start: built for another Python.")
    assert "PYTHONPATH" in process.stderr and process.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("redirections", "code", "message"),
    [
        (">&-", 4, "Error: stdout is closed. Send it to a file, to a pipe or to /dev/null.\n"),
        (">/dev/full", 4, "Error: stdout cannot be written: No space left on device. Make room there, or send it"),
        ("2>&-", 0, ""),
        ("<&-", 0, ""),
    ],
)
def test_streams_that_cannot_be_used(movie, expected, tmp_path, redirections, code, message):
    process = run(movie, tmp_path, redirections=redirections)
    assert process.returncode == code
    assert process.stderr.startswith(message) and process.stderr.count("\n") == bool(message)
    made = [path.name for path in tmp_path.iterdir()]
    assert made == (["o.mrc"] if code == 0 else [])
    if code == 0:
        assert (tmp_path / "o.mrc").read_bytes() == expected


@pytest.mark.parametrize("redirections", ["2>/dev/full", "2>&-", ">&- 2>&-", ">/dev/full 2>/dev/full"])
def test_the_exit_code_is_right_where_nothing_can_be_said(movie, tmp_path, redirections):
    process = run(tmp_path / "missing.mrc", tmp_path, redirections=redirections)
    assert process.returncode == (4 if ">/dev/full 2" in redirections or ">&- 2" in redirections else 3)


def test_a_full_disk_for_stdout_ends_a_batch(movie, tmp_path):
    for name in ("a.mrc", "b.mrc"):
        (tmp_path / name).symlink_to(movie)
    words = ["-Serial", "1"]
    process = run(f"{tmp_path}/", tmp_path, redirections=">/dev/full", words=words)
    assert process.returncode == 4 and process.stderr.count("\n") == 1


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u202e"])
def test_control_characters_are_escaped(character):
    text = one_line(f"a{character}b")
    assert text.isprintable() and len(text.splitlines()) == 1 and text.startswith("a\\")
    assert Lines(["", f"a{character}b"]).splitlines() == ["", text]


def test_a_name_cannot_begin_a_table_of_shifts(movie, tmp_path):
    name = "x\n\nFull-frame alignment shift\n...... Frame (  1) shift:     9.000     9.000.mrc"
    (tmp_path / name).symlink_to(movie)
    process = subprocess.run(
        [*COMMAND, "-Serial", "1", "-InMrc", f"{tmp_path}/", "-OutMrc", f"{tmp_path}/o_", "-Gpu", "-1"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    lines = process.stdout.splitlines()
    begin = [number for number, line in enumerate(lines) if "Full-frame alignment shift" in line]
    assert len(begin) == 1
    rows = lines[begin[0] + 1 : begin[0] + 6]
    assert [row.startswith(f"...... Frame ({number:3d}) shift:") for number, row in enumerate(rows, 1)] == [True] * 5
    assert sum("...... Frame" in line for line in lines) == 5
    assert (tmp_path / f"o_{name}").exists()


def test_an_error_that_names_such_a_file_is_one_line(tmp_path):
    process = subprocess.run(
        [*COMMAND, "-InMrc", f"{tmp_path}/a\nb\x1b[31m.mrc", "-OutMrc", "o.mrc"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 3 and process.stderr.count("\n") == 1 and "\\n" in process.stderr
    assert "\x1b" not in process.stderr + process.stdout
